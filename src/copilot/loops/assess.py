"""AssessHealthWorkflow: a verdict worth keeping. It is stored before anybody is asked to explain it."""

from collections.abc import Awaitable, Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from copilot.loops import calls
from copilot.loops import calls as explaining
from copilot.loops.definitions import ASSESS, AssessHealth
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

# Of the time one explanation may take.
DISPATCH_SHARE = 0.4
RAG_SEC = 2.0
# Since the verdict: what is left of 30 s for an activity's own time and for keeping the words.
WHOLE_SEC = 25.5


@workflow.defn(name=ASSESS)
class AssessHealthWorkflow:
    """Stores a verdict with the rules' own explanation, then has it explained better if somebody can: a fast model says
    how much explanation it needs, a deep one writes it. Runs on by itself: the loop that started it does not wait."""

    @workflow.run
    async def run(self, given: AssessHealth) -> AssessmentStored:
        stored = await calls.store_health_assessment(
            StoreAssessment(evaluation=given.evaluation, trigger=given.trigger)
        )
        if not stored.unreadable:
            await self._explain(given)
        return stored

    async def _explain(self, given: AssessHealth) -> None:
        """Whatever happens here, the verdict stands with the rules' words."""
        try:
            explanation = await self._explained(given)
            if explanation is not None:
                await explaining.improve_explanation(
                    ImproveExplanation(
                        evaluation_id=given.evaluation["evaluation_id"], trigger=given.trigger, explanation=explanation
                    )
                )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("%s: the rules' words stand: %s", given.cluster, calls.in_one_line(error))

    async def _explained(self, given: AssessHealth) -> Document | None:
        """The words to be kept; None: those that are there."""
        plan = await calls.explain_assessment(
            ExplainAssessment(evaluation=given.evaluation, trigger=given.trigger, left_sec=_left_sec())
        )
        if plan.ask_within_sec is None:
            return plan.explanation
        within = max(min(plan.ask_within_sec, _left_sec()), LEAST_SEC)
        ends = workflow.time() + within
        ask = AskModel(evaluation=given.evaluation, trigger=given.trigger, deadline_sec=within * DISPATCH_SHARE)
        said = await self._asked(explaining.ask_dispatcher, ask)
        if not said.deeper:
            return said.explanation
        known = await self._known(
            FetchRagContext(evaluation=given.evaluation, deadline_sec=min(RAG_SEC, ask.deadline_sec))
        )
        left = max(ends - workflow.time(), LEAST_SEC)
        ask = ask.model_copy(update={"deadline_sec": left, "passages": known.passages})
        return (await self._asked(explaining.ask_researcher, ask)).explanation

    async def _asked(self, which: Callable[[AskModel], Awaitable[ModelAsked]], ask: AskModel) -> ModelAsked:
        """The answer; where there is none, because a worker died or the store is away, say so."""
        try:
            return await which(ask)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("the rules' words stand: %s", calls.in_one_line(error))
            return ModelAsked(explanation=_rules_stand(ask.evaluation, "No model could be asked"))

    async def _known(self, ask: FetchRagContext) -> RagContext:
        """Runbooks help, but are not waited for."""
        try:
            return await explaining.fetch_rag_context(ask)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return RagContext(reason=calls.in_one_line(error))


def _left_sec() -> float:
    """Seconds left for a model to be asked."""
    return WHOLE_SEC - (workflow.now() - workflow.info().start_time).total_seconds()


def _rules_stand(evaluation: Document, why: str) -> Document:
    """An Explanation document in the words the evaluation has."""
    words = {name: evaluation[name] for name in ("summary", "narrative")}
    return {"explained_by": "rules", "note": f"{why}: the rules' words.", **words}
