"""The loop of scheduled assessments on a real Temporal server."""

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle

from copilot.loops.definitions import ScheduleStatus, scheduled_id
from copilot.loops.scheduled import ScheduledAssessmentWorkflow
from copilot.rules.model import HealthAssessment, Trigger
from tests.workflows.conftest import EVER, Observed, eventually

pytestmark = pytest.mark.servers

EVERY = 4


@pytest.fixture
def scheduled(observed: Observed) -> Observed:
    """Assessed every four seconds: faster than settings allow."""
    observed.cluster = observed.cluster.model_copy(update={"assess_every_sec": float(EVERY)})
    return observed


def loop(observed: Observed) -> WorkflowHandle[ScheduledAssessmentWorkflow, None]:
    workflow_id = scheduled_id(observed.cluster.name)
    return observed.client.get_workflow_handle_for(ScheduledAssessmentWorkflow.run, workflow_id)


async def assessments(observed: Observed, scheduled: int) -> list[HealthAssessment]:
    """Wait until so many were made on schedule; all there are, oldest first."""

    async def enough() -> list[HealthAssessment] | None:
        kept = await observed.store.assessments_in_range(observed.cluster.name, *EVER)
        return kept if sum(a.trigger is Trigger.SCHEDULED for a in kept) >= scheduled else None

    return await eventually(enough)


async def status_of(observed: Observed) -> ScheduleStatus:
    return await loop(observed).query(ScheduledAssessmentWorkflow.status)


def apart(kept: list[HealthAssessment]) -> None:
    """No scheduled assessment lies within the window of one before it."""
    times = [a.time.timestamp() for a in kept]
    for n, each in enumerate(kept):
        if each.trigger is Trigger.SCHEDULED:
            assert all(times[n] - earlier >= EVERY for earlier in times[:n])


async def test_what_the_observer_says_is_assessed_on_schedule_and_never_soon_after_another(
    scheduled: Observed,
) -> None:
    async with scheduled.worker():
        await scheduled.start()
        await scheduled.schedule()
        kept = await assessments(scheduled, 2)
        apart(kept)
        assert kept[0].trigger is Trigger.STATE_CHANGE
        told = set(await scheduled.stored(1))
        assert {a.evaluation_id for a in kept} <= told
        assert len({a.verdict.since for a in kept}) == 1


async def test_a_store_that_is_away_holds_nothing_up_and_gets_the_assessments_afterwards(scheduled: Observed) -> None:
    scheduled.store.away = True
    async with scheduled.worker():
        await scheduled.start()
        await scheduled.schedule()

        async def made() -> int | None:
            status = await status_of(scheduled)
            return status.made if status.made >= 2 else None

        count = await eventually(made)
        error = (await status_of(scheduled)).last_error
        assert error is not None
        assert "the state store is away" in error.what
        scheduled.store.away = False
        apart(await assessments(scheduled, count))


async def test_an_observer_that_does_not_run_is_said_and_nothing_is_assessed(scheduled: Observed) -> None:
    async with scheduled.worker():
        await scheduled.schedule()

        async def complained() -> str | None:
            error = await loop(scheduled).query(ScheduledAssessmentWorkflow.last_error)
            return error.what if error else None

        assert "`copilot start` starts it" in await eventually(complained)
        assert (await status_of(scheduled)).made == 0


async def test_a_new_run_remembers_what_was_assessed_and_another_schedule_is_taken_up(scheduled: Observed) -> None:
    async with scheduled.worker():
        await scheduled.start()
        await scheduled.schedule(ticks_per_run=1)

        async def later_run() -> ScheduleStatus | None:
            status = await status_of(scheduled)
            return status if status.runs >= 2 and status.made >= 1 else None

        status = await eventually(later_run)
        assert status.looks >= 2
        scheduled.cluster = scheduled.cluster.model_copy(update={"assess_every_sec": 60.0})
        assert (await scheduled.schedule()).outcome == "redefined"

        async def redefined() -> bool | None:
            return True if (await status_of(scheduled)).definition.interval_sec == 60.0 else None

        assert await eventually(redefined)


async def test_a_cancelled_schedule_ends_as_cancelled(scheduled: Observed) -> None:
    async with scheduled.worker():
        await scheduled.start()
        await scheduled.schedule()
        await assessments(scheduled, 1)
        await loop(scheduled).cancel()
        with pytest.raises(WorkflowFailureError):
            await loop(scheduled).result()
        assert (await loop(scheduled).describe()).status is WorkflowExecutionStatus.CANCELED
