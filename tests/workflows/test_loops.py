"""What is told of the loops themselves."""

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
from copilot.loops.definitions import log_watcher_id, observe_id, prune_id, scheduled_id
from copilot.loops.starter import PRUNING, start_loop, start_loops
from copilot.loops.status import LoopSeen, seen
from copilot.settings.load import ClusterSettings, Settings, TemporalSettings, WatchedTemporal
from copilot.settings.sources import LogSettings
from tests.workflows.conftest import Observed, a_cluster, eventually
from tests.workflows.logged import Logged

NOBODY = TemporalSettings(address="127.0.0.1:1")


def slow(name: str) -> ClusterSettings:
    return ClusterSettings(name=name, temporal=WatchedTemporal(address="127.0.0.1:1"))


def settings_of(observed: Observed) -> Settings:
    address = observed.client.service_client.config.target_host
    return Settings(
        temporal=TemporalSettings(address=address),
        task_queue=observed.queue,
        clusters=(slow(observed.cluster.name),),
    )


@pytest.mark.servers
async def test_every_loop_there_should_be_is_told_with_what_is_wrong(client: Client) -> None:
    observed = Observed(client, a_cluster().model_copy(update={"assess_every_sec": 4.0}))
    settings, name = settings_of(observed), observed.cluster.name
    assert [(loop.state, loop.well) for loop in await seen(settings)] == [("not started", False)] * 3
    await observed.start()
    await observed.schedule()
    observing, scheduling, pruning = await seen(settings)
    ids = (observing.workflow_id, scheduling.workflow_id, pruning.workflow_id)
    assert ids == (observe_id(name), scheduled_id(name), prune_id(name))
    assert (observing.state, observing.well) == ("running", False)
    assert "does `copilot worker` run?" in observing.problem
    observed.store.away = True
    async with observed.worker():
        await observed.ticks(2)
        await start_loop(client, observed.queue, observed.cluster, PRUNING)
        observing, scheduling, pruning = await seen(settings, name)
        assert (pruning.well, pruning.cycles) == (True, 0)
        assert observing.well
        assert scheduling.well
        assert (observing.cycles or 0) >= 2
        assert (observing.pending or 0) >= 2
        assert observing.task_queue == observed.queue

        async def complained() -> str | None:
            return (await seen(settings))[1].problem or None

        assert "the state store is away" in await eventually(complained)
        await observed.loop.terminate()
    assert [loop.state for loop in await seen(settings)] == ["terminated", "running", "running"]
    assert await seen(settings, "another") == []


@pytest.mark.servers
async def test_a_cluster_with_logs_has_a_loop_that_reads_them(client: Client, tmp_path: Path) -> None:
    logged = Logged(client, a_cluster(), file=tmp_path / "server.log")
    logged.file.touch()
    settings = settings_of(logged)
    watched = slow(logged.cluster.name).model_copy(update={"logs": LogSettings(files=(logged.file,))})
    settings = settings.model_copy(update={"clusters": (watched, slow("without"))})
    started = await start_loops(settings)
    assert [loop.workflow_id for loop in started] == [
        *(loop_id(logged.cluster.name) for loop_id in (observe_id, scheduled_id, log_watcher_id, prune_id)),
        *(loop_id("without") for loop_id in (observe_id, scheduled_id, prune_id)),
    ]

    async def forgotten() -> list[str] | None:
        again = await start_loops(settings.model_copy(update={"clusters": (watched,)}))
        found = [loop.workflow_id for loop in again if loop.outcome == "forgotten"]
        return sorted(found) if len(found) == 3 else None

    assert await eventually(forgotten) == ["observe-without", "prune-without", "scheduled-without"]
    await logged.watch()
    async with logged.both():
        await logged.readings(2)
        reading = (await seen(settings, logged.cluster.name))[2]
        assert (reading.workflow_id, reading.well, reading.problem) == (logged.watcher.id, True, "")
        assert (reading.cycles or 0) >= 2
        await logged.loop.terminate()

        async def complained() -> str | None:
            return (await seen(settings, logged.cluster.name))[2].problem or None

        assert "the observing loop was not told" in await eventually(complained)


async def test_a_temporal_that_is_away_is_said() -> None:
    with pytest.raises(StartError, match="cannot be reached"):
        await seen(Settings(temporal=NOBODY, clusters=(slow("east"),)))


def test_a_loop_is_a_line_and_what_is_wrong_with_it_another() -> None:
    out = StringIO()
    well = LoopSeen("east", "observe-east", "running", well=True, release="1.1", cycles=12, pending=3)
    ill = LoopSeen("east", "scheduled-east", "terminated", well=False, problem="`copilot start` starts it again")
    print_loops([well, ill], Console(file=out, width=200))
    assert out.getvalue().splitlines() == [
        "observe-east  ● running  release 1.1, 12 cycles, 3 snapshots wait for the store",
        "scheduled-east  ● terminated",
        "  `copilot start` starts it again",
    ]


@pytest.mark.servers
async def test_the_command_line_tells_them_and_exits_with_one_if_a_loop_does_not_run(
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
    ]
