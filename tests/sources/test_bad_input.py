"""Whatever a source answers over the wire, its signals are missing with a code and the cause, no cycle stops, and the
log says it once a minute. The same table for a Prometheus and for bare pages."""

import gzip
import json
import logging
import re
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import trustme
from whenever import Instant

from copilot.pipeline import collect
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, PrometheusSettings
from copilot.sources import Source
from copilot.sources.prometheus.instant import PrometheusSource
from copilot.sources.scrape.source import ScrapeSource
from tests.sources.metrics_server import MetricsServer
from tests.sources.misbehaving import Misbehaving

LIMIT = 4_000_000
JSON = "200 OK\r\nContent-Type: application/json"
TEXT = "200 OK\r\nContent-Type: text/plain"
MEGABYTE = b"# " + b"x" * 999_997 + b"\n"
GOOD = json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode()
Kind = Literal["prometheus", "page"]


@asynccontextmanager
async def source(kind: Kind, url: str, deadline_sec: float = 60.0) -> AsyncIterator[Source]:
    found: Source
    if kind == "prometheus":
        settings = PrometheusSettings(url=url)
        cluster = ClusterSettings(interval_sec=5, window_sec=30, prometheus=settings)
        found = PrometheusSource(cluster, settings, deadline_sec=deadline_sec, max_answer_bytes=LIMIT)
    else:
        endpoint = MetricsEndpoint(url=f"{url}/metrics", role="server")
        cluster = ClusterSettings(interval_sec=5, window_sec=10, metrics=(endpoint,))
        found = ScrapeSource(cluster, deadline_sec=6.0, max_page_bytes=LIMIT)
    try:
        yield found
    finally:
        await found.aclose()


@dataclass(frozen=True)
class Case:
    """What the wire gives, and what the missing readings say of it: bare pages what `page` has, where that is given."""

    wrong: dict[str, Any]
    code: MissingCode
    said: str
    page: tuple[MissingCode, str] | None = None
    kinds: tuple[Kind, ...] = ("prometheus", "page")


def packed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1)


