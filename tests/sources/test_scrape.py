"""Bare endpoints over real sockets: what is read, and what every way of not answering becomes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from whenever import Instant

from copilot.embedded.ports import free_ports
from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.sources.scrape.pages import fetch_page
from copilot.sources.scrape.source import ScrapeSource
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer

PAGE = b'service_requests{service_name="frontend",operation="StartWorkflowExecution",namespace="default"} 5\n'


@asynccontextmanager
async def source(
    *urls: str, interval: float = 5.0, window: float = 10.0, idle_sec: float | None = None
) -> AsyncIterator[ScrapeSource]:
    cluster = ClusterSettings(
        interval_sec=interval,
        window_sec=window,
        metrics=tuple(MetricsEndpoint(url=u, role="worker" if "role=worker" in u else "server") for u in urls),
    )
    scraping = ScrapeSource(cluster, idle_sec=idle_sec)
    try:
        yield scraping
    finally:
        await scraping.aclose()


async def test_the_first_read_waits_for_two_pages_and_gives_rates() -> None:
    async with MetricsServer.start(recorded("server")) as server, source(server.url) as scraping:
        signals = await scraping.read(now := Instant.now())
        assert server.asked == 2
        assert signals.time == now
        assert signals.targets == {"server": 1}
        assert signals.value("state_transitions.throughput_per_sec") == 0.0
        assert set(signals.readings) == set(scraping.expected)


@pytest.mark.parametrize(("dialect", "counted"), [(None, True), ("sdk suffixed", True), ("sdk default", False)])
async def test_a_page_is_read_in_the_dialect_that_is_set(dialect: str | None, counted: bool) -> None:
    page = "temporal_num_pollers 100\ntemporal_sticky_cache_miss_total {}\n"
    async with MetricsServer.start(page.format(1).encode()) as server:
        endpoint = MetricsEndpoint(url=server.url, role="worker", dialect=dialect)
        scraping = ScrapeSource(ClusterSettings(interval_sec=5, window_sec=10, metrics=(endpoint,)))
        reading = asyncio.create_task(scraping.read(Instant.now()))
        await server.until_asked(1)
        server.body = page.format(9).encode()
        signals = await reading
        await scraping.aclose()
    assert ((signals.value("worker_cache.sticky_miss_per_sec") or 0.0) > 0) is counted


async def test_nothing_is_read_before_the_first_ask_and_reading_stops_when_nobody_asks() -> None:
    async with MetricsServer.start(PAGE) as server, source(server.url, idle_sec=0.5) as scraping:
        assert (scraping.running, server.asked) == (False, 0)
        await scraping.read(Instant.now())
        assert scraping.running
        async with asyncio.timeout(5):
            while scraping.running:  # noqa: ASYNC110  (a task that ends by itself announces nothing)
                await asyncio.sleep(0.05)
        asked = server.asked
        assert (await scraping.read(Instant.now())).targets == {"server": 1}
        assert server.asked > asked


async def test_nobody_there_is_said_in_the_operating_systems_words() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}/metrics"
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(SourceError, match="Connection refused") as caught:
            await fetch_page(client, httpx.URL(url), timeout_sec=3, max_bytes=1000)
        assert caught.value.code == MissingCode.TARGET_DOWN


async def test_a_dead_and_a_hanging_endpoint_do_not_keep_the_others_from_being_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}/metrics?role=worker"
    async with MetricsServer.start(PAGE) as well, MetricsServer.start() as hanging:
        hanging.hang = True
        async with source(well.url, dead, hanging.url + "?role=worker") as scraping:
            with caplog.at_level(logging.WARNING, "copilot.sources.scrape.source"):
                signals = await scraping.read(Instant.now())
                await well.until_asked(1)
            assert signals.targets == {"server": 1, "worker": 0}
            assert signals.value("demand.starts_per_sec") == 0.0
            why = signals.missing["workers.workflow_slots_available"]
            assert why.code == MissingCode.TARGET_DOWN
            assert "Connection refused (and 1 more)" in why.detail
            assert sum("Connection refused" in r.message for r in caplog.records) == 1


async def test_what_stops_answering_is_down_after_two_failed_reads_and_back_by_itself() -> None:
    async with MetricsServer.start(PAGE) as server, source(server.url) as scraping:
        assert (await scraping.read(Instant.now())).targets == {"server": 1}
        server.status = "500 Internal Server Error"
        async with asyncio.timeout(30):
            while (signals := await scraping.read(Instant.now())).targets["server"]:
                await server.until_asked(1)
        assert "HTTP 500" in signals.missing["demand.starts_per_sec"].detail
        server.status = "200 OK"
        async with asyncio.timeout(30):
            while not (await scraping.read(Instant.now())).targets["server"]:
                await server.until_asked(1)


async def test_a_servers_page_that_never_changes_is_not_read_as_a_calm_server() -> None:
    clock = iter(range(0, 100_000, 130))
    async with MetricsServer.start(recorded("server")) as server:
        page = MetricsEndpoint(url=server.url, role="server")
        scraping = ScrapeSource(
            ClusterSettings(interval_sec=2, window_sec=10, metrics=(page,)),
            now=lambda: Instant.from_timestamp(next(clock)),
        )
        async with asyncio.timeout(30):
            while (signals := await scraping.read(Instant.from_timestamp(0))).targets["server"]:
                await server.until_asked(1)
        await scraping.aclose()
    assert "has not changed" in signals.missing["state_transitions.throughput_per_sec"].detail


async def test_credentials_in_an_address_are_sent_and_never_said() -> None:
    url = f"http://me:secret@127.0.0.1:{free_ports(1)[0]}/metrics"
    async with source(url) as scraping:
        signals = await scraping.read(Instant.now())
    assert "secret" not in str(signals)
