"""ObserveClusterWorkflow: the loop that watches one cluster, for months.

Each tick: read, judge, publish; then, beside the wait for the next tick, store. The store is never in front of a
verdict. What could not be stored before the run ends goes to a workflow of its own, so that a run's input stays small
and nothing is lost however long the store is away.
"""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError, is_cancelled_exception

from copilot.activities.messages import (
    Document,
    EvaluateHealth,
    FetchSignals,
    HealthEvaluated,
    ResumeMemory,
    StoreSnapshots,
)
from copilot.workflows import calls
from copilot.workflows.assess import AssessHealthWorkflow
from copilot.workflows.backlog import StoreBacklogWorkflow
from copilot.workflows.log_shared import LogsTold
from copilot.workflows.shared import (
    DEFINITION_MEMO,
    OBSERVE,
    AssessHealth,
    Definition,
    Known,
    LastError,
    LoopStatus,
    ObserveCluster,
    StoreBacklog,
    Window,
)
from copilot.workflows.ticks import next_tick, slack, tick_time

SNAPSHOTS_PER_WRITE = 20
STORE_PATIENCE = timedelta(hours=1)


@workflow.defn(name=OBSERVE)
class ObserveClusterWorkflow:
    """The loop. Ends only when it is cancelled; its memory passes over every continue-as-new."""

    @workflow.init
    def __init__(self, given: ObserveCluster) -> None:
        self._cluster = given.cluster
        self._definition = given.definition
        self._known = given.known or Known()
        self._pending: list[Document] = []
        self._left = self._definition.ticks_per_run
        self._redefined = False
        self._asked = 0
        self._answered = 0

    @workflow.run
    async def run(self, given: ObserveCluster) -> None:  # noqa: ARG002
        await self._resume()
        while True:
            storing = asyncio.create_task(self._keep_storing())
            try:
                while not await self._due_or_leave(storing):
                    await self._tick()
            except BaseException as error:
                if is_cancelled_exception(error):
                    await self._hand_over(storing)
                raise
            await self._hand_over(storing)
            await workflow.wait_condition(lambda: workflow.all_handlers_finished() or self._asked_for())
            if not self._asked_for():
                break
        self._known.runs += 1
        workflow.continue_as_new(
            ObserveCluster(cluster=self._cluster, definition=self._definition, known=self._known),
            memo={DEFINITION_MEMO: self._definition.model_dump()},
        )

    @workflow.query
    def live(self) -> Document | None:
        """The newest evaluation."""
        return self._known.newest

    @workflow.query
    def window(self) -> Window:
        """The readings of the last ticks."""
        return self._known.window

    @workflow.query
    def last_error(self) -> LastError | None:
        """What last went wrong."""
        return self._known.last_error

    @workflow.query
    def status(self) -> LoopStatus:
        """How the loop itself is doing."""
        known = self._known
        return LoopStatus(
            definition=self._definition,
            ticks=known.ticks,
            runs=known.runs,
            pending=len(self._pending),
            last_tick=known.last_tick,
            last_error=known.last_error,
        )

    @workflow.update
    async def assess_now(self) -> Document:
        """Evaluate at once and keep it as an assessment; gives the evaluation. ApplicationError if that fails."""
        self._asked += 1
        mine = self._asked
        before = self._known.ticks
        await workflow.wait_condition(lambda: self._answered >= mine)
        if self._known.newest is None or self._known.ticks == before:
            error = self._known.last_error
            raise ApplicationError(error.what if error else "nothing was evaluated", non_retryable=True)
        return self._known.newest

    @workflow.signal
    def define(self, definition: Definition) -> None:
        """Carry on under another definition."""
        self._redefined = self._redefined or definition != self._definition
        self._definition = definition

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
            self._known.memory, self._known.newest = last.memory, last.evaluation
            self._known.assessed_state, self._known.last_tick = last.health_state, last.tick
        self._known.resumed = True

    async def _due_or_leave(self, storing: "asyncio.Task[None]") -> bool:
        """Wait for the next tick; True if this run should end instead."""
        now = workflow.time()
        wait = next_tick(self._known.last_tick, now, self._definition.interval_sec) - now
        if wait > 0 and not self._asked_for():
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._asked_for() or self._redefined or self._may_leave() or storing.done(), timeout=wait
                )
        if storing.done():
            storing.result()
        return not self._asked_for() and (self._redefined or self._run_is_long())

    def _asked_for(self) -> bool:
        return self._answered < self._asked

    def _run_is_long(self) -> bool:
        return self._left <= 0 or workflow.info().is_continue_as_new_suggested()

    def _may_leave(self) -> bool:
        return self._run_is_long() and not self._pending

    async def _tick(self) -> None:
        asked, known = self._asked, self._known
        by_hand = self._asked_for()
        interval, now = self._definition.interval_sec, workflow.time()
        tick = tick_time(known.last_tick, now, interval)
        known.last_tick = tick
        self._left -= 1
        spiked, known.log_spike = known.log_spike, False
        judged = await self._judge(tick)
        if judged is not None:
            await self._publish(judged, tick, by_hand=by_hand, spiked=spiked)
        else:
            known.log_spike = known.log_spike or spiked
        self._answered = asked

    async def _judge(self, tick: int) -> HealthEvaluated | None:
        interval, known = self._definition.interval_sec, self._known
        waits = max(3.0, slack(interval))
        read: Document | None = None
        why = ""
        try:
            deadline = calls.fetch_deadline_sec(interval)
            ask = FetchSignals(cluster=self._cluster, tick=tick, deadline_sec=deadline)
            read = (await calls.fetch_signals(ask, waits)).signals
        except ActivityError as error:
            why = self._went_wrong(error)
            if calls.nobody_was_there(error):
                return None
        try:
            judged = await calls.evaluate_health(
                EvaluateHealth(
                    cluster=self._cluster,
                    tick=tick,
                    signals=read,
                    memory=known.memory,
                    why_blind=why,
                    logs=known.logs,
                ),
                waits,
            )
        except ActivityError as error:
            self._went_wrong(error)
            return None
        known.window.push(tick, judged.evaluation["signals"]["readings"])
        if read is not None and known.last_error is not None:
            known.last_error = known.last_error.model_copy(update={"over": True})
        return judged

    async def _publish(self, judged: HealthEvaluated, tick: int, *, by_hand: bool, spiked: bool) -> None:
        known = self._known
        self._pending.append(
            {
                "evaluation": judged.evaluation,
                "memory_before": known.memory or {},
                "thresholds_hash": judged.thresholds_hash,
                "taxonomy_version": judged.taxonomy_version,
                "rules_version": judged.rules_version,
            }
        )
        known.newest, known.memory = judged.evaluation, judged.memory
        known.ticks += 1
        changed = judged.health_state != known.assessed_state
        if changed or by_hand or spiked:
            known.assessed_state = judged.health_state
            trigger = "state_change" if changed else "manual" if by_hand else "log_spike"
            await self._start_child(
                AssessHealthWorkflow.run,
                AssessHealth(cluster=self._cluster, evaluation=judged.evaluation, trigger=trigger),
                f"assess-{self._cluster}-{tick}",
            )

    async def _keep_storing(self) -> None:
        while True:
            await workflow.wait_condition(lambda: bool(self._pending))
            batch = self._pending[:SNAPSHOTS_PER_WRITE]
            ask = StoreSnapshots(cluster=self._cluster, snapshots=batch)
            try:
                await calls.store_signals_snapshot(ask, gives_up=STORE_PATIENCE)
            except ActivityError as error:
                self._went_wrong(error)
            else:
                del self._pending[: len(batch)]

    async def _hand_over(self, storing: "asyncio.Task[None]") -> None:
        storing.cancel()
        await workflow.wait([storing])
        if not storing.cancelled() and (error := storing.exception()) and not is_cancelled_exception(error):
            raise error
        while self._pending:
            batch = self._pending[:SNAPSHOTS_PER_WRITE]
            first = batch[0]["evaluation"]["evaluation_id"]
            await self._start_child(
                StoreBacklogWorkflow.run, StoreBacklog(cluster=self._cluster, snapshots=batch), f"store-{first}"
            )
            del self._pending[: len(batch)]

    async def _start_child(self, run: Any, given: AssessHealth | StoreBacklog, child_id: str) -> None:
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await workflow.start_child_workflow(
                run, given, id=child_id, parent_close_policy=workflow.ParentClosePolicy.ABANDON
            )

    def _went_wrong(self, error: ActivityError) -> str:
        """Remember what went wrong and give it as a line; a cancellation is not an error and passes through."""
        if is_cancelled_exception(error):
            raise error
        what = calls.in_one_line(error)
        workflow.logger.warning("%s: %s", self._cluster, what)
        self._known.last_error = LastError(time=int(workflow.time()), what=what)
        return what
