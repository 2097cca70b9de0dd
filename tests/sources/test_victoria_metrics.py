"""VictoriaMetrics has the same API, with habits of its own: the same signals, in a range too."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from whenever import Instant

from copilot.metrics.dialects import dialect_by_name
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.instant import PrometheusSource
from tests.scraped import grown, recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import apart, live, replayed, victoria_metrics

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("victoria-metrics")]

STEPS = 6
STEP_MS = 2_000
PAGES = {"server": "server", "worker": "sdk default", "worker_suffixed": "sdk suffixed"}


def cluster(url: str) -> ClusterSettings:
    return ClusterSettings(interval_sec=5, window_sec=10, prometheus=PrometheusSettings(url=url))


async def test_victoria_metrics_gives_every_signal_its_pages_hold_and_now_not_half_a_minute_ago(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        served = {page: await stack.enter_async_context(MetricsServer.start()) for page in PAGES}
        jobs = {job: [server.url.split("/")[2]] for job, server in served.items()}
        there = await stack.enter_async_context(victoria_metrics(tmp_path, jobs))
        dialects = {page: dialect_by_name(name) for page, name in PAGES.items()}
        await asyncio.gather(
            *(s.walk([grown(recorded(page), dialects[page], n) for n in range(STEPS)]) for page, s in served.items())
        )
        of = cluster(there.url)
        assert of.prometheus is not None
        source = PrometheusSource(of, of.prometheus)
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


async def test_a_range_of_victoria_metrics_is_what_it_gives_at_each_moment(tmp_path: Path) -> None:
    """Its habit of repeating the last half minute's points is switched off: a test does not wait for it to pass."""
    async with MetricsServer.start() as served:
        jobs = {"server": [served.url.split("/")[2]]}
        async with victoria_metrics(tmp_path, jobs, "-search.latencyOffset=0s") as there:
            began = Instant.now()
            await served.walk([grown(recorded("server"), dialect_by_name("server"), n) for n in range(10)])
            first, last = (moment.timestamp(unit="millisecond") for moment in (began, Instant.now()))
            times = range(first + STEP_MS, last - STEP_MS, STEP_MS)
            expected = await live(cluster(there.url), times)
            found = await replayed(cluster(there.url), times)
    assert (expected[-1].value("state_transitions.throughput_per_sec") or 0) > 0
    assert [d for ours, theirs in zip(found, expected, strict=True) for d in apart(ours, theirs)] == []
