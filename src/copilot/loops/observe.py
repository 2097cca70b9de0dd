"""ObserveClusterWorkflow: watches one cluster, for months.

Each tick: read, evaluate, publish; then, beside the wait for the next tick, store. The store never delays a verdict.
What is not stored when a run ends goes to a workflow of its own, so a run's input stays small and nothing is lost.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType, is_cancelled_exception

from copilot.loops import calls
from copilot.loops import definitions as d
from copilot.loops import messages as m
from copilot.loops.assess import AssessHealthWorkflow
from copilot.loops.loop import (
    SOONEST_SEC,
    Loop,
    next_tick,
    offset_of,
    send_signal,
    slack,
    start_child,
    tick_time,
    to_the_end,
)
from copilot.loops.storing import BACKLOG_STORED, SnapshotWriter
from copilot.rules.early import IN_A_ROW
from copilot.telemetry.spans import ROOT, span


@workflow.defn(name=d.OBSERVE)
class ObserveClusterWorkflow(Loop[d.ObserveState]):
    """The observing loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: d.ObserveInput) -> None:
        super().__init__(given, given.state or d.ObserveState())
        self._writer = SnapshotWriter(given.cluster, self._state, self._failed)
        self._notifies = self._definition.notifies
        self._notifying: list[asyncio.Task[str]] = []
        self._tried = False
        self._ticking = False
        self._leaving = False

    @workflow.run
    async def run(self, given: d.ObserveInput) -> None:  # noqa: ARG002
        await self._resume()
        writing = asyncio.create_task(self._writer.run())
        try:
            while True:
                await self._wait_until(
                    self._next_tick(workflow.time()),
                    lambda: writing.done() or (self._run_ends() and not self._writer.pending),
                )
                if writing.done():
                    writing.result()
                if self._run_ends():
                    break
                await self._tick()
        except BaseException as error:
            if is_cancelled_exception(error):
                await self._leave(writing)
            raise
        await self._leave(writing)
        self._continue_as_new()

    @workflow.query
    def live(self) -> m.Document | None:
        """The newest evaluation; None before the first."""
        return self._state.newest

    @workflow.query
    def revision(self) -> str:
        """The newest evaluation's id; empty before the first. Cheap: readers ask for this, and for `live` on change."""
        return self._state.newest["evaluation_id"] if self._state.newest else ""

    @workflow.query
    def window(self) -> d.Window:
        """The readings of the last ticks."""
        return self._state.window

    @workflow.update
    async def assess_now(self) -> m.Document:
        """Store the newest evaluation as an assessment, after the tick that is due or under way, and return it. It is
        no tick of its own, so it shortens no hold. ApplicationError if there is nothing to assess."""
        if self._timed:
            await asyncio.sleep(SOONEST_SEC)  # By then a tick that is due has begun.
        await workflow.wait_condition(lambda: self._up_to_date() or self._leaving)
        state = self._state
        if state.newest is None or state.last_evaluated is None:
            error = state.last_error
            raise ApplicationError(error.what if error else "nothing is evaluated yet: try again", non_retryable=True)
        await self._assess(state.newest, state.last_evaluated, "manual")
        return state.newest

    @workflow.signal(name=BACKLOG_STORED)
    def backlog_stored(self, workflow_id: str) -> None:
        """That backlog is stored."""
        self._writer.backlog_stored(workflow_id)

    @workflow.signal(name=d.LOGS_SEEN)
    def logs_seen(self, update: d.LogsUpdate) -> None:
        """The newest reading of the logs; a pattern that spikes has the next verdict assessed."""
        self._state.logs = update.logs
        self._state.log_spike = self._state.log_spike or bool(update.spikes)

    def _pending(self) -> int:
        return len(self._writer.pending)

    async def _resume(self) -> None:
        state = self._state
        if state.resumed:
            return
        stored = await self._try(calls.resume_memory, m.ClusterNow(cluster=self._cluster, now=int(workflow.time())))
        if stored is not None:
            state.memory, state.newest = stored.memory, stored.evaluation
            state.assessed_state, state.assessed = stored.health_state, stored.assessed
            state.last_tick = state.last_evaluated = stored.tick
        state.resumed = True

    def _next_tick(self, now: float) -> int:
        state = self._state
        interval = self._definition.interval_sec
        return next_tick(
            state.last_tick, now, interval, early=state.early > 0, offset=offset_of(self._cluster, interval)
        )

    def _up_to_date(self) -> bool:
        """Whether no tick is due or under way."""
        if self._ticking or not (self._tried or self._state.newest is not None):
            return False
        now = workflow.time()
        return self._timed or self._next_tick(now) > now

    async def _leave(self, writing: "asyncio.Task[None]") -> None:
        """Hand over what is pending, answer every update, deliver every signal."""
        self._leaving = True
        await self._writer.hand_over(writing)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._notifying:
            await workflow.wait(self._notifying)

    async def _tick(self) -> None:
        state, began = self._state, workflow.time()
        interval = self._definition.interval_sec
        tick = tick_time(state.last_tick, began, interval, offset_of(self._cluster, interval))
        state.last_tick = tick
        self._cycles_left -= 1
        self._ticking = True
        spiked, state.log_spike = state.log_spike, False
        published = False
        try:
            with span("cycle", {"cluster": self._cluster, "tick": tick}, carrier=ROOT):
                to_evaluate = await self._read(tick)
                if to_evaluate is not None:
                    published = await to_the_end(self._evaluate_and_publish(to_evaluate, spiked=spiked))
            took = workflow.time() - began
            workflow.metric_meter().create_histogram_timedelta(
                "copilot_worker_cycle", "From the beginning of a cycle until its verdict is published", "duration"
            ).record(timedelta(seconds=took), {"cluster": self._cluster})
            if published:
                state.cycle_sec = took
        finally:
            state.log_spike = state.log_spike or (spiked and not published)
            self._ticking, self._tried = False, True

    async def _read(self, tick: int) -> m.EvaluateHealth | None:
        """What is to be evaluated; None if there was no worker."""
        signals, reason = None, ""
        # 10 s or half a shorter interval for all sources together, but at least 4 s for the health check.
        deadline = min(10.0, max(4.0, self._definition.interval_sec / 2))
        try:
            fetched = await calls.fetch_signals(
                m.FetchSignals(cluster=self._cluster, tick=tick, deadline_sec=deadline),
                schedule_to_start=self._worker_within(),
                start_to_close=deadline + 3,
            )
            signals = fetched.signals
        except ActivityError as error:
            reason = self._failed(error)
            if isinstance(error.cause, TimeoutError) and error.cause.type == TimeoutType.SCHEDULE_TO_START:
                return None
        return m.EvaluateHealth(
            cluster=self._cluster,
            tick=tick,
            signals=signals,
            memory=self._state.memory,
            missing_reason=reason,
            logs=self._state.logs,
            assessed_state=self._state.assessed_state,
        )

    async def _evaluate_and_publish(self, given: m.EvaluateHealth, *, spiked: bool) -> bool:
        evaluated = await self._try(calls.evaluate_health, given, schedule_to_start=self._worker_within())
        if evaluated is None:
            return False
        self._state.last_tick = evaluated.tick
        early = self._state.early + 1 if evaluated.read_again_early else 0
        self._state.early = early if early <= IN_A_ROW else 0
        self._state.window.push(evaluated.tick, evaluated.readings)
        if given.signals is not None:
            self._succeeded()
        await self._publish(evaluated, spiked=spiked)
        return True

    def _worker_within(self) -> float:
        """Seconds within which a worker must take an activity."""
        return max(3.0, slack(self._definition.interval_sec))

    async def _publish(self, evaluated: m.HealthEvaluated, *, spiked: bool) -> None:
        state, evaluation, tick = self._state, evaluated.evaluation, evaluated.tick
        self._writer.pending.append(evaluated.snapshot(memory_before=state.memory))
        state.newest, state.memory, state.last_evaluated = evaluation, evaluated.memory, tick
        state.cycles += 1
        changed = evaluated.health_state != state.assessed_state
        if changed or spiked:
            state.assessed_state = evaluated.health_state
            await self._assess(evaluation, tick, "state_change" if changed else "log_spike")
        if changed and self._notifies:
            signal = send_signal(d.notify_id(self._cluster), d.VERDICT_CHANGED, evaluated.words)
            running = [task for task in self._notifying if not task.done()]
            self._notifying = [*running, asyncio.create_task(signal)]

    async def _assess(self, evaluation: m.Document, tick: int, trigger: str) -> None:
        self._state.assessed = max(tick, self._state.assessed or tick)
        given = d.AssessInput(cluster=self._cluster, evaluation=evaluation, trigger=trigger)
        await start_child(AssessHealthWorkflow.run, given, d.assess_id(self._cluster, tick, trigger))
