"""The observing loop on a real Temporal server."""

import asyncio
import threading
import time

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.worker import Worker
from whenever import Instant

from copilot import pipeline
from copilot.loops.definitions import OBSERVE, ObserveInput
from copilot.loops.live import LoopLive
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.starter import STUCK_ATTEMPTS
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, ReportedState, Trigger
from copilot.rules.signals.readings import Signals
from tests.evaluations import signals
from tests.workflows.conftest import Observed, eventually, in_order, no_rules

pytestmark = pytest.mark.servers


async def test_a_loop_that_is_started_evaluates_at_once_and_answers_with_the_newest_evaluation(
    observed: Observed,
) -> None:
    name, live = observed.cluster.name, LoopLive(observed.client, timeout_sec=10)
    observed.source.stuck = True
    async with observed.worker():
        assert (await observed.start()).outcome == "started"
        assert (await observed.start()).outcome == "running"
        assert await live.revision(name) == ""
        observed.source.stuck = False
        await observed.cycles(2)
        newest = await eventually(observed.live)
        assert newest.verdict.health_state is ReportedState.HAPPY
        assert newest.evaluation_id == f"{name}:{int(newest.time.timestamp())}"
        window = await observed.loop.query(ObserveClusterWorkflow.window)
        assert len(window.times) >= 2
        assert window.readings["frontend.reachable"][0] == 1.0
        assert (await observed.status()).last_error is None
        revision = await live.revision(name)
        await observed.cycles((await observed.status()).cycles + 1)
        assert await live.revision(name) not in (None, "", revision)
        assert len(await observed.stored(2)) >= 2
        assert len(await observed.assessed(Trigger.STATE_CHANGE)) == 1
        observed.cluster = observed.cluster.model_copy(update={"interval_sec": 3.0})
        assert (await observed.start()).outcome == "redefined"
        status = await observed.until(lambda status: status.definition.interval_sec == 3.0 and status.runs == 2)
        assert status.cycles >= 3
        assert (await observed.start()).outcome == "running"


async def test_another_worker_goes_on_at_once_without_the_missed_ticks_and_nothing_is_stored_twice(
    observed: Observed,
) -> None:
    async with observed.worker():
        await observed.start()
        await observed.cycles(2)
    stopped = time.time()
    await asyncio.sleep(5)  # five ticks pass without a worker
    async with observed.worker():
        status = await observed.cycles(4)
        ids = await observed.stored(status.cycles)
    assert status.runs == 1
    assert in_order(ids)
    ticks = [int(i.rpartition(":")[2]) for i in ids]
    assert [t for t in ticks if stopped + 1 < t < stopped + 4] == []
    assert ticks[-1] > stopped + 4


async def test_while_the_store_is_down_new_runs_and_a_terminated_loop_keep_the_verdict_and_all_is_stored_afterwards(
    observed: Observed,
) -> None:
    observed.store.away = True
    async with observed.worker():
        await observed.start(ticks_per_run=2)
        first = await eventually(observed.live)
        status = await observed.until(lambda status: status.runs >= 4)
        live = await eventually(observed.live)
        assert (live.verdict.since, live.verdict.transition) == (first.verdict.since, None)
        assert len((await observed.loop.query(ObserveClusterWorkflow.window)).times) >= status.cycles
        history = await observed.loop.fetch_history()
        assert history.events[0].workflow_execution_started_event_attributes.input.ByteSize() < 100_000

        await observed.loop.terminate()
        before = await observed.status()
        window = await observed.loop.query(ObserveClusterWorkflow.window)
        assert (await observed.start()).outcome == "resumed"
        status = await observed.cycles(before.cycles + 3)
        assert status.assessed == before.assessed
        live = await eventually(observed.live)
        assert (live.verdict.since, live.verdict.transition) == (first.verdict.since, None)
        times = (await observed.loop.query(ObserveClusterWorkflow.window)).times
        assert times[: len(window.times)] == window.times
        assert observed.store.arrived == []
        assert observed.store.refused > 0
        observed.store.away = False
        stored = await observed.stored(max(status.cycles, len(times)))
    assert in_order(stored)
    assert stored[: len(times)] == [f"{observed.cluster.name}:{time}" for time in times]


async def test_a_read_that_never_returns_leads_to_a_stale_verdict_and_stops_no_loop(observed: Observed) -> None:
    async with observed.worker():
        await observed.start()
        await observed.cycles(1)
        observed.source.stuck = True

        async def stale() -> Evaluation | None:
            live = await observed.live()
            return live if live and live.verdict.stale else None

        live = await eventually(stale)
        assert live.signals.value("frontend.reachable") is None
        await observed.cycles((await observed.status()).cycles + 1)


async def test_a_fault_that_shows_at_once_is_evaluated_again_before_the_interval_is_over(observed: Observed) -> None:
    observed.cluster = observed.cluster.model_copy(update={"interval_sec": 15.0})
    async with observed.worker():
        await observed.start()
        await observed.cycles(1)
        observed.source.changed = {"frontend.reachable": 0.0}
        await observed.cycles(3)
        _, first_sign, again, *_ = (await observed.loop.query(ObserveClusterWorkflow.window)).times
    assert again - first_sign < 15


