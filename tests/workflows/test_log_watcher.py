"""The log watcher on a real Temporal server, over a file that really grows."""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError

from copilot.loops.definitions import LogWatcherStatus
from copilot.loops.log_watcher import LogWatcherWorkflow
from copilot.rules.model import Evaluation, Trigger
from copilot.rules.signals.logs import TOP_PATTERN
from copilot.rules.signals.readings import MissingCode
from tests.workflows.conftest import EVER, a_cluster, eventually
from tests.workflows.logged import Logged

pytestmark = pytest.mark.servers


@pytest.fixture
def logged(client: Client, tmp_path: Path) -> Logged:
    file = tmp_path / "server.log"
    file.write_text("")
    return Logged(client, a_cluster(), file=file)


async def triggers(logged: Logged) -> list[Trigger]:
    return [a.trigger for a in await logged.store.assessments_in_range(logged.cluster.name, *EVER)]


async def test_what_the_log_says_reaches_the_verdicts_evidence_and_a_spike_is_assessed(logged: Logged) -> None:
    async with logged.both():
        await logged.start()
        await logged.watch()
        await logged.readings(6)
        assert await triggers(logged) == [Trigger.STATE_CHANGE]
        await asyncio.to_thread(logged.write, 40)
        live = await logged.said("database locked")
        assert live.signals.value(TOP_PATTERN) == 40.0
        assert {(p.pattern, p.service, p.count, p.level) for p in live.signals.logs} == {
            ("database locked", "history", 40, "error"),
            ("shard not acquired", "history", 40, "error"),
        }

        async def assessed() -> list[Trigger] | None:
            found = await triggers(logged)
            return found if len(found) > 1 else None

        assert await eventually(assessed) == [Trigger.STATE_CHANGE, Trigger.LOG_SPIKE]
        spiked = await logged.store.latest_assessment(logged.cluster.name)
        assert spiked is not None
        assert spiked.signals.logs
        ticks = [int(i.rpartition(":")[2]) for i in logged.store.arrived]
        assert len(ticks) == len(set(ticks)), "a spike adds no tick of its own"


async def test_a_new_run_reads_on_where_the_last_one_stopped(logged: Logged) -> None:
    async with logged.both():
        await logged.start()
        await logged.watch(ticks_per_run=2)
        await logged.readings(2)
        await asyncio.to_thread(logged.write, 3)

        async def later() -> LogWatcherStatus | None:
            status = await logged.watcher.query(LogWatcherWorkflow.status)
            return status if status.runs >= 3 else None

        await eventually(later)
        live = await logged.said("database locked")
        assert [p.count for p in live.signals.logs] == [3, 3]


async def test_another_worker_reads_on_and_nothing_is_counted_twice(logged: Logged) -> None:
    async with logged.both():
        await logged.start()
        await logged.watch()
        before = await logged.readings(2)
    await asyncio.to_thread(logged.write, 5)
    async with logged.both():
        await logged.readings(before.readings + 2)
        live = await logged.said("database locked")
        assert [p.count for p in live.signals.logs] == [5, 5]


@pytest.mark.parametrize("how", ["cancelled", "moved"])
async def test_a_watcher_begun_anew_counts_what_was_written_while_there_was_none(logged: Logged, how: str) -> None:
    async with logged.both():
        await logged.start()
        await logged.watch()
        await logged.readings(2)
    if how == "moved":
        logged.queue = f"other-{logged.queue}"
        await logged.start()
    else:
        await logged.watcher.cancel()
        async with logged.both():
            with pytest.raises(WorkflowFailureError):
                await logged.watcher.result()
    await asyncio.to_thread(logged.write, 7)
    assert (await logged.watch()).outcome == ("moved" if how == "moved" else "resumed")
    async with logged.both():
        live = await logged.said("database locked")
        status = await logged.readings(3)
    assert [p.count for p in live.signals.logs] == [7, 7]
    assert status.runs == 2


async def test_logs_that_cannot_be_read_are_missing_and_the_verdict_goes_on(logged: Logged) -> None:
    logged.file = logged.file.with_name("nowhere.log")
    async with logged.both():
        await logged.start()
        await logged.watch()
        await logged.readings(2)

        async def told() -> Evaluation | None:
            live = await logged.live()
            return live if live and TOP_PATTERN in live.signals.missing else None

        live = await eventually(told)
        why = live.signals.missing[TOP_PATTERN]
        assert (why.code, why.detail) == (MissingCode.ABSENT, f"{logged.file} is not there")
        assert live.verdict.health_state.value == "happy"


async def test_a_watcher_whose_logs_are_configured_no_more_ends(logged: Logged) -> None:
    async with logged.both():
        await logged.watch()
        await logged.readings(1)
    logged.watched = False
    async with logged.both():
        await logged.watcher.result()
    assert (await logged.watcher.describe()).status is WorkflowExecutionStatus.COMPLETED
    logged.watched = True
    await asyncio.to_thread(logged.write, 2)
    await logged.watch()
    async with logged.both():
        assert (await logged.readings(2)).runs == 1
        seen = await logged.watcher.query(LogWatcherWorkflow.seen)
    assert seen is not None
    assert seen["patterns"] == [], "what was written while nobody was to read it is passed over"


async def test_starting_twice_gives_one_watcher_and_another_interval_is_taken_up(logged: Logged) -> None:
    async with logged.both():
        assert (await logged.watch()).outcome == "started"
        assert (await logged.watch()).outcome == "running"
        await logged.readings(1)
        logged.cluster = logged.cluster.model_copy(update={"interval_sec": 2.0})
        assert (await logged.watch()).outcome == "redefined"

        async def taken_up() -> LogWatcherStatus | None:
            status = await logged.watcher.query(LogWatcherWorkflow.status)
            return status if status.runs >= 2 and status.definition.interval_sec == 2.0 else None

        assert (await eventually(taken_up)).readings >= 1
