"""The newest verdict of each cluster, kept in memory. Every answer, the page and the event stream read only this cache:
they agree with each other, and none of them waits for the loop or the store."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pydantic import ValidationError
from whenever import Instant

from copilot.api.deps import Deps
from copilot.errors import CopilotError
from copilot.explain import ExplainedEvaluation, explained_as_of
from copilot.explain.changes import with_changes
from copilot.explain.executions import executions_sentences
from copilot.explain.model.answer import carry_over, in_words
from copilot.inspection.executions import Inspection
from copilot.inspection.workers import WorkersListed
from copilot.rules.changes import BEFORE, changes_before
from copilot.rules.model import Trigger
from copilot.rules.mutes import MuteLife
from copilot.rules.signals.change import Change
from copilot.rules.staleness import age_sec
from copilot.store.mutes import ALERTMANAGER
from copilot.web.verdicts import VerdictView, joined

REFRESH_SEC = 1.0
RESTING_SEC = 5.0
"""How often loop and store are queried while no tick is due and both answer."""
LOOPS_SEC = 10.0
CLUSTERS_A_SEC = 2.0
"""How many clusters' loops are looked at in a second at most: each takes several queries."""
INSPECTIONS_SEC = 5.0
CHANGES_SEC = 5.0
MUTES_SEC = 5.0
MUTES_HOURS = 12
"""How long a mute that is over is still shown."""
MOST_CHANGES = 200
PUSHED_SEC = 180.0
"""An alert that was pushed longer ago has ended at Alertmanager."""
TIMEOUT_SEC = 3.0
CLOCK_AHEAD_SEC = 20.0
"""A tick takes up to that long, and begins up to an interval late."""
CLOCK_BEHIND_SEC = 10.0
LOOPS_TIMEOUT_SEC = 10.0

log = logging.getLogger(__name__)
T = TypeVar("T")
D = TypeVar("D", Inspection, WorkersListed)


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What is known of one cluster. `evaluation` is the newest, received at `received` (monotonic seconds); `live` is
    the loop's at its `revision`, both None while the loop does not answer; `assessment` is the newest in the store. The
    problems say why the loop or the store did not answer the last query. `loops`: what is wrong with each loop, by its
    workflow id; empty where nothing is. `ahead_sec`: how far our clock was ahead of the newest tick when it came.
    `executions`, `workers`: what was read beside the verdict, None before the first time. `changes`: those before the
    present problem, as last read. `mutes`: those that are not long over; `silenced_at`: links to Alertmanager's own."""

    evaluation: ExplainedEvaluation | None = None
    received: float = 0.0
    live: ExplainedEvaluation | None = None
    revision: str | None = None
    assessment: ExplainedEvaluation | None = None
    trigger: Trigger | None = None
    cycle_sec: float | None = None
    loop_problem: str | None = None
    store_problem: str | None = None
    unsaved: str | None = None
    loops: Mapping[str, str] = field(default_factory=dict)
    ahead_sec: float | None = None
    executions: Inspection | None = None
    workers: WorkersListed | None = None
    changes: tuple[Change, ...] = ()
    mutes: tuple[MuteLife, ...] = ()
    silenced_at: tuple[str, ...] = ()

    @property
    def degraded_because(self) -> str | None:
        """What is unavailable, as one sentence; None when nothing is."""
        of_loops: dict[str, list[str]] = {}
        for loop, problem in self.loops.items():
            if problem and not (self.loop_problem and loop in self.loop_problem):
                of_loops.setdefault(problem, []).append(loop)
        said = (f"loop{'s'[: len(ids) - 1]} {', '.join(ids)}: {why}" for why, ids in of_loops.items())
        return joined(self.loop_problem, *said, self._clock_problem(), self.store_problem or self.unsaved)

    def _clock_problem(self) -> str | None:
        ahead, newest = self.ahead_sec, self.evaluation
        if ahead is None or newest is None or -CLOCK_BEHIND_SEC <= ahead <= newest.interval_sec + CLOCK_AHEAD_SEC:
            return None
        side = "ahead of" if ahead > 0 else "behind"
        return (
            f"this machine's clock is {abs(ahead):.0f} s {side} the clock of the Copilot's own Temporal, so verdicts "
            "look older or newer than they are: synchronize the clocks"
        )


