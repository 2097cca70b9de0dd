"""The log watcher on a real Temporal server, over a file that really grows."""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError

from copilot.loops.log_watcher import LogWatcherWorkflow
from copilot.loops.starter import LOGGING
from copilot.rules.model import Evaluation, Trigger
from copilot.rules.signals.logs import TOP_PATTERN
from copilot.rules.signals.readings import MissingCode
from tests.workflows.conftest import Observed, a_cluster, eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def logged(client: Client, tmp_path: Path) -> Observed:
    file = tmp_path / "server.log"
    file.write_text("")
    return Observed(client, a_cluster(), log_file=file)


async def test_log_lines_are_evidence_and_a_spike_is_assessed(logged: Observed) -> None:
    async with logged.worker():
        await logged.start()
        await logged.start(LOGGING)
        await logged.cycles(6, LOGGING)
        assert [a.trigger for a in await logged.assessments()] == [Trigger.STATE_CHANGE]
        await asyncio.to_thread(logged.log, 40)
        live = await logged.shows("database locked")
        assert live.signals.value(TOP_PATTERN) == 40.0
        assert {(p.pattern, p.service, p.count, p.level) for p in live.signals.logs} == {
            ("database locked", "history", 40, "error"),
            ("shard not acquired", "history", 40, "error"),
        }
        kept = await logged.assessed(Trigger.LOG_SPIKE)
        assert [a.trigger for a in kept] == [Trigger.STATE_CHANGE, Trigger.LOG_SPIKE]
        assert kept[-1].signals.logs
        assert len(logged.store.arrived) == len(set(logged.store.arrived)), "a spike adds no tick of its own"


async def test_lines_that_no_payload_can_hold_are_left_out_and_said_and_the_next_are_read(logged: Observed) -> None:
    async with logged.worker():
        await logged.start()
        await logged.start(LOGGING)
        await logged.cycles(1, LOGGING)
        await asyncio.to_thread(logged.log, 12, '{"level":"error","msg":"boom \\ud800"}\n')

        async def said() -> Evaluation | None:
            live = await logged.live()
            return live if live and TOP_PATTERN in live.signals.missing else None

        why = (await eventually(said)).signals.missing[TOP_PATTERN]
        assert why.detail.startswith("12 lines were left out: they cannot be counted")
        await asyncio.to_thread(logged.log, 3)
        assert [p.count for p in (await logged.shows("database locked")).signals.logs] == [3, 3]


@pytest.mark.parametrize("how", ["cancelled", "moved"])
async def test_new_runs_and_a_restarted_watcher_read_on_and_count_nothing_twice(logged: Observed, how: str) -> None:
    watcher = logged.other(LOGGING)
    async with logged.worker():
        await logged.start()
        await logged.start(LOGGING, ticks_per_run=2)
        await logged.cycles(1, LOGGING)
    if how == "moved":
        logged.queue = f"other-{logged.queue}"
        await logged.start()
    else:
        await watcher.cancel()
        async with logged.worker():
            with pytest.raises(WorkflowFailureError):
                await watcher.result()
    await asyncio.to_thread(logged.log, 7)
    assert (await logged.start(LOGGING, ticks_per_run=2)).outcome == ("moved" if how == "moved" else "resumed")
    async with logged.worker():
        live = await logged.shows("database locked")
        assert [p.count for p in live.signals.logs] == [7, 7]
        read = await logged.status(LOGGING)
        assert (await logged.cycles(read.cycles + 2, LOGGING)).runs > read.runs >= 2
        again = await eventually(logged.live)
        assert [p.count for p in again.signals.logs] in ([7, 7], [])


async def test_logs_that_cannot_be_read_are_missing_and_without_logs_the_watcher_ends(
    logged: Observed, tmp_path: Path
) -> None:
    watcher, file = logged.other(LOGGING), logged.log_file
    logged.log_file = tmp_path / "nowhere.log"
    async with logged.worker():
        await logged.start()
        await logged.start(LOGGING)

        async def missing() -> Evaluation | None:
            live = await logged.live()
            return live if live and TOP_PATTERN in live.signals.missing else None

        live = await eventually(missing)
        why = live.signals.missing[TOP_PATTERN]
        assert (why.code, why.detail) == (MissingCode.ABSENT, f"{logged.log_file} is not there")
        assert await logged.failure(LOGGING) == f"the logs cannot be read completely: {logged.log_file} is not there"
        assert live.verdict.health_state.value == "happy"
    logged.log_file = None
    async with logged.worker():
        await watcher.result()
    assert (await watcher.describe()).status is WorkflowExecutionStatus.COMPLETED
    logged.log_file = file
    await asyncio.to_thread(logged.log, 2)
    await logged.start(LOGGING)
    async with logged.worker():
        assert (await logged.cycles(2, LOGGING)).runs == 1
        seen = await watcher.query(LogWatcherWorkflow.seen)
    assert seen is not None
    assert seen["patterns"] == [], "what was written without a watcher is skipped"