def vector(result: Any, kind: str = "vector", **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def status(line: str, body: bytes = b"", *headers: str) -> dict[str, Any]:
    return {"head": "\r\n".join([line, *headers]), "body": body}


ONLY_API: tuple[Kind, ...] = ("prometheus",)
ONLY_PAGE: tuple[Kind, ...] = ("page",)
C = MissingCode
CASES: dict[str, Case] = {
    "401": Case(status("401 Unauthorized"), C.FORBIDDEN, "HTTP 401 Unauthorized"),
    "403": Case(status("403 Forbidden"), C.FORBIDDEN, "HTTP 403 Forbidden"),
    "404": Case(status("404 Not Found"), C.TARGET_DOWN, "HTTP 404 Not Found"),
    "429": Case(status("429 Too Many Requests"), C.DROPPED, "HTTP 429 Too Many Requests"),
    "500": Case(status("500 Internal Server Error", b"<h1>oops"), C.TARGET_DOWN, "HTTP 500 Internal"),
    "502": Case(status("502 Bad Gateway"), C.TARGET_DOWN, "HTTP 502 Bad Gateway"),
    "503": Case(status("503 Service Unavailable"), C.TARGET_DOWN, "HTTP 503 Service Unavailable"),
    "a redirect": Case(
        status("302 Found", b"", "Location: https://sso.example.org/login"),
        C.TARGET_DOWN, "HTTP 302 Found to https://sso.example.org/login"),
    "HTML": Case(
        status("200 OK", b"<!doctype html><title>Sign in</title>\n", "Content-Type: text/html"),
        C.PARSE, "HTML instead of (JSON|metrics)"),
    "HTML that says it is text": Case(status(TEXT, b"<html><body>no</body></html>\n"), C.PARSE, "HTML instead of"),
    "an empty body": Case(
        status(JSON), C.PARSE, "the answer is empty",
        page=(C.ABSENT, "is not on the server pages|read once so far|is on no page")),
    "half": Case(status(JSON, GOOD[:-9]), C.PARSE, "not complete JSON", kinds=ONLY_API),
    "half a page": Case(status(TEXT, b"service_requests 1\nservice_"), C.PARSE, "middle of a line", kinds=ONLY_PAGE),
    "cut off": Case({"head": JSON, "body": GOOD, "length": 9_999}, C.PARSE, "the answer broke off"),
    "bytes": Case(status(TEXT, b"\xff\xfe\x00\x01\n"), C.PARSE, "not complete JSON", page=(C.PARSE, "not UTF-8")),
    "status: error": Case(
        status(JSON, b'{"status":"error","errorType":"internal","error":"tsdb is closed"}'),
        C.PARSE, "status: error, tsdb is closed", kinds=ONLY_API),
    "warnings": Case(
        status(JSON, vector([], warnings=["store-2 did not answer"])),
        C.DROPPED, "the answer is incomplete: store-2 did not answer", kinds=ONLY_API),
    "a scalar": Case(status(JSON, vector([1.5, "2"], "scalar")), C.PARSE, "a vector was expected, .* scalar",
        kinds=ONLY_API),
    "a matrix": Case(status(JSON, vector([], "matrix")), C.PARSE, "a vector was expected, .* matrix", kinds=ONLY_API),
    "a scalar called a vector": Case(status(JSON, vector([1.5, "2"])), C.PARSE, "not samples", kinds=ONLY_API),
    "a vector as a sample's value": Case(
        status(JSON, vector([{"metric": {}, "value": [1.5, ["2", "3"]]}])), C.PARSE, "not samples", kinds=ONLY_API),
    "JSON of another API": Case(status(JSON, b'{"ok":true}'), C.PARSE, "no status", page=(C.PARSE, "middle of a line")),
    "200 MB": Case(
        {"head": TEXT, "body": MEGABYTE, "repeat": 200}, C.DROPPED, r"larger than 4 MB, the limit for one"),
    "60 MB in a small package": Case(
        status(TEXT, packed(bytes(60_000_000)), "Content-Encoding: gzip"), C.DROPPED, "larger than 4 MB"),
    "a package in a package": Case(
        status(TEXT, packed(packed(bytes(9_000_000))), "Content-Encoding: gzip, gzip"),
        C.PARSE, "content encoding gzip, gzip, which was not requested"),
    "an encoding that was not requested": Case(
        status(JSON, b"\x8b\x02\x80abc\n", "Content-Encoding: br"), C.PARSE, "encoding br, which was not requested"),
    "no gzip though it says so": Case(
        status(JSON, GOOD, "Content-Encoding: gzip"), C.PARSE, "is not gzip, as its Content-Encoding says"),
    "gzip cut off": Case(
        status(JSON, packed(GOOD * 50)[:40], "Content-Encoding: gzip"), C.PARSE, "broke off"),
    "no HTTP": Case({"head": "\x00\x01\x02"}, C.PARSE, "the answer broke off"),
    "a drip": Case(
        {"head": TEXT, "body": b"# HELP" * 1000, "drip_sec": 0.05}, C.TIMEOUT, r"timed out after (0.8|2|1.67) s"),
}  # fmt: skip


def said(kind: Kind, case: Case) -> tuple[MissingCode, str]:
    return case.page if kind == "page" and case.page is not None else (case.code, case.said)


CHOSEN = [pytest.param(kind, case, id=f"{kind}: {name}") for name, case in CASES.items() for kind in case.kinds]


@pytest.mark.parametrize(("kind", "case"), CHOSEN)
async def test_every_reading_is_missing_with_its_cause_and_the_log_says_it_once(
    kind: Kind, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    code, reason = said(kind, case)
    with caplog.at_level(logging.INFO, "copilot"):
        deadline = 2.0 if case.code is C.TIMEOUT else 60.0
        async with Misbehaving(**case.wrong).run() as server, source(kind, server.url, deadline) as asked:
            signals = await collect([asked], Instant.now())
            again = await collect([asked], Instant.now())
    for reading in (signals, again):
        assert set(reading.missing) == set(reading.readings) == set(asked.expected)
        assert {m.code for m in reading.missing.values()} == {code}
        assert all(re.search(reason, m.detail) and "\n" not in m.detail for m in reading.missing.values())
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("copilot")]
    if code is C.ABSENT:  # a page that is read and empty is no failure of the wire
        assert logged == []
    else:
        assert len(logged) == 1
        assert re.search(reason, logged[0])


@pytest.mark.parametrize("kind", ["prometheus", "page"])
async def test_a_certificate_nobody_trusts_is_said_to_be_that(kind: Kind) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with Misbehaving(body=GOOD).run(context) as server, source(kind, server.url) as asked:
        signals = await collect([asked], Instant.now())
    why = signals.missing["frontend.request_rate_per_sec"]
    assert why.code is C.TARGET_DOWN
    assert "certificate not trusted: unable to get local issuer certificate" in why.detail


async def test_a_page_whose_authority_the_machine_trusts_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with Misbehaving(body=b"service_requests 5\n").run(context) as server, source("page", server.url) as asked:
        assert (await collect([asked], Instant.now())).targets == {"server": 1}


@pytest.mark.parametrize("kind", ["prometheus", "page"])
@pytest.mark.parametrize("small", [False, True], ids=["plain", "packed"])
async def test_a_huge_answer_is_cut_off_and_takes_little_memory(kind: Kind, small: bool) -> None:
    wrong = CASES["60 MB in a small package" if small else "200 MB"].wrong
    async with Misbehaving(**wrong).run() as server, source(kind, server.url) as asked:
        tracemalloc.start()
        try:
            await collect([asked], Instant.now())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 40_000_000
    if not small:
        assert server.sent < server.asked * 20_000_000


async def test_one_bad_source_takes_no_other_along() -> None:
    page = b'service_requests{service_name="frontend",operation="ListNamespaces",namespace="a"} 5\n'
    async with (
        MetricsServer.start(page) as good,
        Misbehaving(**CASES["HTML"].wrong).run() as bad,
        source("page", good.url.removesuffix("/metrics")) as read,
        source("prometheus", bad.url) as unreadable,
    ):
        signals = await collect([read, unreadable], Instant.now())
    assert signals.value("frontend.request_rate_per_sec") == 0.0
    assert signals.missing["workers.workflow_slots_available"].code is C.PARSE
