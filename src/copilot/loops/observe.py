"""ObserveClusterWorkflow: the loop that watches one cluster, for months.

Each tick: read, judge, publish; then, beside the wait for the next tick, store. The store is never in front of a
verdict. What could not be stored before the run ends goes to a workflow of its own, so that a run's input stays small
and nothing is lost however long the store is away.
"""

import asyncio
import contextlib

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from copilot.loops import calls
from copilot.loops.assess import AssessHealthWorkflow
from copilot.loops.definitions import (
    OBSERVE,
    VERDICT_CHANGED,
    AssessHealth,
    Known,
    LogsTold,
    LoopStatus,
    ObserveCluster,
    Window,
    assess_id,
    notify_id,
)
from copilot.loops.loop import (
    EVERY_WAIT_IS_A_TIMER,
    SOONEST_SEC,
    Loop,
    cycle,
    next_tick,
    seconds_until,
    slack,
    tick_time,
)
from copilot.loops.messages import Document, EvaluateHealth, FetchSignals, HealthEvaluated, ResumeMemory
from copilot.loops.storing import Storing, snapshot, start_child, to_its_end, told


@workflow.defn(name=OBSERVE)
class ObserveClusterWorkflow(Loop[Known]):
    """The loop. Ends only when it is cancelled; its memory passes over every continue-as-new."""

    @workflow.init
    def __init__(self, given: ObserveCluster) -> None:
        super().__init__(given.cluster, given.definition, given.known or Known())
        self._store = Storing(given.cluster, self._known, self._went_wrong)
        self._notifies = self._definition.notifies
        self._telling: list[asyncio.Task[bool]] = []
        self._tried = False
        self._ticking = False
        self._leaving = False
        self._timed = workflow.patched(EVERY_WAIT_IS_A_TIMER)

    @workflow.run
    async def run(self, given: ObserveCluster) -> None:  # noqa: ARG002
        await self._resume()
        storing = asyncio.create_task(self._store.keep_storing())
        try:
            while not await self._due_or_leave(storing):
                await self._tick()
        except BaseException as error:
            if is_cancelled_exception(error):
                self._leaving = True
                await self._store.hand_over(storing)
                await self._all_told()
            raise
        self._leaving = True
        await self._store.hand_over(storing)
        await self._all_told()
        self._begin_anew(ObserveCluster)

    @workflow.query
    def live(self) -> Document | None:
        """The newest evaluation."""
        return self._known.newest

    @workflow.query
    def window(self) -> Window:
        """The readings of the last ticks."""
        return self._known.window

    @workflow.query
    def status(self) -> LoopStatus:
        """How the loop itself is doing."""
        known = self._known
        return LoopStatus(
            definition=self._definition,
            ticks=known.ticks,
            runs=known.runs,
            pending=len(self._store.pending),
            last_tick=known.last_tick,
            last_error=known.last_error,
            assessed=known.assessed,
            cycle_sec=known.cycle_sec,
        )

    @workflow.update
    async def assess_now(self) -> Document:
        """Keep the newest evaluation as an assessment, once the tick that is due or under way is done; gives the
        evaluation. It is no tick of its own: pressing it shortens no hold. ApplicationError if there is nothing to
        assess."""
        if self._timed:
            await asyncio.sleep(SOONEST_SEC)  # By then a tick that is due has begun.
        await workflow.wait_condition(lambda: self._up_to_date() or self._leaving)
        known = self._known
        if known.newest is None or known.last_evaluated is None:
            error = known.last_error
            raise ApplicationError(error.what if error else "nothing was evaluated yet: ask again", non_retryable=True)
        await self._assess(known.newest, known.last_evaluated, "manual")
        return known.newest

    @workflow.signal
    def through(self, workflow_id: str) -> None:
        """That backlog is stored."""
        self._store.through(workflow_id)

    @workflow.signal
    def logs_seen(self, told: LogsTold) -> None:
        """What the logs say now; a pattern that spikes has the next verdict assessed."""
        self._known.logs = told.logs
        self._known.log_spike = self._known.log_spike or bool(told.spikes)

    async def _resume(self) -> None:
        if self._known.resumed:
            return
        try:
            last = await calls.resume_memory(ResumeMemory(cluster=self._cluster, now=int(workflow.time())))
        except ActivityError as error:
            self._went_wrong(error)
        else:
            known = self._known
            known.memory, known.newest = last.memory, last.evaluation
            known.assessed_state, known.assessed = last.health_state, last.assessed
            known.last_tick, known.last_evaluated = last.tick, last.tick
        self._known.resumed = True

    async def _due_or_leave(self, storing: "asyncio.Task[None]") -> bool:
        """Wait for the next tick; True if this run should end instead."""
        now = workflow.time()
        due = self._next_tick(now)
        if self._timed or due > now:
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._redefined or self._may_leave() or storing.done(), timeout=seconds_until(due, now)
                )
        if storing.done():
            storing.result()
        return self._to_leave()

    def _next_tick(self, now: float) -> int:
        return next_tick(self._known.last_tick, now, self._definition.interval_sec)

    def _up_to_date(self) -> bool:
        """Whether the newest evaluation is the last there was to be made."""
        some = self._tried or self._known.newest is not None
        if self._timed:
            return some and not self._ticking
        now = workflow.time()
        return some and not self._ticking and self._next_tick(now) > now

    def _may_leave(self) -> bool:
        return self._run_is_long() and not self._store.pending

    async def _tick(self) -> None:
        tick = tick_time(self._known.last_tick, workflow.time(), self._definition.interval_sec)
        self._known.last_tick = tick
        self._left -= 1
        self._ticking = True
        began = workflow.time()
        spiked, self._known.log_spike = self._known.log_spike, False
        published = False
        try:
            with cycle(self._cluster, tick):
                ask = await self._read(tick)
                if ask is not None:
                    published = await to_its_end(self._judge_and_publish(ask, spiked=spiked))
            if published:
                self._known.cycle_sec = workflow.time() - began
        finally:
            self._known.log_spike = self._known.log_spike or (spiked and not published)
            self._ticking, self._tried = False, True

    async def _read(self, tick: int) -> EvaluateHealth | None:
        """What is to be judged; None if no worker was there."""
        read: Document | None = None
        why = ""
        try:
            deadline = calls.fetch_deadline_sec(self._definition.interval_sec)
            ask = FetchSignals(cluster=self._cluster, tick=tick, deadline_sec=deadline)
            read = (await calls.fetch_signals(ask, self._worker_within())).signals
        except ActivityError as error:
            why = self._went_wrong(error)
            if calls.nobody_was_there(error):
                return None
        known = self._known
        return EvaluateHealth(
            cluster=self._cluster, tick=tick, signals=read, memory=known.memory, why_blind=why, logs=known.logs
        )

    async def _judge_and_publish(self, ask: EvaluateHealth, *, spiked: bool) -> bool:
        try:
            judged = await calls.evaluate_health(ask, self._worker_within())
        except ActivityError as error:
            self._went_wrong(error)
            return False
        known, tick = self._known, _recorded_tick(judged.evaluation, ask.tick)
        known.last_tick = tick
        known.window.push(tick, judged.evaluation["signals"]["readings"])
        if ask.signals is not None:
            self._all_is_well()
        await self._publish(judged, tick, spiked=spiked)
        return True

    def _worker_within(self) -> float:
        """Seconds within which a worker must take an activity."""
        return max(3.0, slack(self._definition.interval_sec))

    async def _publish(self, judged: HealthEvaluated, tick: int, *, spiked: bool) -> None:
        known = self._known
        self._store.pending.append(snapshot(judged, known.memory))
        known.newest, known.memory, known.last_evaluated = judged.evaluation, judged.memory, tick
        known.ticks += 1
        changed = judged.health_state != known.assessed_state
        if changed or spiked:
            known.assessed_state = judged.health_state
            await self._assess(judged.evaluation, tick, "state_change" if changed else "log_spike")
        if changed and self._notifies:
            telling = asyncio.create_task(self._tell(judged.words))
            self._telling = [*(task for task in self._telling if not task.done()), telling]

    async def _assess(self, evaluation: Document, tick: int, trigger: str) -> None:
        self._known.assessed = max(tick, self._known.assessed or tick)
        given = AssessHealth(cluster=self._cluster, evaluation=evaluation, trigger=trigger)
        await start_child(AssessHealthWorkflow.run, given, assess_id(self._cluster, tick, trigger))

    async def _tell(self, words: Document) -> bool:
        """Have people told, if there is somebody who does: it finds out by itself what it was not told."""
        return await told(notify_id(self._cluster), VERDICT_CHANGED, words)

    async def _all_told(self) -> None:
        """Whoever waits for an answer has it, and who was to be told is."""
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._telling:
            await workflow.wait(self._telling)


def _recorded_tick(evaluation: Document, asked: int) -> int:
    """The tick that was judged, as the history has it: the workflow's clock may say another time in replay."""
    tick = str(evaluation.get("evaluation_id", "")).rpartition(":")[2]
    return int(tick) if tick.isdigit() else asked
