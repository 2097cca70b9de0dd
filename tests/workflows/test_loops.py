"""How the loops are reported."""

import asyncio
import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from temporalio.client import Client
from typer.testing import CliRunner

from copilot.cli.main import app
from copilot.cli.status import print_loops
from copilot.errors import StartError
from copilot.loops.definitions import executions_id, log_watcher_id, observe_id, prune_id, scheduled_id
from copilot.loops.live import LoopReport, loop_reports
from copilot.loops.starter import LOGGING, PRUNING, SCHEDULING, start_loops
from copilot.settings.clusters import TemporalSettings
from copilot.settings.load import Settings
from copilot.settings.sources import LogSettings
from tests.workflows.conftest import Observed, a_cluster, eventually, watched

NOBODY = TemporalSettings(address="127.0.0.1:1")


@pytest.mark.servers
async def test_every_loop_of_a_cluster_is_reported_with_its_problem(client: Client) -> None:
    observed = Observed(client, a_cluster(assess_every_sec=4.0))
    settings, name = observed.settings(), observed.cluster.name
    assert [(loop.state, loop.well) for loop in await loop_reports(settings)] == [("not started", False)] * 4
    await observed.start()
    await observed.start(SCHEDULING)
    reports = await loop_reports(settings)
    assert [loop.workflow_id for loop in reports] == [
        *(loop_id(name) for loop_id in (observe_id, scheduled_id, prune_id, executions_id))
    ]
    assert (reports[0].state, reports[0].well) == ("running", False)
    assert "does `copilot worker` run" in reports[0].problem
    observed.store.away = True
    async with observed.worker():
        await observed.cycles(2)
        await observed.start(PRUNING)
        observing, scheduling, pruning, _ = await loop_reports(settings, name)
        assert (pruning.well, pruning.cycles) == (True, 0)
        assert observing.well
        assert scheduling.well
        assert (observing.cycles or 0) >= 2
        assert (observing.pending or 0) >= 2
        assert observing.task_queue == observed.queue

        async def problem() -> str | None:
            return (await loop_reports(settings))[1].problem or None

        assert "the state store is away" in await eventually(problem)
        await observed.loop.terminate()
    assert [loop.state for loop in await loop_reports(settings)] == [
        *("terminated", "running", "running", "not started")
    ]
    assert await loop_reports(settings, "another") == []


@pytest.mark.servers
async def test_a_cluster_with_logs_has_a_loop_that_reads_them(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    file.touch()
    observed = Observed(client, a_cluster(), log_file=file)
    name = observed.cluster.name
    cluster = watched(name).model_copy(update={"logs": LogSettings(files=(file,))})
    settings = observed.settings(cluster, watched("without"))
    started = await start_loops(settings)
    assert [loop.workflow_id for loop in started] == [
        *(loop_id(name) for loop_id in (observe_id, scheduled_id, log_watcher_id, prune_id, executions_id)),
        *(loop_id("without") for loop_id in (observe_id, scheduled_id, prune_id, executions_id)),
    ]

    async def forgotten() -> list[str] | None:
        again = await start_loops(observed.settings(cluster))
        found = [loop.workflow_id for loop in again if loop.outcome == "forgotten"]
        return sorted(found) if len(found) == 4 else None

    assert await eventually(forgotten) == [
        *("executions-without", "observe-without", "prune-without", "scheduled-without")
    ]
    await observed.start(LOGGING)
    async with observed.worker():
        await observed.cycles(2, LOGGING)
        reading = (await loop_reports(settings, name))[2]
        assert (reading.workflow_id, reading.well, reading.problem) == (log_watcher_id(name), True, "")
        assert (reading.cycles or 0) >= 2
        await observed.loop.terminate()

        async def problem() -> str | None:
            return (await loop_reports(settings, name))[2].problem or None

        assert "the observing loop did not get the logs" in await eventually(problem)


async def test_a_temporal_that_is_away_is_an_error() -> None:
    with pytest.raises(StartError, match="cannot be reached"):
        await loop_reports(Settings(temporal=NOBODY, clusters=(watched("east"),)))


def test_a_loop_is_a_line_and_its_problem_another() -> None:
    out = StringIO()
    well = LoopReport("east", "observe-east", "running", well=True, release="1.1", cycles=12, pending=3)
    ill = LoopReport("east", "scheduled-east", "terminated", well=False, problem="`copilot start` starts it again")
    print_loops([well, ill], Console(file=out, width=200))
    assert out.getvalue().splitlines() == [
        "observe-east  ● running  release 1.1, 12 cycles, 3 snapshots not stored yet",
        "scheduled-east  ● terminated",
        "  `copilot start` starts it again",
    ]


@pytest.mark.servers
async def test_the_command_line_prints_them_and_exits_with_one_if_a_loop_does_not_run(
    client: Client, tmp_path: Path
) -> None:
    config = tmp_path / "copilot.toml"
    address = client.service_client.config.target_host
    config.write_text(
        f'[temporal]\naddress = "{address}"\n[[clusters]]\nname = "east"\nmetrics = []\n'
        'temporal = { address = "127.0.0.1:1" }\n'
    )
    done = await asyncio.to_thread(CliRunner().invoke, app, ["status", "--loops", "--json", "--config", str(config)])
    assert done.exit_code == 1, done.output
    lines = [json.loads(line) for line in done.output.splitlines()]
    assert [(line["workflow_id"], line["state"]) for line in lines] == [
        ("observe-east", "not started"),
        ("scheduled-east", "not started"),
        ("prune-east", "not started"),
        ("executions-east", "not started"),
    ]