class VerdictCache:
    """The newest verdicts of all clusters. `run` refreshes them until `close`."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._entries = {cluster: CacheEntry() for cluster in deps.clusters}
        self._refreshed = asyncio.Condition()
        self._closing = asyncio.Event()

    def view(self, cluster: str) -> VerdictView:
        """The verdict of a known cluster as of now: by the wall clock, but never younger than the time since it was
        received."""
        entry, now = self._entries[cluster], self._deps.now()
        newest = entry.evaluation
        # An evaluation dated by a clock ahead of ours ages too.
        at = now if newest is None else max(now, newest.time.add(seconds=self._deps.elapsed() - entry.received))
        before = () if newest is None else changes_before(entry.changes, newest)
        return VerdictView(
            cluster=cluster,
            now=now,
            evaluation=newest and with_beside(with_changes(explained_as_of(newest, at), before), entry.executions, now),
            original=newest,
            age_sec=None if newest is None else age_sec(newest, at),
            trigger=entry.trigger,
            degraded_because=entry.degraded_because,
            cycle_sec=entry.cycle_sec,
            store_problem=entry.store_problem,
            loops=entry.loops,
            ahead_sec=entry.ahead_sec,
            executions=entry.executions,
            workers=entry.workers,
            changes=before,
            mutes=entry.mutes,
            silenced_at=entry.silenced_at,
        )

    def ready(self) -> bool:
        """Whether some cluster has a verdict, or a source of verdicts that answers."""
        return any(e.evaluation or e.loop_problem is None or e.store_problem is None for e in self._entries.values())

    async def refresh(self, cluster: str) -> None:
        """Query the loop, then the store; the newest tick wins."""
        await self._refresh_from_loop(cluster)
        await self._refresh_from_store(cluster)
        await self._refresh_inspections(cluster)
        await self._refresh_changes(cluster)
        await self.refresh_mutes(cluster)

    async def run(self) -> None:
        """Refresh every second until closed. Loop and store are independent: one that hangs does not delay the other.
        An entry that is not refreshed ages, and then reads as stale."""
        await asyncio.gather(
            self._repeat(self._paced(self._refresh_from_loop)),
            self._repeat(self._paced(self._refresh_from_store)),
            self._repeat(self._refresh_loops, max(LOOPS_SEC, len(self._entries) / CLUSTERS_A_SEC)),
            self._repeat(self._refresh_inspections, INSPECTIONS_SEC),
            self._repeat(self._refresh_changes, CHANGES_SEC),
            self._repeat(self.refresh_mutes, MUTES_SEC),
        )

    async def _repeat(self, refresh: Callable[[str], Awaitable[None]], every_sec: float = REFRESH_SEC) -> None:
        while not self._closing.is_set():
            results = await asyncio.gather(*(refresh(c) for c in self._entries), return_exceptions=True)
            for cluster, result in zip(self._entries, results, strict=True):
                if isinstance(result, Exception):
                    log.error("the verdict of cluster %s cannot be refreshed", cluster, exc_info=result,
                              extra={"event": "verdict.refresh_failed", "cluster": cluster})  # fmt: skip
            async with self._refreshed:
                self._refreshed.notify_all()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), every_sec)

    def _paced(self, refresh: Callable[[str], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
        """The same, left out while the loop's next tick is not due and the last query is less than five seconds ago."""
        asked: dict[str, float] = {}

        async def paced(cluster: str) -> None:
            entry, now = self._entries[cluster], asyncio.get_running_loop().time()
            live, answers = entry.live, not (entry.loop_problem or entry.store_problem or entry.unsaved)
            resting = live is not None and answers and self._deps.now() < live.time.add(seconds=live.interval_sec)
            if not (resting and now - asked.get(cluster, -RESTING_SEC) < RESTING_SEC):
                asked[cluster] = now
                await refresh(cluster)

        return paced

    async def _refresh_from_loop(self, cluster: str) -> None:
        source, before = self._deps.live, self._entries[cluster]
        query = result(source.revision(cluster), "the observing loop")
        backlog = result(source.unsaved(cluster), "the Copilot's own Temporal")
        (revision, problem), (unsaved, _) = await asyncio.gather(query, backlog)
        live = before.live if revision and revision == before.revision else None
        if live is None and problem is None and revision != "":
            evaluation, problem = await result(source.evaluation(cluster), "the observing loop")
            live = in_words(evaluation) if evaluation else None
        known = None if live is None else revision
        old = self._entries[cluster]
        new = self._with_newest(replace(old, live=live, revision=known, loop_problem=problem, unsaved=unsaved))
        self._entries[cluster] = new
        if live is not None and before.live is not None and not _same_tick(before.live, live):
            ahead = (self._deps.now() - live.time).total("seconds")
            self._entries[cluster] = replace(self._entries[cluster], ahead_sec=ahead)
        if live is not None and not _same_tick(old.evaluation, new.evaluation):
            took, _ = await result(source.cycle_sec(cluster), "the observing loop")
            self._entries[cluster] = replace(self._entries[cluster], cycle_sec=took)

    async def _refresh_loops(self, cluster: str) -> None:
        loops, _ = await result(self._deps.live.problems(cluster), "the Copilot's own Temporal", LOOPS_TIMEOUT_SEC)
        self._entries[cluster] = replace(self._entries[cluster], loops=loops or {})

    async def _refresh_inspections(self, cluster: str) -> None:
        """What was read beside the verdict, if it is newer; while the store does not answer, what is known stays."""
        if (before := self._entries[cluster]).store_problem is not None:
            return
        executions = await self._newer("executions", before.executions, Inspection, cluster)
        workers = await self._newer("workers", before.workers, WorkersListed, cluster)
        self._entries[cluster] = replace(self._entries[cluster], executions=executions, workers=workers)

    async def _newer(self, kind: str, known: D | None, model: type[D], cluster: str) -> D | None:
        since = known.time if known is not None else None
        found, _ = await result(self._deps.store.inspection(cluster, kind, since), "the state store")
        try:
            return known if found is None else model.model_validate(found)
        except ValidationError:  # Of another release: it is read when this one is upgraded.
            return known

    async def _refresh_changes(self, cluster: str) -> None:
        """Read the changes around the present problem. While the store does not answer, the last ones are kept."""
        newest = self._entries[cluster].evaluation
        if newest is None or newest.began is None or self._entries[cluster].store_problem:
            return
        read = self._deps.store.changes(cluster, newest.began - BEFORE, newest.began, MOST_CHANGES)
        changes, problem = await result(read, "the state store")
        if problem is None:
            self._entries[cluster] = replace(self._entries[cluster], changes=tuple(changes or ()))

    async def refresh_mutes(self, cluster: str) -> None:
        """Read the mutes of a cluster. While the store does not answer, the last ones are kept."""
        if self._entries[cluster].store_problem:
            return
        since = self._deps.now().subtract(hours=MUTES_HOURS)
        found, problem = await result(self._deps.store.mutes(cluster, since), "the state store")
        if problem is None:
            pushed = self._deps.now().subtract(seconds=PUSHED_SEC)
            there, _ = await result(self._deps.store.inspection(cluster, ALERTMANAGER, pushed), "the state store")
            links = tuple((there or {}).get("links", ()))
            self._entries[cluster] = replace(self._entries[cluster], mutes=tuple(found or ()), silenced_at=links)

    async def _refresh_from_store(self, cluster: str) -> None:
        store = self._deps.store
        assessment, problem = await result(store.latest_assessment(cluster), "the state store")
        stored = None
        if problem is None and self._entries[cluster].live is None:
            stored, problem = await result(store.latest_evaluation(cluster), "the state store")
        old = self._entries[cluster]
        explained = old.assessment if problem is not None else in_words(assessment) if assessment else None
        new = replace(old, assessment=explained, store_problem=problem)
        self._entries[cluster] = self._with_newest(new, in_words(stored) if stored else None)

    def _with_newest(self, entry: CacheEntry, stored: ExplainedEvaluation | None = None) -> CacheEntry:
        """The entry with the newest of all evaluations it knows."""
        old, live, assessment = entry.evaluation, entry.live, entry.assessment
        newest = _newest(old, stored, live, assessment)
        ahead = newest is not None and newest.time > self._deps.now().add(seconds=newest.interval_sec)
        # The clock went back: the newest tick lies in the future, and the loop has moved to an earlier one.
        if newest is not None and ahead and live is not None and live.time < newest.time:
            newest = _newest(live, assessment if assessment and assessment.time == live.time else None)
        return replace(
            entry,
            evaluation=None if newest is None else carry_over(newest, assessment),
            received=entry.received if _same_tick(old, newest) else self._deps.elapsed(),
            trigger=trigger_of(newest) or (assessment.trigger if assessment else entry.trigger),
        )

    async def changes(self, cluster: str) -> AsyncGenerator[VerdictView]:
        """The verdict now, and again after every refresh, until closed."""
        while not self._closing.is_set():
            yield self.view(cluster)
            async with self._refreshed:
                if not self._closing.is_set():
                    await self._refreshed.wait()

    async def close(self) -> None:
        """End `run` and all `changes`."""
        self._closing.set()
        async with self._refreshed:
            self._refreshed.notify_all()


