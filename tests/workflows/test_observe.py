"""The loop on a real Temporal server."""

import asyncio
import threading
import time

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.worker import Worker
from whenever import Instant

from copilot import pipeline
from copilot.loops.definitions import OBSERVE, ObserveCluster
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.starter import STUCK_ATTEMPTS
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, ReportedState, Trigger
from copilot.rules.signals.readings import Signals
from tests.evaluations import signals
from tests.workflows.conftest import EVER, Observed, eventually, no_rules

pytestmark = pytest.mark.servers


async def test_the_loop_evaluates_at_once_and_answers_with_the_newest_evaluation(observed: Observed) -> None:
    async with observed.worker():
        await observed.start()
        await observed.ticks(2)
        live = await observed.live()
        assert live is not None
        assert live.verdict.health_state is ReportedState.HAPPY
        assert live.evaluation_id == f"{observed.cluster.name}:{int(live.time.timestamp())}"
        window = await observed.loop.query(ObserveClusterWorkflow.window)
        assert len(window.times) >= 2
        assert window.readings["frontend.reachable"][0] == 1.0
        assert await observed.loop.query(ObserveClusterWorkflow.last_error) is None
        assert len(await observed.stored(2)) >= 2

        async def assessed() -> Trigger | None:
            latest = await observed.store.latest_assessment(observed.cluster.name)
            return latest.trigger if latest else None

        assert await eventually(assessed) is Trigger.STATE_CHANGE


async def test_another_worker_goes_on_where_the_first_stopped_and_nothing_is_stored_twice(observed: Observed) -> None:
    async with observed.worker():
        await observed.start()
        await observed.ticks(2)
    async with observed.worker():
        status = await observed.ticks(4)
        assert status.runs == 1
        stored = await observed.stored(status.ticks)
    assert len(stored) == len(set(stored))
    assert stored == sorted(stored, key=lambda i: int(i.rpartition(":")[2]))


async def test_a_loop_that_was_away_goes_on_now_and_does_not_make_up_for_missed_ticks(observed: Observed) -> None:
    async with observed.worker():
        await observed.start()
        await observed.ticks(1)
    stopped = time.time()
    await asyncio.sleep(6)  # six ticks pass without a worker
    async with observed.worker():
        seen = len(observed.store.arrived)
        ids = await observed.stored(seen + 2)
    ticks = [int(i.rpartition(":")[2]) for i in ids]
    missed = [t for t in ticks if stopped + 1 < t < stopped + 5]
    assert missed == []
    assert ticks[-1] > stopped + 5


async def test_verdicts_go_on_while_the_store_is_away_and_arrive_afterwards_in_order(observed: Observed) -> None:
    observed.store.away = True
    async with observed.worker():
        await observed.start()
        status = await observed.ticks(4)
        assert status.pending >= 4
        assert observed.store.arrived == []
        assert observed.store.refused > 0
        observed.store.away = False
        stored = await observed.stored(status.ticks)
    ticks = [int(i.rpartition(":")[2]) for i in stored]
    assert ticks == sorted(set(ticks))


async def test_what_runs_could_not_store_is_stored_after_them_once_and_in_order(observed: Observed) -> None:
    observed.store.away = True
    async with observed.worker():
        await observed.start(ticks_per_run=2)

        async def later_run() -> int | None:
            status = await observed.status()
            return status.ticks if status.runs >= 4 and status.ticks >= 7 else None

        ticks = await eventually(later_run)
        assert observed.store.arrived == []
        observed.store.away = False
        stored = await observed.stored(ticks + 1)
    assert stored == sorted(set(stored))


async def test_a_new_run_carries_memory_window_and_verdict(observed: Observed) -> None:
    async with observed.worker():
        await observed.start(ticks_per_run=2)
        first = await eventually(observed.live)

        async def later_run() -> int | None:
            status = await observed.status()
            return status.ticks if status.runs >= 2 else None

        ticks = await eventually(later_run)
        live = await observed.live()
        assert live is not None
        assert live.verdict.since == first.verdict.since
        assert live.verdict.transition is None
        assert len((await observed.loop.query(ObserveClusterWorkflow.window)).times) >= ticks
        history = await observed.loop.fetch_history()
        started = history.events[0].workflow_execution_started_event_attributes
        assert started.input.ByteSize() < 100_000
        assert len(await observed.stored(ticks)) == len(set(observed.store.arrived))


