"""ScheduledAssessmentWorkflow: stores the verdict as an assessment every five minutes while nothing changes.

So issues in the store are renewed or resolved while a state lasts. It evaluates nothing: it takes the observing loop's
verdict, and starts no assessment within the window of another one.
"""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from copilot.loops import calls
from copilot.loops.assess import AssessHealthWorkflow
from copilot.loops.definitions import SCHEDULED, AssessInput, ScheduleInput, ScheduleState, assess_id
from copilot.loops.loop import Loop, start_child, to_the_end
from copilot.loops.messages import CheckRecentAssessment, ClusterNow, EvaluationDocument

SINCE_EVER = 0
LOOK_AGAIN_SEC = 60.0
EVALUATED_WITHIN_SEC = 3.0


def due(evaluated: int, assessed: int | None, window_sec: float) -> bool:
    """Whether the evaluation of that time lies outside the window of the newest assessment."""
    return assessed is None or evaluated - assessed >= window_sec


def newest(*times: int | None) -> int | None:
    """The latest of those known; None if none is."""
    return max((t for t in times if t is not None), default=None)


def next_look(assessed: int | None, now: float, window_sec: float) -> float:
    """Seconds until it is worth looking again: when the tick that ends the newest assessment's window has been
    evaluated; soon, where that is over and there was nothing to assess; at most a window."""
    again = min(LOOK_AGAIN_SEC, window_sec / 10)
    left = 0.0 if assessed is None else assessed + window_sec + min(EVALUATED_WITHIN_SEC, again) - now
    return min(max(left, again), window_sec)


@workflow.defn(name=SCHEDULED)
class ScheduledAssessmentWorkflow(Loop[ScheduleState]):
    """The loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: ScheduleInput) -> None:
        super().__init__(given, given.state or ScheduleState())

    @workflow.run
    async def run(self, given: ScheduleInput) -> None:  # noqa: ARG002
        state = self._state
        if state.since is None:
            state.since = int(workflow.info().workflow_start_time.timestamp())
        while not self._run_ends():
            await self._look()
            now = workflow.time()
            wait = next_look(newest(state.assessed, state.since), now, self._definition.interval_sec)
            await self._wait_until(now + wait)
        self._continue_as_new()

    async def _look(self) -> None:
        state = self._state
        self._cycles_left -= 1
        state.cycles += 1
        try:
            live = await calls.get_live_verdict(ClusterNow(cluster=self._cluster, now=int(workflow.time())))
        except ActivityError as error:
            self._failed(error)
            return
        if live.unavailable:
            self._record_error(live.unavailable)
        else:
            self._succeeded()
        state.assessed = newest(state.assessed, live.assessed)
        if live.evaluation is not None and live.time is not None and not live.stale:
            await self._assess_if_due(live.evaluation, live.time)

    async def _assess_if_due(self, evaluation: EvaluationDocument, evaluated: int) -> None:
        state, window = self._state, self._definition.interval_sec
        try:
            recent = await calls.check_recent_assessment(
                CheckRecentAssessment(cluster=self._cluster, since=int(evaluated - window))
            )
            state.assessed = newest(state.assessed, recent.time)
            state.since = SINCE_EVER
        except ActivityError as error:
            self._failed(error)
        if not due(evaluated, newest(state.assessed, state.since), window):
            return
        state.assessed = evaluated
        state.made += 1
        given = AssessInput(cluster=self._cluster, evaluation=evaluation, trigger="scheduled")
        child_id = assess_id(self._cluster, evaluated, "scheduled")
        await to_the_end(start_child(AssessHealthWorkflow.run, given, child_id))
