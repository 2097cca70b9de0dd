"""The newest verdict of each cluster, kept in memory. Every answer, the page and the event stream read only this copy,
so that they all say the same and none of them waits for anything."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from whenever import Instant

from copilot.api.deps import Deps
from copilot.errors import CopilotError
from copilot.explain import ExplainedEvaluation, explained_as_of
from copilot.explain.model.answer import in_words
from copilot.explain.model.wording import still_said
from copilot.rules.model import Evaluation, Trigger
from copilot.rules.staleness import age_sec

REFRESH_SEC = 1.0
ANSWER_SEC = 3.0

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copy:
    """What was heard of one cluster. `evaluation` is the newest, first heard at `heard` by the clock nobody sets;
    `live` what the loop said when last asked, `assessment` the newest the store is known to hold. The problems say
    why the loop or the store could not be asked the last time."""

    evaluation: ExplainedEvaluation | None = None
    heard: float = 0.0
    live: ExplainedEvaluation | None = None
    assessment: ExplainedEvaluation | None = None
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
    `degraded_because`: what is away, in a sentence; None when all is well. `store_problem` is the store's part of it:
    who has it need not ask the store, which may hang."""

    cluster: str
    now: Instant
    evaluation: ExplainedEvaluation | None
    as_made: ExplainedEvaluation | None
    age_sec: float | None
    trigger: Trigger | None
    degraded_because: str | None
    cycle_sec: float | None = None
    store_problem: str | None = None

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
            evaluation=None if said is None else explained_as_of(said, at),
            as_made=said,
            age_sec=None if said is None else age_sec(said, at),
            trigger=copy.trigger,
            degraded_because="; ".join(problems) or None,
            cycle_sec=copy.cycle_sec,
            store_problem=copy.store_problem,
        )

    def ready(self) -> bool:
        """Whether there is a verdict for some cluster, or somebody who could be asked for one."""
        return any(
            c.evaluation is not None or c.loop_problem is None or c.store_problem is None for c in self._copies.values()
        )

    async def refresh(self, cluster: str) -> None:
        """Ask the loop, and then the store for what the loop does not know; the newest tick wins."""
        await self._hear_loop(cluster)
        await self._hear_store(cluster)

    async def run(self) -> None:
        """Refresh every second until closed. The loop is heard though the store hangs, and the store though the loop
        does. A copy that cannot be refreshed grows old, and is then read as stale."""
        await asyncio.gather(self._every_second(self._hear_loop), self._every_second(self._hear_store))

    async def _every_second(self, hear: Callable[[str], Awaitable[None]]) -> None:
        while not self._closing.is_set():
            results = await asyncio.gather(*(hear(c) for c in self._copies), return_exceptions=True)
            for cluster, result in zip(self._copies, results, strict=True):
                if isinstance(result, Exception):
                    log.error("the copy of %s could not be refreshed", cluster, exc_info=result)
            async with self._refreshed:
                self._refreshed.notify_all()
            try:
                await asyncio.wait_for(self._closing.wait(), REFRESH_SEC)
            except TimeoutError:
                continue

    async def _hear_loop(self, cluster: str) -> None:
        asked = self._answer(self._deps.live.evaluation(cluster), "the observing loop")
        waiting = self._answer(self._deps.unsaved(cluster), "the Copilot's own Temporal")
        (live, problem), (unsaved, _) = await asyncio.gather(asked, waiting)
        old = self._copies[cluster]
        words = _words_of(live, old.live)
        new = self._with(replace(old, live=words, loop_problem=problem, unsaved=unsaved))
        self._copies[cluster] = new
        if live is not None and not _of_one_tick(old.evaluation, new.evaluation):
            took, _ = await self._answer(self._deps.live.cycle_sec(cluster), "the observing loop")
            self._copies[cluster] = replace(self._copies[cluster], cycle_sec=took)

    async def _hear_store(self, cluster: str) -> None:
        assessment, problem = await self._answer(self._deps.store.latest_assessment(cluster), "the state store")
        kept = None
        if problem is None and self._copies[cluster].live is None:
            kept, problem = await self._answer(self._deps.store.latest_evaluation(cluster), "the state store")
        old = self._copies[cluster]
        words = old.assessment if problem is not None else in_words(assessment) if assessment else None
        heard = replace(old, assessment=words, store_problem=problem)
        self._copies[cluster] = self._with(heard, in_words(kept) if kept else None)

    def _with(self, heard: Copy, kept: ExplainedEvaluation | None = None) -> Copy:
        """The copy with the newest of all that was heard."""
        old, live, assessment = heard.evaluation, heard.live, heard.assessment
        newest = _newest(old, kept, live, assessment)
        if newest is not None and live is not None and _of_a_clock_that_went_back(newest, live, self._deps.now()):
            newest = _newest(live, assessment if assessment and assessment.time == live.time else None)
        return replace(
            heard,
            evaluation=None if newest is None else still_said(newest, assessment),
            heard=heard.heard if _of_one_tick(old, newest) else self._deps.elapsed(),
            trigger=_trigger(newest, assessment, heard.trigger),
        )

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


def _words_of(live: Evaluation | None, before: ExplainedEvaluation | None) -> ExplainedEvaluation | None:
    """The live evaluation in words, which stay the same until there is a newer one."""
    if live is None or (before is not None and before.evaluation_id == live.evaluation_id):
        return before if live is not None else None
    return in_words(live)


def _newest(*candidates: ExplainedEvaluation | None) -> ExplainedEvaluation | None:
    """The newest; of one tick the last named, which knows more."""
    newest: ExplainedEvaluation | None = None
    for candidate in candidates:
        if candidate is not None and (newest is None or candidate.time >= newest.time):
            newest = candidate
    return newest


def _of_one_tick(one: ExplainedEvaluation | None, other: ExplainedEvaluation | None) -> bool:
    return one is not None and other is not None and one.evaluation_id == other.evaluation_id


def _of_a_clock_that_went_back(newest: ExplainedEvaluation, live: ExplainedEvaluation, now: Instant) -> bool:
    """Whether the newest tick lies in the future, and the loop is by now at an earlier one."""
    return live.time < newest.time and newest.time > now.add(seconds=newest.interval_sec)


def _trigger(
    newest: ExplainedEvaluation | None, assessment: ExplainedEvaluation | None, old: Trigger | None
) -> Trigger | None:
    if newest is not None and newest.trigger is not None:
        return newest.trigger
    if newest is not None and newest.verdict.transition is not None:
        return Trigger.STATE_CHANGE
    return assessment.trigger if assessment else old
