"""What one metrics page is, over real sockets."""

import pytest
from pydantic import ValidationError
from whenever import Instant

from copilot.embedded.ports import free_ports
from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
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
async def test_a_page_is_known_by_its_families_and_dialect(page: str, role: str, dialect: str) -> None:
    async with MetricsServer.start(body := recorded(page)) as server:
        found = await checked(server.url, role)
    assert found.size_bytes == len(body)
    assert 5 < found.families <= found.families_known
    assert found.dialects == (dialect,)
    assert found.looks_like is None
    assert found.ahead_sec is None


@pytest.mark.parametrize(("page", "said", "really"), [("server", "worker", "server"), ("worker", "server", "worker")])
async def test_a_page_of_the_other_role_is_recognised(page: str, said: str, really: str) -> None:
    async with MetricsServer.start(recorded(page)) as server:
        found = await checked(server.url, said)
    assert found.looks_like == really


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
    assert found.ahead_sec is not None
    assert low <= found.ahead_sec <= high


async def test_a_date_that_is_none_says_nothing() -> None:
    async with MetricsServer.start(recorded("worker")) as server:
        server.headers = ("Date: tomorrow",)
        assert (await checked(server.url, "worker")).ahead_sec is None


@pytest.mark.parametrize(
    ("status", "kind", "body", "code"),
    [
        ("403 Forbidden", "text/plain", b"", MissingCode.FORBIDDEN),
        ("404 Not Found", "text/plain", b"", MissingCode.ABSENT),
        ("200 OK", "text/html", b"<html></html>", MissingCode.PARSE),
        ("200 OK", "text/plain", b"<html></html>", MissingCode.PARSE),
        ("200 OK", "text/plain", b"service_requests{ 1\n", MissingCode.PARSE),
    ],
)
async def test_what_is_no_page_is_an_error_with_its_code(
    status: str, kind: str, body: bytes, code: MissingCode
) -> None:
    async with MetricsServer.start(body) as server:
        server.status, server.kind = status, kind
        with pytest.raises(SourceError) as error:
            await checked(server.url)
    assert error.value.code is code


async def test_nobody_there_is_refused() -> None:
    with pytest.raises(SourceError, match="Connection refused"):
        await checked(f"http://127.0.0.1:{free_ports(1)[0]}/metrics")
