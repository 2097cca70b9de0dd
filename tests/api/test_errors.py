"""Who asks in a browser gets an error as a page; programs get the envelope."""

import pytest
from whenever import Instant

from copilot.api.errors import prefers_html
from copilot.store.base import TimelinePoint
from tests.api.conftest import client
from tests.api.standin import deps
from tests.api.test_status import telling
from tests.fakes.memory_store import MemoryStore

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("path", "status", "shown"),
    [
        ("/no/such/page", 404, "There is nothing at this address"),
        ("/static/no.css", 404, "There is nothing at this address"),
        ("/?cluster=<script>x</script>", 404, "There is no cluster &#39;&lt;script&gt;x&lt;/script&gt;&#39;"),
        ("/status?cluster=mars", 404, "The start page lists the clusters."),
        ("/runbooks/none/page", 404, "There is no runbook &#39;none&#39;: see /runbooks."),
        ("/?at=yesterday", 422, "&#39;yesterday&#39; is not a valid time: use 2026-11-22T12:00:00Z"),
        ("/status/issues?limit=0", 422, "<code>limit</code>"),
        ("/login", 404, "There is nothing at this address"),
    ],
)  # fmt: skip
async def test_a_browser_is_told_on_a_page_what_went_wrong_and_where_to_go(path: str, status: int, shown: str) -> None:
    async with client(deps(telling())) as api:
        answer = await api.get(path, headers={"accept": CHROME, "x-request-id": "r-17"})
        plain = await api.get(path, headers={"accept": "*/*"})
    assert (answer.status_code, plain.status_code) == (status, status)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert shown in answer.text
    assert "<code>r-17</code>" in answer.text
    assert '<a href="/">' in answer.text
    assert "<script>" not in answer.text
    assert answer.headers["x-request-id"] == "r-17"
    for name in ("content-security-policy", "x-frame-options", "x-content-type-options", "cache-control"):
        assert answer.headers[name] == plain.headers[name]
    assert plain.json()["error"]["message"]


async def test_a_failure_nobody_expected_is_a_page_too_without_its_inside() -> None:
    class Broken(MemoryStore):
        async def timeline(
            self, cluster: str, start: Instant, end: Instant, max_points: int, *, signals: bool = False
        ) -> list[TimelinePoint]:
            raise RuntimeError(f"secret {cluster} {start} {end} {max_points} {signals}")

    async with client(deps(telling(), Broken())) as api:
        answer = await api.get("/", headers={"accept": CHROME})
        plain = await api.get("/status/timeline")
    assert (answer.status_code, "The Copilot could not answer" in answer.text) == (500, True)
    assert "the Copilot&#39;s log for the request id" in answer.text
    assert (plain.status_code, plain.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text + plain.text


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (CHROME, True),
        ("text/html", True),
        ("application/json;q=0.5, text/html", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("application/json, text/html;q=0.9, */*;q=0.1", False),
        ("text/html;q=0", False),
        ("text/html;q=²", False),
        ("text/html;q=.", False),
    ],
)
def test_html_is_for_who_names_it_and_does_not_want_json_as_much(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html
