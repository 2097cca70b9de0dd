"""AssessHealthWorkflow stores an evaluation as an assessment, and then has it explained. ScheduledAssessmentWorkflow
starts one every five minutes while nothing changes.

So issues in the store are renewed or resolved while a state lasts. The loop evaluates nothing: it takes the observing
loop's verdict, and starts no assessment within the window of another one.
"""

import contextlib

from temporalio import workflow
from temporalio.exceptions import ActivityError

from copilot.loops import calls
from copilot.loops import messages as m
from copilot.loops.definitions import ASSESS, SCHEDULED, AssessInput, ScheduleInput, ScheduleState, assess_id
from copilot.loops.loop import Loop, start_child, to_the_end

SINCE_EVER = 0
LOOK_AGAIN_SEC = 60.0
EVALUATED_WITHIN_SEC = 3.0
DEEP = "deep"
RAG_SEC = 2.0
WHOLE_SEC = 25.5
"""From the verdict on: 30 s without an activity's own time and the time to store the explanation."""


@workflow.defn(name=ASSESS)
class AssessHealthWorkflow:
    """Stores a verdict with the rules' explanation, then has a model explain it if rules decide that it needs more: a
    quick explanation, or a deep one with runbooks. The loop that started it does not wait."""

    @workflow.run
    async def run(self, given: AssessInput) -> m.AssessmentStored:
        stored = await calls.store_health_assessment(given)
        if stored.unreadable:
            return stored
        try:
            explanation = await self._explained(given)
            if explanation is not None:
                of = given.evaluation["evaluation_id"]
                improved = m.ImproveExplanation(evaluation_id=of, trigger=given.trigger, explanation=explanation)
                await calls.improve_explanation(improved)
        except ActivityError as error:
            _log_failure(error)
        return stored

    async def _explained(self, given: AssessInput) -> m.Document | None:
        """The explanation to store; None: the stored one stays."""
        plan = await calls.explain_assessment(
            m.ExplainAssessment(evaluation=given.evaluation, trigger=given.trigger, left_sec=_left_sec())
        )
        if plan.ask_within_sec is None:
            return plan.explanation
        within = max(min(plan.ask_within_sec, _left_sec()), m.LEAST_SEC)
        ends = workflow.time() + within
        ask = m.AskModel(evaluation=given.evaluation, trigger=given.trigger, deadline_sec=within)
        if plan.depth != DEEP:
            quick = await self._asked(calls.ask_dispatcher, ask, plan.explanation)
            if not quick.deeper:
                return quick.explanation
        wanted = m.FetchRagContext(evaluation=given.evaluation, deadline_sec=min(RAG_SEC, within))
        passages: list[m.Document] = []  # they help, but the explanation does not wait for them
        with contextlib.suppress(ActivityError):
            around = wanted.deadline_sec + calls.AROUND_MODEL_SEC
            passages = (await calls.fetch_rag_context(wanted, schedule_to_close=around)).passages
        left = max(ends - workflow.time(), m.LEAST_SEC)
        ask = ask.model_copy(update={"deadline_sec": left, "passages": passages})
        return (await self._asked(calls.ask_researcher, ask, plan.explanation)).explanation

    async def _asked(
        self, call: calls.Call[m.AskModel, m.ModelAsked], ask: m.AskModel, unanswered: m.Document | None
    ) -> m.ModelAsked:
        """The answer; without one, because a worker died or the store is down, `unanswered`."""
        try:
            return await call(ask, schedule_to_close=ask.deadline_sec + calls.AROUND_MODEL_SEC)
        except ActivityError as error:
            _log_failure(error)
            return m.ModelAsked(explanation=unanswered)


def _log_failure(error: ActivityError) -> None:
    why = calls.in_one_line(error)
    workflow.logger.warning("the rules' explanation stays: %s", why, extra={"event": "explanation.failed"})


def _left_sec() -> float:
    """Seconds left for a model to be asked."""
    return WHOLE_SEC - (workflow.now() - workflow.info().start_time).total_seconds()


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
        live = await self._try(calls.get_live_verdict, m.ClusterNow(cluster=self._cluster, now=int(workflow.time())))
        if live is None:
            return
        if live.unavailable:
            self._record_error(live.unavailable)
        else:
            self._succeeded()
        state.assessed = newest(state.assessed, live.assessed)
        if live.evaluation is not None and live.time is not None and not live.stale:
            await self._assess_if_due(live.evaluation, live.time)

    async def _assess_if_due(self, evaluation: m.Document, evaluated: int) -> None:
        state, window = self._state, self._definition.interval_sec
        given = m.CheckRecentAssessment(cluster=self._cluster, since=int(evaluated - window))
        if (recent := await self._try(calls.check_recent_assessment, given)) is not None:
            state.assessed = newest(state.assessed, recent.time)
            state.since = SINCE_EVER
        if not due(evaluated, newest(state.assessed, state.since), window):
            return
        state.assessed = evaluated
        state.made += 1
        assessment = AssessInput(cluster=self._cluster, evaluation=evaluation, trigger="scheduled")
        child_id = assess_id(self._cluster, evaluated, "scheduled")
        await to_the_end(start_child(AssessHealthWorkflow.run, assessment, child_id))
