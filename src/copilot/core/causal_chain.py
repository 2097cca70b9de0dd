"""The chain from a cause to work not done (requirements §3.11), link by link, with the numbers in it.

Slots fill, so workers stop polling, so tasks wait, so workflows do not complete; or the server refuses, so its history
finishes nothing, so nothing is served. Only links that are seen broken are told, the earliest first.
"""

from collections.abc import Iterator

from copilot.core.bottleneck import SERVER_REFUSES, WORK_WAITS, exhausted_slots, waiting_flows
from copilot.core.facts import Facts, waiting_words
from copilot.core.figures import brief, per_sec, rate

_REFUSALS = {
    "unreachable": "the frontend does not answer",
    "persistence_errors": "the database fails calls",
    "persistence_throttled": "the persistence rate limit refuses database calls",
    "history_throttled": "history's attempts are refused by a limit",
    "rate_limited": "a rate limit refuses requests and polls",
    "frontend_errors": "the server fails requests",
    "turned_away": "requests that bring work are turned away",
}

FINISHED_OF_ATTEMPTS = 0.4
"""History of a healthy cluster finishes half of its attempts; below this share it is held up."""

# Refused by the same limit, or by the server that refuses.
_ALSO = {"persistence_throttled": frozenset({"rate_limited"})}

# What a cause explains: found beside it, these are its wake and not causes of their own.
WAKE: dict[str, frozenset[str]] = {
    cause: wake | _ALSO.get(cause, frozenset())
    for causes, wake in (
        (
            ("server_unreachable", "persistence_failing", "persistence_throttled", "rate_limited", "frontend_errors"),
            frozenset(
                {
                    "frontend_errors",
                    "membership_change",
                    "shard_churn",
                    "persistence_slow",
                    "history_backlog",
                    "frontend_slow",
                    "worker_slow",
                    "workflow_task_failures",
                    "sticky_cache_thrash",
                }
            ),
        ),
        (
            ("load_burst", "persistence_slow"),
            frozenset({"slots_exhausted", "persistence_slow", "history_backlog", "frontend_slow", "worker_slow"}),
        ),
        (("no_pollers", "version_without_pollers", "slots_exhausted"), frozenset({"worker_slow", "history_backlog"})),
        (("sticky_cache_thrash", "workflow_task_failures"), frozenset({"worker_slow"})),
        (("membership_change",), frozenset({"shard_churn", "history_backlog", "frontend_slow", "worker_slow"})),
    )
    for cause in causes
}


def chain(facts: Facts) -> tuple[str, ...]:
    """The broken links in the order of cause and effect; fewer than two are no chain."""
    links = tuple(_links(facts))
    return links if len(links) > 1 else ()


def _links(facts: Facts) -> Iterator[str]:
    view = facts.view
    refusing = [name for name in _REFUSALS if name in SERVER_REFUSES and facts.gates[name].fired]
    if "unreachable" in refusing:
        return  # What else was read is of the moments before.
    if refusing:
        yield _REFUSALS[refusing[0]]
        yield from _history(facts)
    elif (kind := exhausted_slots(view)) is not None:
        used = view.signals.value(f"workers.{kind}_slots_used")
        yield f"all {f'{used:,.0f} ' if used else ''}{kind} slots are busy"
        yield f"workers stop polling for {kind} tasks"
    elif facts.workers.nobody_polls:
        yield "no worker polls"
    if facts.fired(*WORK_WAITS):
        flows = waiting_flows(view)
        yield waiting_words(flows) if any(f.waiting or f.age for f in flows) else "nothing reaches the workers"
    starts = view.signals.value("demand.starts_per_sec")
    done = view.signals.value("workflow_completion.success_per_sec")
    if starts and done is not None and done < 0.5 * starts:
        some = f"{per_sec(done, 'workflow')} complete" if done else "no workflow completes"
        yield f"{some} while {rate(starts)} start"


def _history(facts: Facts) -> Iterator[str]:
    tried = facts.view.signals.value("history.task_processing_rate_per_sec")
    acked = facts.view.signals.value("history.tasks_acked_per_sec")
    if tried and acked is not None and acked < FINISHED_OF_ATTEMPTS * tried:
        yield f"history finishes {brief(acked)} of {brief(tried)} task attempts/s"
