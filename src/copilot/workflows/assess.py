"""AssessHealthWorkflow: a verdict worth keeping."""

from temporalio import workflow

from copilot.activities.messages import AssessmentStored, StoreAssessment
from copilot.workflows import calls
from copilot.workflows.shared import ASSESS, AssessHealth


@workflow.defn(name=ASSESS)
class AssessHealthWorkflow:
    """Stores a verdict with the rules' own explanation. Runs on by itself: the loop that started it does not wait."""

    @workflow.run
    async def run(self, given: AssessHealth) -> AssessmentStored:
        return await calls.store_health_assessment(StoreAssessment(evaluation=given.evaluation, trigger=given.trigger))
