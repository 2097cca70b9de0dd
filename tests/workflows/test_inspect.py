"""The loop that inspects executions, on a real Temporal server whose own executions it reads."""

from dataclasses import replace

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from copilot.inspection.executions import ExecutionsKind, Inspection
from copilot.loops.live import LoopLive
from copilot.loops.starter import INSPECTING
from copilot.sources.temporal.executions import ExecutionsReader
from tests.workflows.conftest import Observed, a_cluster, eventually, reading_executions

pytestmark = pytest.mark.servers
OFTEN = replace(INSPECTING, interval_sec=lambda _: 1.0)


class Hanging(ExecutionsReader):
    """Visibility that never answers."""

    async def inspect(self, *_: object) -> Inspection:
        return await eventually(never)


async def never() -> None:
    return None


@pytest.fixture
async def inspected(client: Client) -> Observed:
    return Observed(client, a_cluster(), executions=reading_executions(client))


async def test_executions_are_read_over_many_runs_and_a_store_that_is_away_is_its_problem(inspected: Observed) -> None:
    name = inspected.cluster.name
    async with inspected.worker():
        await inspected.start()
        await inspected.start(OFTEN, ticks_per_run=2)
        await inspected.until(lambda status: status.runs >= 3 and status.cycles >= 4, OFTEN)
        stored = Inspection.model_validate(await inspected.store.inspection(name, "executions"))
        (open_,) = stored.chosen(ExecutionsKind.OPEN)
        assert (open_.count or 0) >= 2, "at least these loops"
        inspected.store.away = True
        assert "the state store is away" in await inspected.failure(OFTEN)
        wrong = await LoopLive(inspected.client, loops={name: [inspected.other(OFTEN).id]}).problems(name)
        assert "inspect_executions" in wrong[f"executions-{name}"]
        assert (await inspected.live()) is not None
        inspected.store.away = False
        await inspected.until(lambda status: status.last_error is not None and status.last_error.over, OFTEN)


async def test_no_evaluation_waits_for_an_inspection_that_hangs(inspected: Observed) -> None:
    inspected.executions = Hanging(inspected.settings().clusters[0], redact=str)
    async with inspected.worker():
        await inspected.start(OFTEN)
        await inspected.start()
        assert (await inspected.cycles(5)).last_error is None
        assert (await inspected.status(OFTEN)).cycles == 0


async def test_the_loop_ends_where_the_cluster_has_no_address_any_more(inspected: Observed) -> None:
    inspected.executions = None
    async with inspected.worker():
        await inspected.start(OFTEN)
        await inspected.other(OFTEN).result()
        assert (await inspected.other(OFTEN).describe()).status is WorkflowExecutionStatus.COMPLETED
