"""What was said at a moment of the past, from the store."""

from whenever import Instant

from copilot.api.deps import Deps
from copilot.api.errors import Problem
from copilot.api.live import Said
from copilot.explain import explained_as_of
from copilot.explain.model.answer import in_words
from copilot.rules.model import Trigger
from copilot.rules.staleness import age_sec


async def said_at(deps: Deps, cluster: str, at: Instant) -> Said:
    """A cluster's verdict as it was to be read at `at`. 404 for a moment that is yet to come; StoreError."""
    if at > deps.now():
        raise Problem(404, "yet_to_come", f"{at.format_iso()} is yet to come", "at")
    kept = await deps.store.evaluation_at(cluster, at)
    told = None if kept is None else in_words(kept)
    trigger = told.trigger if told is not None else None
    if trigger is None and told is not None and told.verdict.transition is not None:
        trigger = Trigger.STATE_CHANGE
    return Said(
        cluster=cluster,
        now=at,
        evaluation=None if told is None else explained_as_of(told, at),
        as_made=told,
        age_sec=None if told is None else age_sec(told, at),
        trigger=trigger,
        degraded_because=None,
    )
