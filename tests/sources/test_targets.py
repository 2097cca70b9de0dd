"""Every process of a cluster, as pages and a real Prometheus show it: what it is, and that one is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from whenever import Instant

from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, PrometheusSettings
from copilot.sources import Source
from copilot.sources.prometheus.instant import PrometheusSource
from copilot.sources.scrape.source import ScrapeSource
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import prometheus

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("prometheus")]


def server(service: str, calls: str, *more: str) -> bytes:
    """The page of one service of the server: `calls` is the counter it always has."""
    labels = f'service_name="{service}",operation="x"'
    build = f'build_information{{service_name="{service}",build_version="1_32_0"}} 1'
    return "".join(f"{line}\n" for line in (f"{calls}{{{labels}}} @asked@", build, *more)).encode()


HISTORY = server("history", "service_requests", 'numshards_gauge{service_name="history"} 270')
OWN = server("worker", "persistence_requests")
SDK = b"""temporal_num_pollers{service_name="temporal-core-sdk",task_queue="orders"} 5
temporal_request{operation="PollWorkflowTaskQueue"} @asked@
process_start_time_seconds 1790000000
"""
READ: list[tuple[object, ...]] = [
    ("server", ("history",), "1.32.0", 270.0, None),
    ("server", ("worker",), "1.32.0", None, None),
    ("worker", (), "temporal-core-sdk", None, Instant.from_timestamp(1_790_000_000)),
]


def facts(signals: Signals) -> list[tuple[object, ...]]:
    """What is known of those that are read."""
    read = [p for p in signals.processes if p.missing is None]
    return [
        (p.role, p.services, p.version, p.shards, p.started) for p in sorted(read, key=lambda p: (p.role, p.services))
    ]


async def until(source: Source, scraped: MetricsServer, wanted: Callable[[Signals], bool]) -> Signals:
    """The first readings that are as wanted; asked for after each scrape."""
    async with asyncio.timeout(120):
        while not wanted(signals := await source.read(Instant.now())):
            await scraped.until_asked(1)
    return signals


@asynccontextmanager
async def pages(servers: list[MetricsServer]) -> AsyncIterator[Source]:
    roles = ("server", "server", "worker")
    listed = tuple(MetricsEndpoint(url=s.url, role=role) for s, role in zip(servers, roles, strict=True))
    source = ScrapeSource(ClusterSettings(interval_sec=2, window_sec=10, metrics=listed))
    yield source
    await source.aclose()


@asynccontextmanager
async def scraped(servers: list[MetricsServer], folder: Path) -> AsyncIterator[Source]:
    names = ("history", "own", "sdk")
    jobs = {
        name: [s.url.removeprefix("http://").removesuffix("/metrics")] for name, s in zip(names, servers, strict=True)
    }
    async with prometheus(folder, jobs) as there:
        settings = PrometheusSettings.model_validate({"url": there.url})
        cluster = ClusterSettings(interval_sec=5, window_sec=10, prometheus=settings)
        source = PrometheusSource(cluster, settings, deadline_sec=60)
        yield source
        await source.aclose()


@pytest.mark.parametrize("through", ["pages", "prometheus"])
async def test_each_process_is_described_and_the_loss_of_temporals_own_worker_is_seen(
    through: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(MetricsServer.start(body)) for body in (HISTORY, OWN, SDK)]
        source = await stack.enter_async_context(pages(servers) if through == "pages" else scraped(servers, tmp_path))
        signals = await until(source, servers[0], lambda s: facts(s) == READ)
        assert (signals.targets, signals.unread) == ({"server": 2, "worker": 1}, {})
        own = next(p for p in signals.processes if p.services == ("worker",))
        await servers[1].until_asked(3)  # What begins anew has counted further before.
        servers[1].status = "503 Service Unavailable"
        signals = await until(source, servers[0], lambda s: bool(s.unread))
        assert signals.unread == {"server": (own.name,)}
        (lost,) = (p for p in signals.processes if p.missing is not None)
        assert (lost.name, signals.targets) == (own.name, {"server": 1, "worker": 1})
        servers[1].status, servers[1].asked = "200 OK", 0
        back = await until(source, servers[0], lambda s: any(p.restarts for p in s.processes))
        assert [p.name for p in back.processes if p.restarts] == [own.name]
