"""Temporal's own API, on a real dev server: healthy, with work nobody takes, frozen, gone."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from whenever import Instant

from copilot.embedded.ports import free_ports
from copilot.pipeline import collect
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, WatchedTemporal
from copilot.sources import Source
from copilot.sources.scrape.source import ScrapeSource
from copilot.sources.temporal.source import TemporalApiSource
from tests.sources.metrics_server import MetricsServer
from tests.sources.watched_frontend import DevServer, dev_server, process

LOAD = Path(__file__).with_name("small_load.py")


@dataclass
class Watched:
    """A dev server with a worker and a small load on the task queue my-orders."""

    address: str
    server: DevServer
    cluster: ClusterSettings
    sources: Sequence[Source]

    async def until(self, good: Callable[[Signals], bool], within_sec: float = 60) -> Signals:
        """Read once a second until it is good."""
        async with asyncio.timeout(within_sec):
            while True:
                if good(signals := await collect(self.sources, Instant.now())):
                    return signals
                await asyncio.sleep(1)


@asynccontextmanager
async def load_of(server: DevServer, port: int, heartbeat_sec: int = 60) -> AsyncIterator[None]:
    """A worker and its load, in a process that is killed at the end."""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    async with process(sys.executable, str(LOAD), server.address, str(port), str(heartbeat_sec), env=path):
        yield


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    (worker_port,) = free_ports(1)
    async with (
        dev_server(folder) as server,
        load_of(server, worker_port),
        AsyncExitStack() as stack,
    ):
        pages = {"server": server.metrics_url, "worker": f"http://127.0.0.1:{worker_port}/metrics"}
        cluster = ClusterSettings(
            interval_sec=2.0,
            window_sec=12.0,
            temporal=WatchedTemporal(address=server.address),
            metrics=tuple(MetricsEndpoint.model_validate({"url": u, "role": r}) for r, u in pages.items()),
        )
        sources: list[Source] = [ScrapeSource(cluster), TemporalApiSource(cluster)]
        for source in sources:
            stack.push_async_callback(source.aclose)
        yield Watched(server.address, server, cluster, sources)


@pytest.mark.servers
async def test_a_real_cluster_is_read_frozen_and_read_again(tmp_path: Path) -> None:
    async with watched(tmp_path) as real:
        server = real.server
        signals = await real.until(
            lambda s: (
                (s.value("workflow_completion.success_per_sec") or 0) > 1 and s.targets == {"server": 1, "worker": 1}
            ),
        )
        assert signals.value("frontend.reachable") == 1.0
        assert signals.value("frontend.error_rate_per_sec") == 0.0
        assert 1 < (signals.value("demand.starts_per_sec") or 0) < 10
        assert (signals.value("workers.workflow_slots_available") or 0) > 50

        for n in range(3):
            await server.client.start_workflow("Nobody", id=f"nobody-{n}", task_queue="nobody-home")
        fresh = TemporalApiSource(ClusterSettings(temporal=WatchedTemporal(address=server.address)))
        waiting = await fresh.read(Instant.now())
        assert waiting.value("matching.backlog_count") == 3.0
        labels = {"namespace": "default", "task_queue": "nobody-home", "task_type": "workflow"}
        assert waiting.rows("matching.backlog_count")[0].labels == labels
        assert waiting.rows("poller.recent_pollers")[-1].labels == labels
        assert {r.labels["task_queue"] for r in waiting.rows("poller.recent_pollers") if r.value} == {"my-orders"}
        ignoring = TemporalApiSource(
            ClusterSettings(temporal=WatchedTemporal(address=server.address), ignore_task_queues=("nobody-home",))
        )
        assert (await ignoring.read(Instant.now())).value("matching.backlog_count") == 0.0

        server.process.send_signal(signal.SIGSTOP)
        frozen = await real.until(lambda s: s.targets["server"] == 0 and s.value("frontend.reachable") == 0.0)
        assert frozen.missing["state_transitions.throughput_per_sec"].code == MissingCode.TIMEOUT
        assert frozen.missing["matching.backlog_count"].code == MissingCode.TARGET_DOWN
        assert frozen.targets["worker"] == 1

        server.process.send_signal(signal.SIGCONT)
        back = await real.until(lambda s: s.targets["server"] == 1 and s.value("frontend.reachable") == 1.0)
        assert back.value("matching.backlog_count") is not None


async def test_a_server_that_is_not_there_is_unreachable_and_all_else_missing() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    source = TemporalApiSource(ClusterSettings(temporal=WatchedTemporal(address=address)))
    signals = await source.read(Instant.now())
    assert signals.value("frontend.reachable") == 0.0
    assert set(signals.readings) == set(source.expected)
    assert signals.missing["matching.backlog_count"].code == MissingCode.TARGET_DOWN
    assert address in signals.missing["matching.backlog_count"].detail
    await source.aclose()


async def test_a_port_that_accepts_and_does_not_answer_is_unreachable() -> None:
    async with MetricsServer.start() as server:
        server.hang = True
        address = server.url.removeprefix("http://").removesuffix("/metrics")
        source = TemporalApiSource(ClusterSettings(temporal=WatchedTemporal(address=address)))
        signals = await source.read(Instant.now())
        assert signals.value("frontend.reachable") == 0.0
        await source.aclose()