async def test_starting_twice_gives_one_loop_and_another_interval_is_taken_up_with_all_that_is_known(
    observed: Observed,
) -> None:
    async with observed.worker():
        assert (await observed.start()).outcome == "started"
        assert (await observed.start()).outcome == "running"
        await observed.ticks(1)
        observed.cluster = observed.cluster.model_copy(update={"interval_sec": 3.0})
        assert (await observed.start()).outcome == "redefined"

        async def redefined() -> int | None:
            status = await observed.status()
            return status.ticks if status.definition.interval_sec == 3.0 and status.runs == 2 else None

        assert await eventually(redefined) >= 1
        assert (await observed.start()).outcome == "running"


async def test_a_read_that_never_comes_back_leads_to_a_verdict_that_knows_nothing_and_not_to_a_stopped_loop(
    observed: Observed,
) -> None:
    async with observed.worker():
        await observed.start()
        await observed.ticks(1)
        observed.source.stuck = True

        async def blind() -> Evaluation | None:
            live = await observed.live()
            return live if live and live.verdict.stale else None

        live = await eventually(blind)
        assert live.signals.value("frontend.reachable") is None
        await observed.ticks((await observed.status()).ticks + 1)


async def test_assess_now_keeps_the_newest_evaluation_as_an_assessment_and_is_no_tick(observed: Observed) -> None:
    observed.cluster = observed.cluster.model_copy(update={"interval_sec": 600.0})
    async with observed.worker():
        await observed.start()
        document = await observed.loop.execute_update(ObserveClusterWorkflow.assess_now)
        await observed.loop.execute_update(ObserveClusterWorkflow.assess_now)
        live = await observed.live()
        assert live is not None
        assert document["evaluation_id"] == live.evaluation_id
        status = await observed.status()
        assert (status.ticks, status.assessed) == (1, status.last_tick)

        async def manual() -> int | None:
            kept = await observed.store.assessments_in_range(observed.cluster.name, *EVER)
            found = [a for a in kept if a.trigger is Trigger.MANUAL]
            return len(found) or None

        assert await eventually(manual) == 1


async def test_assess_now_says_so_if_there_is_nothing_to_assess(observed: Observed) -> None:
    observed.cluster = observed.cluster.model_copy(update={"interval_sec": 600.0})
    observed.rules = no_rules
    async with observed.worker():
        await observed.start()
        with pytest.raises(WorkflowUpdateFailedError) as error:
            await observed.loop.execute_update(ObserveClusterWorkflow.assess_now)
    assert "evaluate_health" in str(error.value.cause)


async def test_a_loop_begun_anew_goes_on_after_the_newest_stored_tick_though_that_lies_ahead(
    observed: Observed,
) -> None:
    """The clock was an hour ahead and has been set right."""
    name, ahead = observed.cluster.name, Instant.now().add(hours=1)
    context = Context(name, interval_sec=1.0, window_sec=30.0)
    evaluation, _ = evaluate(signals(Instant.from_timestamp(ahead.timestamp())), Memory(), context)
    await observed.store.save_snapshots([pipeline.snapshot(evaluation, Memory(), context)])
    async with observed.worker():
        await observed.start()
        await observed.ticks(3)
        first, *stored = await observed.stored(4)
        live = await eventually(observed.live)
        newest = await observed.store.latest_snapshot(name)
    assert first == evaluation.evaluation_id
    assert min(stored) > first
    assert stored == sorted(set(stored))
    assert newest is not None
    assert newest.evaluation.time >= live.time


async def test_a_loop_started_anew_takes_up_the_memory_of_the_newest_stored_tick(observed: Observed) -> None:
    async with observed.worker():
        await observed.start()
        await observed.stored(2)
        since = (await eventually(observed.live)).verdict.since
        await observed.loop.terminate()
        await observed.start()
        await observed.ticks(1)
        live = await observed.live()
        assert live is not None
        assert live.verdict.since == since
        assert live.verdict.transition is None


