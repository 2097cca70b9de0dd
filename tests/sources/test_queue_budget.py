"""How many calls a cycle makes at a real server with more task queues than can be described at once."""

import asyncio
import itertools
from pathlib import Path

import httpx
import pytest
from whenever import Instant

from copilot.pipeline import collect
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.temporal.source import TemporalApiSource
from tests.sources.watched_frontend import Counted, DevServer, dev_server, start_on


async def described_by_the_server(server: DevServer, at_least: int) -> int:
    """How often the server says it was asked to describe a task queue, once it says so many: its page lags behind."""
    wanted = ("service_requests{", 'operation="DescribeTaskQueue"', 'service_name="frontend"')
    async with httpx.AsyncClient() as http, asyncio.timeout(15):
        while True:
            lines = [
                li for li in (await http.get(server.metrics_url)).text.splitlines() if all(w in li for w in wanted)
            ]
            if (asked := int(sum(float(line.rpartition(" ")[2]) for line in lines))) >= at_least:
                return asked
            await asyncio.sleep(0.2)


@pytest.mark.servers
async def test_fifty_queues_a_cycle_ten_calls_a_second_and_none_that_is_ignored(tmp_path: Path) -> None:
    async with dev_server(tmp_path) as server:
        await start_on(server.client, [f"queue-{n:02}" for n in range(60)])
        await start_on(server.client, ["ignored"])
        counted = Counted(server.client)
        cluster = ClusterSettings(
            temporal=WatchedTemporal(address=server.address, task_queues=("ignored", "named")),
            ignore_task_queues=("ignored",),
        )
        source = TemporalApiSource(cluster, client=counted.as_client())

        first = await collect([source], Instant.now())
        assert await described_by_the_server(server, 50) == 50
        assert first.missing["matching.backlog_count"].code == MissingCode.DROPPED
        assert first.missing["matching.backlog_count"].detail.startswith("50 of 61 task queues described so far")
        second = await collect([source], Instant.now())
        assert second.value("matching.backlog_count") == 60.0
        assert await described_by_the_server(server, 100) == 100

        names = {request.task_queue.name for request in counted.asked("describe_task_queue")}
        assert names == {*(f"queue-{n:02}" for n in range(60)), "named"}
        times = [at for _, at, _ in counted.made]
        assert min(b - a for a, b in itertools.pairwise(times)) >= 0.095
        await source.aclose()
