"""What one metrics page is, over real sockets."""

import pytest
from pydantic import ValidationError
from whenever import Instant

from copilot.settings.clusters import MetricsEndpoint
from copilot.sources.checks import PageCheck, check_page
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer


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