async def test_a_terminated_loop_begun_anew_knows_what_it_knew_and_what_it_had_not_stored_is_stored(
    observed: Observed,
) -> None:
    observed.store.away = True
    async with observed.worker():
        await observed.start(ticks_per_run=3)
        await observed.ticks(4)
        await observed.loop.terminate()
        before = await observed.status()
        window = await observed.loop.query(ObserveClusterWorkflow.window)
        since = (await eventually(observed.live)).verdict.since
        assert (await observed.start()).outcome == "resumed"
        status = await observed.ticks(before.ticks + 1)
        assert status.assessed == before.assessed
        live = await eventually(observed.live)
        assert live.verdict.since == since
        assert (await observed.loop.query(ObserveClusterWorkflow.window)).times[: len(window.times)] == window.times
        observed.store.away = False
        stored = await observed.stored(status.ticks)
    assert stored == sorted(set(stored))
    judged = [f"{observed.cluster.name}:{time}" for time in window.times]
    assert stored[: len(judged)] == judged


async def test_a_loop_on_a_task_queue_nobody_serves_is_moved_with_all_it_knows(observed: Observed) -> None:
    async with observed.worker():
        await observed.start()
        await observed.ticks(2)
    before = len(observed.store.arrived)
    observed.queue = f"other-{observed.queue}"
    assert (await observed.start()).outcome == "moved"
    async with observed.worker():
        status = await observed.ticks(before + 1)
        assert status.assessed is not None
        assert status.runs == 2
        stored = await observed.stored(status.ticks)
    assert stored == sorted(set(stored))


@workflow.defn(name=OBSERVE, sandboxed=False)
class Foreign:
    """Another workflow of the loop's name: the loop's histories do not replay under it."""

    @workflow.run
    async def run(self, _: ObserveCluster) -> None:
        await asyncio.sleep(3600)


async def test_a_loop_whose_history_does_not_replay_is_begun_anew_with_all_it_knows(observed: Observed) -> None:
    async with observed.worker():
        await observed.start()
        await observed.ticks(2)
    before = len(observed.store.arrived)

    async def stuck() -> bool | None:
        task = (await observed.loop.describe()).raw_description.pending_workflow_task
        return True if task.attempt >= STUCK_ATTEMPTS else None

    async with Worker(observed.client, task_queue=observed.queue, workflows=[Foreign]):
        await eventually(stuck)
    assert (await observed.start()).outcome == "freed"
    async with observed.worker():
        status = await observed.ticks(before + 1)
        assert (status.runs, status.assessed is not None) == (2, True)
        stored = await observed.stored(status.ticks)
    assert stored == sorted(set(stored))


async def test_a_cancelled_loop_ends_as_cancelled_and_loses_nothing(observed: Observed) -> None:
    observed.store.away = True
    async with observed.worker():
        await observed.start()
        status = await observed.ticks(2)
        await observed.loop.cancel()
        with pytest.raises(WorkflowFailureError):
            await observed.loop.result()
        assert (await observed.loop.describe()).status is WorkflowExecutionStatus.CANCELED
        observed.store.away = False
        stored = await observed.stored(status.ticks)
    assert len(stored) == len(set(stored))


async def test_a_tick_that_is_judged_when_the_loop_is_cancelled_is_stored_and_so_is_the_change_it_saw(
    observed: Observed,
) -> None:
    address = observed.client.service_client.config.target_host

    async def cancelled() -> None:
        client = await Client.connect(address)
        await client.get_workflow_handle(observed.loop.id).cancel()

    def cancelled_meanwhile(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:
        """Nothing else in this process goes on until the server knows of the cancellation."""
        elsewhere = threading.Thread(target=lambda: asyncio.run(cancelled()))
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

        async def assessed() -> str | None:
            latest = await observed.store.latest_assessment(observed.cluster.name)
            return latest.evaluation_id if latest else None

        assert await eventually(assessed) == stored
