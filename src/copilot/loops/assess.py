"""AssessHealthWorkflow: stores an evaluation as an assessment, and then has it explained."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from copilot.loops import calls
from copilot.loops.definitions import ASSESS, AssessInput
from copilot.loops.messages import (
    LEAST_SEC,
    AskModel,
    AssessmentStored,
    Document,
    ExplainAssessment,
    FetchRagContext,
    ImproveExplanation,
    ModelAsked,
    RagContext,
    StoreAssessment,
)

DEEP = "deep"
RAG_SEC = 2.0
WHOLE_SEC = 25.5
"""From the verdict on: 30 s without an activity's own time and the time to store the explanation."""


@workflow.defn(name=ASSESS)
class AssessHealthWorkflow:
    """Stores a verdict with the rules' explanation, then has a model explain it if rules decide that it needs more: a
    quick explanation, or a deep one with runbooks. The loop that started it does not wait."""

    @workflow.run
    async def run(self, given: AssessInput) -> AssessmentStored:
        stored = await calls.store_health_assessment(
            StoreAssessment(evaluation=given.evaluation, trigger=given.trigger)
        )
        if not stored.unreadable:
            await self._explain(given)
        return stored

    async def _explain(self, given: AssessInput) -> None:
        """Whatever fails here, the rules' explanation stays."""
        try:
            explanation = await self._explained(given)
            if explanation is not None:
                await calls.improve_explanation(
                    ImproveExplanation(
                        evaluation_id=given.evaluation["evaluation_id"], trigger=given.trigger, explanation=explanation
                    )
                )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            _log_failure(error)

    async def _explained(self, given: AssessInput) -> Document | None:
        """The explanation to store; None: the stored one stays."""
        plan = await calls.explain_assessment(
            ExplainAssessment(evaluation=given.evaluation, trigger=given.trigger, left_sec=_left_sec())
        )
        if plan.ask_within_sec is None:
            return plan.explanation
        within = max(min(plan.ask_within_sec, _left_sec()), LEAST_SEC)
        ends = workflow.time() + within
        ask = AskModel(evaluation=given.evaluation, trigger=given.trigger, deadline_sec=within)
        if plan.depth != DEEP:
            quick = await self._asked(calls.ask_dispatcher, ask, plan.explanation)
            if not quick.deeper:
                return quick.explanation
        known = await self._known(FetchRagContext(evaluation=given.evaluation, deadline_sec=min(RAG_SEC, within)))
        left = max(ends - workflow.time(), LEAST_SEC)
        ask = ask.model_copy(update={"deadline_sec": left, "passages": known.passages})
        return (await self._asked(calls.ask_researcher, ask, plan.explanation)).explanation

    async def _asked(
        self, call: calls.Call[AskModel, ModelAsked], ask: AskModel, unanswered: Document | None
    ) -> ModelAsked:
        """The answer; without one, because a worker died or the store is down, `unanswered`."""
        try:
            return await call(ask, schedule_to_close=ask.deadline_sec + calls.AROUND_MODEL_SEC)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            _log_failure(error)
            return ModelAsked(explanation=unanswered)

    async def _known(self, ask: FetchRagContext) -> RagContext:
        """Passages of runbooks. They help, but the explanation does not wait for them."""
        try:
            return await calls.fetch_rag_context(ask, schedule_to_close=ask.deadline_sec + calls.AROUND_MODEL_SEC)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return RagContext(reason=calls.in_one_line(error))


def _log_failure(error: ActivityError) -> None:
    workflow.logger.warning(
        "the rules' explanation stays: %s", calls.in_one_line(error), extra={"event": "explanation.failed"}
    )


def _left_sec() -> float:
    """Seconds left for a model to be asked."""
    return WHOLE_SEC - (workflow.now() - workflow.info().start_time).total_seconds()