async def test_assess_now_stores_the_newest_evaluation_as_an_assessment_and_is_no_tick(observed: Observed) -> None:
    observed.cluster = observed.cluster.model_copy(update={"interval_sec": 600.0})
    async with observed.worker():
        await observed.start()
        document = await observed.loop.execute_update(ObserveClusterWorkflow.assess_now)
        await observed.loop.execute_update(ObserveClusterWorkflow.assess_now)
        live = await eventually(observed.live)
        assert document["evaluation_id"] == live.evaluation_id
        status = await observed.status()
        assert (status.cycles, status.assessed) == (1, status.last_tick)
        kept = await observed.assessed(Trigger.MANUAL)
        assert sum(a.trigger is Trigger.MANUAL for a in kept) == 1


async def test_assess_now_fails_with_the_reason_if_there_is_nothing_to_assess(observed: Observed) -> None:
    observed.cluster = observed.cluster.model_copy(update={"interval_sec": 600.0})
    observed.rules = no_rules
    async with observed.worker():
        await observed.start()
        with pytest.raises(WorkflowUpdateFailedError) as error:
            await observed.loop.execute_update(ObserveClusterWorkflow.assess_now)
    assert "evaluate_health" in str(error.value.cause)


@pytest.mark.parametrize(("stored_at", "remembered"), [(-10, True), (3600, False)], ids=["before", "ahead"])
async def test_a_new_loop_goes_on_after_the_newest_stored_tick_with_its_memory_unless_that_lies_ahead(
    observed: Observed, stored_at: int, remembered: bool
) -> None:
    """Ahead: the clock was an hour ahead and has been set right."""
    name, time = observed.cluster.name, Instant.now().add(seconds=stored_at)
    context = Context(name, interval_sec=1.0, window_sec=30.0)
    evaluation, _ = evaluate(signals(Instant.from_timestamp(time.timestamp())), Memory(), context)
    await observed.store.save_snapshots([pipeline.snapshot(evaluation, Memory(), context)])
    async with observed.worker():
        await observed.start()
        await observed.cycles(3)
        first, *stored = await observed.stored(4)
        live = await eventually(observed.live)
        newest = await observed.store.latest_snapshot(name)
    assert first == evaluation.evaluation_id
    assert min(stored) > first
    assert in_order(stored)
    assert newest is not None
    assert newest.evaluation.time >= live.time
    assert (live.verdict.since == evaluation.verdict.since) is remembered


@workflow.defn(name=OBSERVE, sandboxed=False)
class Foreign:
    """Another workflow of the loop's name: it lacks the loop's queries, and the loop's histories do not replay."""

    @workflow.run
    async def run(self, _: ObserveInput) -> None:
        await asyncio.sleep(3600)


async def test_a_loop_of_a_release_without_revisions_has_none(observed: Observed) -> None:
    await observed.start()
    async with Worker(observed.client, task_queue=observed.queue, workflows=[Foreign]):
        assert await LoopLive(observed.client, timeout_sec=10).revision(observed.cluster.name) is None


@pytest.mark.parametrize("outcome", ["moved", "freed"])
async def test_a_loop_on_another_task_queue_or_stuck_restarts_with_its_state(observed: Observed, outcome: str) -> None:
    async with observed.worker():
        await observed.start()
        await observed.cycles(2)
    before = len(observed.store.arrived)

    async def stuck() -> bool | None:
        task = (await observed.loop.describe()).raw_description.pending_workflow_task
        return True if task.attempt >= STUCK_ATTEMPTS else None

    if outcome == "moved":
        observed.queue = f"other-{observed.queue}"
    else:
        async with Worker(observed.client, task_queue=observed.queue, workflows=[Foreign]):
            await eventually(stuck)
    assert (await observed.start()).outcome == outcome
    async with observed.worker():
        status = await observed.cycles(before + 1)
        assert (status.runs, status.assessed is not None) == (2, True)
        assert in_order(await observed.stored(status.cycles))


async def test_a_loop_cancelled_in_a_tick_ends_as_cancelled_and_stores_the_tick_and_its_change(
    observed: Observed,
) -> None:
    address = observed.client.service_client.config.target_host

    async def cancel() -> None:
        client = await Client.connect(address)
        await client.get_workflow_handle(observed.loop.id).cancel()

    def cancelled_meanwhile(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:
        """Nothing else in this process goes on until the server has the cancellation."""
        elsewhere = threading.Thread(target=lambda: asyncio.run(cancel()))
        elsewhere.start()
        elsewhere.join()
        return evaluate(signals, memory, context)

    observed.rules = cancelled_meanwhile
    async with observed.worker():
        await observed.start()
        with pytest.raises(WorkflowFailureError):
            await observed.loop.result()
        assert (await observed.loop.describe()).status is WorkflowExecutionStatus.CANCELED
        (stored,) = await observed.stored(1)
        assert [a.evaluation_id for a in await observed.assessed(Trigger.STATE_CHANGE)] == [stored]


async def test_a_cancelled_loop_loses_nothing_that_it_could_not_store(observed: Observed) -> None:
    observed.store.away = True
    async with observed.worker():
        await observed.start()
        status = await observed.until(lambda status: (status.pending or 0) >= 2)
        await observed.loop.cancel()
        with pytest.raises(WorkflowFailureError):
            await observed.loop.result()
        observed.store.away = False
        assert in_order(await observed.stored(status.cycles))
