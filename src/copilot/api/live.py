"""The newest verdict of each cluster, kept in memory. Every answer, the page and the event stream read only this copy,
so that they all say the same and none of them waits for anything."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass, replace
from typing import TypeVar

from whenever import Instant

from copilot.api.deps import Deps
from copilot.core.assessment import Evaluation, HealthAssessment, Trigger
from copilot.core.errors import CopilotError
from copilot.core.staleness import age_sec, as_of

REFRESH_SEC = 1.0
ANSWER_SEC = 3.0

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copy:
    """What was heard of one cluster. `heard`: when the evaluation first was, by the clock nobody sets. The problems say
    why the loop or the store could not be asked the last time."""

    evaluation: Evaluation | None = None
    heard: float = 0.0
    trigger: Trigger | None = None
    cycle_sec: float | None = None
    loop_problem: str | None = None
    store_problem: str | None = None
    unsaved: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A cluster's verdict as it must be read now. `evaluation` None: nothing was heard yet; `as_made` is the same as it
    was before it grew old, for what tells of its own moment. `age_sec`: seconds since the evaluation was made;
    `cycle_sec`: how long the loop took to make it, where that is known.
    `degraded_because`: what is away, in a sentence; None when all is well."""

    cluster: str
    now: Instant
    evaluation: Evaluation | None
    as_made: Evaluation | None
    age_sec: float | None
    trigger: Trigger | None
    degraded_because: str | None
    cycle_sec: float | None = None

    @property
    def revision(self) -> tuple[object, ...]:
        """Differs when there is something new to see."""
        e = self.evaluation
        if e is None:
            return (None, self.degraded_because)
        return (e.evaluation_id, e.verdict.health_state, e.verdict.stale, e.explained_by, self.degraded_because)

    def same_as(self, other: "Said") -> bool:
        """Whether all but the age is the same, so that what was written of one holds for the other."""
        one = (self.trigger, self.revision)
        return self.as_made is other.as_made and one == (other.trigger, other.revision)


class LiveCopies:
    """The copies of all clusters. `run` refreshes them until `close`."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._copies = {cluster: Copy() for cluster in deps.clusters}
        self._refreshed = asyncio.Condition()
        self._closing = asyncio.Event()

    def said(self, cluster: str) -> Said:
        """The verdict of a known cluster as of now: by the wall clock, but never younger than we have known it."""
        copy, now = self._copies[cluster], self._deps.now()
        said = copy.evaluation
        problems = [p for p in (copy.loop_problem, copy.store_problem or copy.unsaved) if p]
        # An evaluation made by a clock ahead of ours grows old all the same.
        at = now if said is None else max(now, said.time.add(seconds=self._deps.elapsed() - copy.heard))
        return Said(
            cluster=cluster,
            now=now,
            evaluation=None if said is None else as_of(said, at),
            as_made=said,
            age_sec=None if said is None else age_sec(said, at),
            trigger=copy.trigger,
            degraded_because="; ".join(problems) or None,
            cycle_sec=copy.cycle_sec,
        )

    def ready(self) -> bool:
        """Whether there is a verdict for some cluster, or somebody who could be asked for one."""
        return any(
            c.evaluation is not None or c.loop_problem is None or c.store_problem is None for c in self._copies.values()
        )

    async def refresh(self, cluster: str) -> None:
        """Ask the loop, and the store for what the loop does not know; the newest tick wins."""
        old = self._copies[cluster]
        asked = self._answer(self._deps.live.evaluation(cluster), "the observing loop")
        assessed = self._answer(self._deps.store.latest_assessment(cluster), "the state store")
        waiting = self._answer(self._deps.unsaved(cluster), "the Copilot's own Temporal")
        (live, loop_problem), (assessment, store_problem), (unsaved, _) = await asyncio.gather(asked, assessed, waiting)
        kept = None
        if live is None and store_problem is None:
            kept, store_problem = await self._answer(self._deps.store.latest_evaluation(cluster), "the state store")
        newest = _newest(old.evaluation, kept, live, assessment)
        if newest is not None and live is not None and _of_a_clock_that_went_back(newest, live, self._deps.now()):
            newest = _newest(live, assessment if assessment and assessment.time == live.time else None)
        same = (
            old.evaluation is not None and newest is not None and newest.evaluation_id == old.evaluation.evaluation_id
        )
        self._copies[cluster] = replace(
            old,
            evaluation=newest,
            heard=old.heard if same else self._deps.elapsed(),
            trigger=_trigger(newest, assessment, old),
            loop_problem=loop_problem,
            store_problem=store_problem,
            unsaved=unsaved,
        )
        if live is not None and not same:
            took, _ = await self._answer(self._deps.live.cycle_sec(cluster), "the observing loop")
            self._copies[cluster] = replace(self._copies[cluster], cycle_sec=took)

    async def run(self) -> None:
        """Refresh every second until closed. A copy that cannot be refreshed grows old, and is then read as stale."""
        while not self._closing.is_set():
            results = await asyncio.gather(*(self.refresh(c) for c in self._copies), return_exceptions=True)
            for cluster, result in zip(self._copies, results, strict=True):
                if isinstance(result, Exception):
                    log.error("the copy of %s could not be refreshed", cluster, exc_info=result)
            async with self._refreshed:
                self._refreshed.notify_all()
            try:
                await asyncio.wait_for(self._closing.wait(), REFRESH_SEC)
            except TimeoutError:
                continue

    async def changes(self, cluster: str) -> AsyncGenerator[Said]:
        """The verdict now, and again after every refresh, until closed."""
        while not self._closing.is_set():
            yield self.said(cluster)
            async with self._refreshed:
                if not self._closing.is_set():
                    await self._refreshed.wait()

    async def close(self) -> None:
        """End `run` and all `changes`."""
        self._closing.set()
        async with self._refreshed:
            self._refreshed.notify_all()

    async def _answer(self, question: Awaitable[T], whom: str) -> tuple[T | None, str | None]:
        try:
            return await asyncio.wait_for(question, ANSWER_SEC), None
        except TimeoutError:
            return None, f"{whom} did not answer within {ANSWER_SEC:g} s"
        except CopilotError as error:
            return None, str(error)


def _newest(*candidates: Evaluation | None) -> Evaluation | None:
    """The newest; of one tick the last named, which knows more."""
    newest: Evaluation | None = None
    for candidate in candidates:
        if candidate is not None and (newest is None or candidate.time >= newest.time):
            newest = candidate
    return newest


def _of_a_clock_that_went_back(newest: Evaluation, live: Evaluation, now: Instant) -> bool:
    """Whether the newest tick lies in the future, and the loop is by now at an earlier one."""
    return live.time < newest.time and newest.time > now.add(seconds=newest.interval_sec)


def _trigger(newest: Evaluation | None, assessment: HealthAssessment | None, old: Copy) -> Trigger | None:
    if isinstance(newest, HealthAssessment):
        return newest.trigger
    if newest is not None and newest.verdict.transition is not None:
        return Trigger.STATE_CHANGE
    return assessment.trigger if assessment else old.trigger
