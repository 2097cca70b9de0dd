"""VictoriaMetrics speaks the same API, with habits of its own: the same signals come of it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from whenever import Instant

from copilot.metrics.dialects import dialect_by_name
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.instant import PrometheusSource
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import victoria_metrics
from tests.sources.test_prometheus_agrees import grown

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("victoria-metrics")]

STEPS = 6
PAGES = {"server": "server", "worker": "sdk default", "worker_suffixed": "sdk suffixed"}


async def test_victoria_metrics_gives_every_signal_its_pages_hold_and_now_not_half_a_minute_ago(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        walks = {
            page: [grown(recorded(page), dialect_by_name(dialect), n) for n in range(STEPS)]
            for page, dialect in PAGES.items()
        }
        served = {job: await stack.enter_async_context(MetricsServer.start(pages[0])) for job, pages in walks.items()}
        jobs = {job: [server.url.split("/")[2]] for job, server in served.items()}
        there = await stack.enter_async_context(victoria_metrics(tmp_path, jobs))

        async def walk(server: MetricsServer, pages: list[bytes]) -> None:
            for page in pages:
                server.body = page
                await server.until_asked(1)

        await asyncio.gather(*(walk(served[job], pages) for job, pages in walks.items()))
        settings = PrometheusSettings(url=there.url)
        source = PrometheusSource(ClusterSettings(interval_sec=5, window_sec=10, prometheus=settings), settings)
        try:
            async with asyncio.timeout(20):
                signals = await source.read(Instant.now())
                while signals.targets != {"server": 1, "worker": 2}:
                    await asyncio.sleep(0.2)
                    signals = await source.read(Instant.now())
        finally:
            await source.aclose()
    assert set(signals.missing) == {"connection_pool.utilization_pct"}
    assert signals.value("poller.pending_polls") == 34
    assert signals.value("workers.workflow_slots_available") == 95
    assert (signals.value("state_transitions.throughput_per_sec") or 0) > 0
    assert 0 < (signals.value("frontend.latency_p99_ms") or 0) < 10_000
    assert 0 < (signals.value("workers.wft_execution_p95_ms") or 0) < 1_000
