"""AssessHealthWorkflow: a verdict worth keeping. It is stored before anybody is asked to explain it."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from copilot.activities.messages import AssessmentStored, ExplainAssessment, StoreAssessment
from copilot.workflows import calls
from copilot.workflows.shared import ASSESS, AssessHealth


@workflow.defn(name=ASSESS)
class AssessHealthWorkflow:
    """Stores a verdict with the rules' own explanation, then has it explained better if somebody can. Runs on by
    itself: the loop that started it does not wait."""

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
            await calls.explain_assessment(ExplainAssessment(evaluation=given.evaluation, trigger=given.trigger))
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("%s: the rules' words stand: %s", given.cluster, calls.in_one_line(error))