async def result(query: Awaitable[T], source: str, timeout_sec: float = TIMEOUT_SEC) -> tuple[T | None, str | None]:
    """The query's result, or None and why there is none."""
    try:
        return await asyncio.wait_for(query, timeout_sec), None
    except TimeoutError:
        return None, f"{source} did not answer within {timeout_sec:g} s"
    except CopilotError as error:
        return None, str(error)


def with_beside(evaluation: ExplainedEvaluation, executions: Inspection | None, now: Instant) -> ExplainedEvaluation:
    """The evaluation whose explanation also cites executions in trouble, where there are any. The state stays."""
    said = executions_sentences(executions, now)
    if not said:
        return evaluation
    told = evaluation.narrative
    told = told.model_copy(update={"reactions": (*told.reactions, *said)})
    return evaluation.model_copy(update={"narrative": told})


def trigger_of(evaluation: ExplainedEvaluation | None) -> Trigger | None:
    """Why the evaluation was assessed; None when the evaluation itself does not say."""
    if evaluation is None:
        return None
    return evaluation.trigger or (Trigger.STATE_CHANGE if evaluation.verdict.transition is not None else None)


def _newest(*candidates: ExplainedEvaluation | None) -> ExplainedEvaluation | None:
    """The newest; of one tick the last candidate, which knows more."""
    return max(filter(None, reversed(candidates)), key=lambda e: e.time, default=None)


def _same_tick(one: ExplainedEvaluation | None, other: ExplainedEvaluation | None) -> bool:
    return one is not None and other is not None and one.evaluation_id == other.evaluation_id
