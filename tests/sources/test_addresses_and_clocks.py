"""Addresses that are not one process each, and clocks that differ from ours."""

import asyncio
import gzip
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest
from whenever import Instant

from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, PrometheusSettings
from copilot.sources.checks import check_page
from copilot.sources.scrape.pages import same_process
from copilot.sources.scrape.source import ScrapeSource
from lab.cases import prometheus
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import live
from tests.sources.prometheus_standin import StandIn, form, source

BEGAN, EVERY_SEC, SAMPLES = 1_790_000_000, 15, 8
PODS: dict[str, Callable[[int], float]] = {
    "restarts": lambda n: 10_000 + 50 * n if n < 5 else 50 * (n - 4),
    "service": lambda n: (10_000, 7_000)[n % 2] + 50 * n,
    "steady": lambda n: 500 + 50 * n,
}


def history() -> str:
    """What a Prometheus scraped of targets of these names: `service` is a service before two pods."""
    targets = [(n, name, count(n)) for n in range(SAMPLES) for name, count in PODS.items()]
    series = [
        (f'{metric}{{job="temporal",instance="{name}"{labels}}} {value:g}', BEGAN + EVERY_SEC * n)
        for metric, labels in (("service_requests", ',service_name="frontend"'), ("up", ""))
        for n, name, counted in targets
        for value in [counted if metric == "service_requests" else 1]
    ]
    return "".join(f"{text} {time}\n" for text, time in series) + "# EOF\n"


async def test_of_a_service_before_several_pods_a_prometheus_gives_no_rates(tmp_path: Path) -> None:
    (text := tmp_path / "pods.om.gz").write_bytes(gzip.compress(history().encode()))
    with prometheus([text]) as url:

        async def of(instance: str) -> Signals:
            settings = PrometheusSettings.model_validate({"url": url, "selector": f'instance=~"{instance}"'})
            cluster = ClusterSettings(prometheus=settings, window_sec=60)
            (signals,) = await live(cluster, [1000 * (BEGAN + EVERY_SEC * (SAMPLES - 1))])
            return signals

        service, restarts, both = [await of(instance) for instance in ("service", "restarts", "service|steady")]
    why = service.why_missing("frontend.request_rate_per_sec")
    assert why is not None
    assert "service of job temporal: its counters jump back and forth" in why.detail
    assert restarts.value("frontend.request_rate_per_sec") == pytest.approx(50 / 15, rel=0.3)
    assert both.value("frontend.request_rate_per_sec") == pytest.approx(50 / 15, rel=0.01)


async def test_two_addresses_of_one_process_count_once() -> None:
    body = recorded("worker")
    other = body.replace(b"_sum{", b'_sum{pod="2",')
    async with (
        MetricsServer.start(body) as one,
        MetricsServer.start(body) as again,
        MetricsServer.start(other) as apart,
    ):
        pages = [MetricsEndpoint(url=server.url, role="worker") for server in (one, again, apart)]
        scraping = ScrapeSource(ClusterSettings(interval_sec=2, window_sec=10, metrics=tuple(pages)))
        async with asyncio.timeout(60):
            while (signals := await scraping.read(Instant.now())).targets != {"worker": 2}:
                await one.until_asked(1)
        assert signals.value("workers.workflow_slots_available") == 2 * 50
        one.status = "500 Internal Server Error"
        await one.until_asked(2)
        async with asyncio.timeout(60):
            while (signals := await scraping.read(Instant.now())).value("workers.workflow_slots_available") != 2 * 50:
                await again.until_asked(1)
        await scraping.aclose()
        one.status = "200 OK"
        first, second, third = [(await check_page(page)).sums for page in pages]
    assert same_process(first, second)
    assert not same_process(first, third)


@pytest.mark.parametrize("ahead", [-20, 0, 20])
async def test_a_prometheus_is_asked_for_the_present_of_its_own_clock(ahead: int) -> None:
    standin = StandIn()
    now = Instant.now().timestamp()
    standin.headers = (*standin.headers, f"Date: {formatdate(now + ahead, usegmt=True)}")
    async with standin.run(), source(standin.url) as asking:
        signals = await asking.read(Instant.from_timestamp(now))
    assert signals.time == Instant.from_timestamp(now)
    assert float(form(standin.requests[-1])["time"]) - now == pytest.approx(ahead, abs=3)
