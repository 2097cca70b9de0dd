"""Where there are too many lines to read, a Loki counts them."""

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from copilot.logs.counting import LogMemory, count_lines
from copilot.logs.events import parse_entries
from copilot.logs.patterns import KnownPattern, PatternBook, validate_regex
from copilot.redaction.redactor import redacted
from copilot.rules.signals.logs import LogReading
from copilot.rules.signals.readings import MissingCode
from copilot.settings.sources import LokiSettings
from copilot.sources.logs import Cursor, LogBatch
from copilot.sources.logs.loki import NS, LokiLogs
from tests.sources.loki_server import LokiServer
from tests.sources.test_loki import NOON, NOON_NS, QUERY, loki, read, why

SAID = (
    "all is well",
    "shard ownership lost",
    "context deadline exceeded",
    "received message larger than max (9 vs. 4)",
)
RARE = '{"level":"info","msg":"Current reachable members","service":"history","addresses":[]}'


def flood(server: LokiServer, per_sec: int, sec: int, since: int = 0, said: tuple[str, ...] = SAID) -> None:
    """So many lines a second of two services, one half of them harmless; one rare line at the end."""
    for number in range(per_sec * sec):
        text = said[0] if number % 2 else said[number // 2 % len(said)]
        level, service = "info" if text == said[0] else "error", ("history", "matching")[number % 4 // 2]
        line = json.dumps({"level": level, "msg": f"{text} ({number})", "service": service})
        at = NOON_NS + since * NS + number * NS // per_sec
        server.push(at, line, app="temporal", detected_level=level, container=f"temporal-{service}")
    server.push(NOON_NS + (since + sec) * NS - 1, RARE, app="temporal", detected_level="info", container="all")


def reading(batch: LogBatch, book: PatternBook) -> LogReading:
    assert batch.span_sec is not None
    return count_lines(
        LogMemory(), batch.lines, NOON, span_sec=batch.span_sec, window_sec=60, book=book, redact=redacted,
        counted=batch.counted,
    )[1]  # fmt: skip


async def test_lines_that_are_counted_give_the_same_numbers_as_lines_that_are_read() -> None:
    book = PatternBook()
    async with LokiServer().run() as server, loki(server.url, max_entries=5000) as source:
        flood(server, 1_200, 6)
        batch = await read(source, {"at": NOON_NS}, 6, 90.0)
        assert batch.counted is not None
        assert (batch.counted.total, batch.missing, batch.span_sec) == (7_201, None, 6.0)
        assert batch.cursor["at"] == NOON_NS + 6 * NS
        lines = list(parse_entries((at, line, dict(labels)) for at, labels, line in sorted(server.lines["fake"])))
    counted, local = reading(batch, book), reading(LogBatch({}, lines, 6.0), book)
    numbers = {(p.pattern, p.service, p.level): p.count for p in counted.patterns if not p.mined}
    assert numbers == {(p.pattern, p.service, p.level): p.count for p in local.patterns if not p.mined}
    assert numbers["no members", "history", "info"] == 1, "one line among 7,200"
    assert counted.top_pattern_count == local.top_pattern_count
    assert counted.counted
    assert all(p.sample for p in counted.patterns)
    mined = sum(p.count for p in counted.patterns if p.mined)
    assert abs(mined - sum(p.count for p in local.patterns if p.mined)) <= 2


async def test_counting_begins_at_once_and_ends_when_there_were_few_lines_for_a_while() -> None:
    ways: list[tuple[bool, int]] = []
    async with LokiServer().run() as server, loki(server.url, max_entries=5000) as source:
        cursor: Cursor = {"at": NOON_NS}
        for tick, per_sec in enumerate((900, 1_100, 600, 400, 400, 600, 400, 400, 400, 600, 1_100)):
            flood(server, per_sec, 6, 6 * tick, SAID[:2])
            batch = await read(source, cursor, 6 * tick + 6, 90.0)
            assert batch.missing is None
            assert batch.note == "", "no lag"
            ways.append((batch.counted is not None, batch.counted.total if batch.counted else len(batch.lines)))
            cursor = batch.cursor
            server.lines.clear()
    rates = [(counts, total // 6) for counts, total in ways]
    assert rates == [
        (False, 900), (True, 1_100), (True, 600), (True, 400), (True, 400), (True, 600), (True, 400), (True, 400),
        (True, 400), (False, 600), (True, 1_100),
    ]  # fmt: skip


async def test_lines_that_cannot_be_counted_are_read() -> None:
    own = KnownPattern("mine", regex=validate_regex(r"(?s:well) \(\d"))
    odd = KnownPattern("odd", regex=re.compile(r"well \(1\Z"))
    async with LokiServer().run() as server:
        flood(server, 1_200, 6)
        settings = LokiSettings(url=server.url, query=QUERY, delay_sec=0)
        for book, counts in ((PatternBook([own]), True), (PatternBook([odd]), False)):
            source = LokiLogs(settings, book)
            batch = await read(source, {"at": NOON_NS}, 6, 90.0)
            await source.aclose()
            assert ((batch.counted is not None), batch.missing, batch.note) == (counts, None, "")
            assert counts or len(batch.lines) == 7_201
            mine = sum(p.count for p in reading(batch, book).patterns if p.pattern == "mine")
            assert mine == (4_500 if counts else 0)


@pytest.mark.parametrize(("status", "body", "code", "goes_on"), [
    ("400 Bad Request", b"maximum of series (500) reached for a single query", MissingCode.DROPPED, False),
    ("504 Gateway Timeout", b"request timed out", MissingCode.TIMEOUT, True),
    ("200 OK", b'{"status":"success","data":{"resultType":"matrix","result":[]}}', MissingCode.PARSE, False),
])  # fmt: skip
async def test_a_loki_that_stops_counting_is_missing_and_nothing_is_passed_over(
    status: str, body: bytes, code: MissingCode, goes_on: bool
) -> None:
    async with LokiServer(status=status, body=body).run() as server, loki(server.url) as source:
        batch = await read(source, {"at": NOON_NS, "counting": True}, 6)
        assert (why(batch)[0], batch.read, batch.cursor["at"]) == (code, False, NOON_NS)
        assert batch.cursor["counting"] is goes_on


async def test_the_stand_in_answers_and_refuses_metric_queries_as_a_real_loki(recorded: dict[str, Any]) -> None:
    server = LokiServer()
    at = recorded["values"][0][0]
    for number in range(18):
        server.push(at * NS - number, f"x{number}", app="temporal", detected_level="error")
    query = f"sum by (detected_level) (count_over_time({QUERY} [60000ms]))"
    span = f"&start={(at - 60) * NS}&end={(at + 20) * NS}&step=60"
    status, body = server.answer(f"/loki/api/v1/query_range?{urlencode({'query': query})}{span}", {})
    assert (status, json.loads(body)["data"]["resultType"]) == ("200 OK", "matrix")
    assert json.loads(body)["data"]["result"] == [recorded]
    for number in range(501):
        server.push(at * NS, "x", app="temporal", pod=str(number))
    for asked, words in (
        (query.replace("detected_level", "pod"), b"maximum of series (500) reached"),
        (query.replace("}", '} |~ "(?=x)"'), b"error parsing regexp"),
        (QUERY, b"log queries are not supported as an instant query type"),
    ):
        status, body = server.answer(f"/loki/api/v1/query?{urlencode({'query': asked})}&time={at * NS}", {})
        assert (status, words in body) == ("400 Bad Request", True)


@pytest.fixture
def recorded() -> dict[str, Any]:
    """One series as a real Loki answered (tests/data/loki has the lines)."""
    return {"metric": {"detected_level": "error"}, "values": [[1796027820, "18"]]}
