"""What one metrics page is, over real sockets."""

import gzip
from pathlib import Path

import pytest
from pydantic import ValidationError
from whenever import Instant

from copilot.settings.clusters import MetricsEndpoint
from copilot.sources.checks import NO_BUCKETS, SUMMARY, TOO_COARSE, PageCheck, check_page
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer

SDK = Path(__file__).parents[1] / "data" / "sdk"


async def checked(url: str, role: str = "server") -> PageCheck:
    return await check_page(MetricsEndpoint.model_validate({"url": url, "role": role}))


@pytest.mark.parametrize(
    ("page", "role", "dialect"),
    [
        ("server", "server", "server"),
        ("worker", "worker", "sdk default"),
        ("worker_suffixed", "worker", "sdk suffixed"),
    ],
)
async def test_a_page_shows_its_families_dialect_and_role(page: str, role: str, dialect: str) -> None:
    async with MetricsServer.start(body := recorded(page)) as server:
        found = await checked(server.url, role)
        mistaken = await checked(server.url, "server" if role == "worker" else "worker")
    assert mistaken.looks_like == role
    assert found.size_bytes == len(body)
    assert 5 < found.families <= found.families_known
    assert found.dialects == (dialect,)
    assert found.looks_like is None
    assert found.ahead_sec is None


BARE, TOTAL = "counters bare, timers", "counters …_total, timers"
SPELLED = {
    "go-otel": (f"sdk with _seconds: {BARE} …_seconds in seconds", (TOO_COARSE,)),
    "go-otel-monotonic": (f"sdk suffixed: {TOTAL} …_seconds in seconds", (TOO_COARSE,)),
    "go-otel-monotonic-buckets": (f"sdk suffixed: {TOTAL} …_seconds in seconds", ()),
    "go-tally": (f"sdk default: {BARE} bare in seconds", ()),
    "go-tally-summary": (f"sdk default: {BARE} bare in seconds", (SUMMARY,)),
    "java-micrometer": (f"sdk suffixed: {TOTAL} …_seconds in seconds", ()),
    "java-micrometer-plain": (f"sdk suffixed: {TOTAL} …_seconds in seconds", (NO_BUCKETS,)),
    "py-000": (f"sdk default: {BARE} bare in milliseconds", ()),
    "py-011": (f"sdk with _seconds: {BARE} …_seconds in seconds", ()),
    "py-110": (f"sdk opentelemetry: {TOTAL} …_milliseconds in milliseconds", ()),
    "py-111": (f"sdk suffixed: {TOTAL} …_seconds in seconds", ()),
}


@pytest.mark.parametrize("name", SPELLED)
async def test_a_real_workers_page_is_named_by_its_three_facts_and_by_what_its_latencies_cannot_tell(name: str) -> None:
    page = gzip.decompress((SDK / name / "load-2.prom.gz").read_bytes())
    async with MetricsServer.start(page) as server:
        found = await checked(server.url, "worker")
    assert (found.spellings, found.latencies) == ((SPELLED[name][0],), SPELLED[name][1])


async def test_a_server_page_shows_its_processes_shards_and_version() -> None:
    async with MetricsServer.start(
        recorded("server") + b'numshards_gauge{operation="ShardController"} 242\n'
    ) as server:
        found = (await checked(server.url)).processes
    assert found.services == {"frontend": 1, "history": 1, "matching": 1, "worker": 1}
    assert (found.shards[0] >= 242, len(found.shards)) == (True, 1)


async def test_the_page_of_temporals_own_worker_service_is_a_servers_though_it_has_the_families_of_an_sdk() -> None:
    of_service = b"".join(line + b"\n" for line in recorded("server").split(b"\n") if b'service_name="worker"' in line)
    async with MetricsServer.start(of_service + recorded("worker")) as server:
        found = await checked(server.url, "server")
    assert found.looks_like is None


async def test_the_dialect_of_a_page_can_be_set_and_only_that_is_read() -> None:
    async with MetricsServer.start(recorded("worker_suffixed")) as server:
        detected = await checked(server.url, "worker")
        chosen = MetricsEndpoint(url=server.url, role="worker", dialect="sdk default")
        found = await check_page(chosen)
    assert detected.dialects == ("sdk suffixed",)
    assert found.dialects == ("sdk default",)
    assert found.families < detected.families
    with pytest.raises(ValidationError, match="no worker dialect 'server'"):
        MetricsEndpoint(url=server.url, role="worker", dialect="server")


@pytest.mark.parametrize("body", [b"", b"go_goroutines 12\n"])
async def test_a_page_without_anything_of_temporal_is_of_neither(body: bytes) -> None:
    async with MetricsServer.start(body) as server:
        found = await checked(server.url)
    assert (found.families, found.looks_like, found.dialects, found.size_bytes) == (0, None, (), len(body))


@pytest.mark.parametrize(("skew", "low", "high"), [(-90, -92, -88), (0, 0, 0), (3600, 3598, 3602)])
async def test_the_date_says_how_far_the_clocks_are_apart(skew: int, low: float, high: float) -> None:
    async with MetricsServer.start(recorded("worker")) as server:
        server.headers = (f"Date: {Instant.now().add(seconds=skew).format_rfc2822().replace('+0000', 'GMT')}",)
        found = await checked(server.url, "worker")
        server.headers = ("Date: tomorrow",)
        assert (await checked(server.url, "worker")).ahead_sec is None
    assert found.ahead_sec is not None
    assert low <= found.ahead_sec <= high
