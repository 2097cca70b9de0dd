"""Reading on in a Loki, over the wire."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from whenever import Instant

from copilot import bootstrap
from copilot.errors import SettingsError
from copilot.rules.signals.readings import MissingCode
from copilot.settings.sources import LogSettings, LokiSettings
from copilot.sources.logs import Cursor, LogBatch
from copilot.sources.logs.loki import NS, LokiLogs
from copilot.sources.logs.loki_api import advice
from tests.sources.loki_server import LokiServer
from tests.sources.misbehaving import Misbehaving

NOON = Instant.from_utc(2026, 11, 22, 12)
NOON_NS = NOON.timestamp() * NS
QUERY = '{app="temporal"}'


@asynccontextmanager
async def loki(url: str, **given: Any) -> AsyncIterator[LokiLogs]:
    source = LokiLogs(LokiSettings(url=url, **{"query": QUERY, "delay_sec": 0, "max_entries": 10, **given}))
    try:
        yield source
    finally:
        await source.aclose()


async def read(source: LokiLogs, cursor: Cursor | None, sec: float, deadline_sec: float = 5.0) -> LogBatch:
    """Read at noon plus so many seconds; the cursor goes through JSON as between two readings."""
    given = json.loads(json.dumps(cursor)) if cursor is not None else None
    return await source.read(given, NOON.add(seconds=sec), deadline_sec)


def texts(batch: LogBatch) -> list[str]:
    return [line.text for line in batch.lines]


def why(batch: LogBatch) -> tuple[MissingCode, str]:
    assert batch.missing is not None
    return batch.missing.code, batch.missing.detail


async def test_the_first_reading_only_finds_its_place_and_the_next_has_what_was_written_since() -> None:
    async with LokiServer().run() as server, loki(server.url) as source:
        server.push(NOON_NS - 1, "old", app="temporal")
        first = await read(source, None, 0)
        assert (texts(first), first.span_sec, server.asked) == ([], None, [])
        server.push(NOON_NS, '{"level":"error","msg":"a","service":"frontend"}', app="temporal", pod="f-1")
        server.push(NOON_NS + 1, '{"level":"error","msg":"b"}', app="temporal", service="history")
        server.push(NOON_NS + 30 * NS, "not yet", app="temporal")
        second = await read(source, first.cursor, 30)
        assert [(x.text, x.service) for x in second.lines] == [("a", "frontend"), ("b", "history")]
        assert (second.span_sec, second.missing) == (30.0, None)
        assert texts(await read(source, second.cursor, 60)) == ["not yet"]
    assert server.asked[0] == {
        "query": QUERY,
        "start": str(NOON_NS),
        "end": str(NOON_NS + 30 * NS),
        "limit": "10",
        "direction": "forward",
    }


async def test_lines_are_left_to_arrive_for_a_while() -> None:
    async with LokiServer().run() as server, loki(server.url, delay_sec=5) as source:
        first = await read(source, None, 5)
        server.push(NOON_NS + 26 * NS, "late", app="temporal")
        second = await read(source, first.cursor, 30)
        assert texts(second) == []
        server.push(NOON_NS + 25 * NS, "later", app="temporal")
        assert texts(await read(source, second.cursor, 35)) == ["later", "late"]


moments = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 40)), max_size=70)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments, st.lists(st.integers(1, 9), min_size=1, max_size=4))
async def test_page_by_page_no_line_is_lost_or_read_twice(
    written: list[tuple[int, int, int]], steps: list[int]
) -> None:
    async with LokiServer().run() as server, loki(server.url, max_entries=15) as source:
        server.push(NOON_NS - 1, "before", app="temporal")
        many: dict[int, int] = {}
        expected = set()
        for at, pod, number in written:
            if (at, pod, number) not in expected and many.get(at, 0) < 14:
                many[at] = many.get(at, 0) + 1
                expected.add((at, pod, number))
                server.push(NOON_NS + at, f"{at}:{pod}:x{number}", app="temporal", pod=str(pod))
        cursor: Cursor = {"at": NOON_NS}
        found: list[str] = []
        now = 0
        for step in [*steps, 60]:
            now += step
            batch = await source.read(
                json.loads(json.dumps(cursor)), Instant.from_timestamp(NOON_NS + now, unit="nanosecond"), 5.0
            )
            assert batch.missing is None
            found += texts(batch)
            cursor = batch.cursor
    assert sorted(found) == sorted(f"{at}:{pod}:x{number}" for at, pod, number in expected)
    assert [int(t.split(":")[0]) for t in found] == sorted(int(t.split(":")[0]) for t in found)


async def test_more_lines_in_one_nanosecond_than_a_page_holds_are_said_and_do_not_hold_up_the_rest() -> None:
    async with LokiServer().run() as server, loki(server.url) as source:
        for number in range(25):
            server.push(NOON_NS, f"n{number}", app="temporal")
        server.push(NOON_NS + 5, "after", app="temporal")
        first = await read(source, {"at": NOON_NS}, 30)
        assert len(first.lines) == 10
        assert "same nanosecond" in why(first)[1]
        second = await read(source, first.cursor, 60)
        assert (texts(second), second.missing) == (["after"], None)


async def test_a_server_that_allows_fewer_lines_is_asked_for_as_many_as_it_allows() -> None:
    async with LokiServer(max_entries=20).run() as server, loki(server.url, max_entries=5000) as source:
        for number in range(50):
            server.push(NOON_NS + number, f"n{number}", app="temporal")
        batch = await read(source, {"at": NOON_NS}, 30)
        assert (len(batch.lines), batch.missing) == (50, None)
        assert [asked["limit"] for asked in server.asked] == ["5000", "20", "20", "20"]


async def test_what_one_reading_cannot_hold_comes_with_the_next_and_what_was_read_counts() -> None:
    async with LokiServer(hang_after=5).run() as server, loki(server.url) as source:
        for number in range(120):
            server.push(NOON_NS + number * NS, f"n{number}", app="temporal")
        first = await read(source, {"at": NOON_NS}, 120, deadline_sec=2.0)
        assert (len(first.lines), first.missing, first.span_sec) == (46, None, 45.0)
        assert first.note.startswith("read 46 lines up to 12:00:45, 75 s behind: the logs did not arrive")
        server.hang_after = 1_000
        second = await read(source, first.cursor, 120)
        assert [*texts(first), *texts(second)] == [f"n{number}" for number in range(120)]
        assert (second.note, second.missing) == ("", None)


LARGE = "x" * 5_000


@pytest.mark.parametrize("how", [{"grpc_bytes": 600_000}, {"broken_over": 600_000}, {"status": "504 Gateway Timeout"}])
async def test_pages_that_do_not_come_are_asked_for_with_half_as_many_lines_at_once(how: dict[str, Any]) -> None:
    async with LokiServer().run() as server, loki(server.url, max_entries=400) as source:
        for number in range(300):
            server.push(NOON_NS + number, f"{number} {LARGE}", app="temporal")
        for name, value in how.items():
            setattr(server, name, value)
        first = await read(source, {"at": NOON_NS}, 30, deadline_sec=4.0)
        if "status" in how:
            assert why(first)[0] is MissingCode.TIMEOUT
            assert [asked["limit"] for asked in server.asked] == ["400", "200", "100", "50", "25", "12", "10"]
            server.status = "200 OK"
            assert len((await read(source, first.cursor, 30)).lines) == 300
            assert server.asked[7]["limit"] == "10", "the next reading, in whatever process, does not ask for more"
        else:
            assert [t.split()[0] for t in texts(first)] == [str(number) for number in range(300)]
            assert [asked["limit"] for asked in server.asked] == ["400", "200", "100", "100", "100", "100"]


async def test_pages_grow_again_slowly() -> None:
    async with LokiServer().run() as server, loki(server.url, max_entries=100) as source:
        for number in range(3_000):
            server.push(NOON_NS + number, f"n{number}", app="temporal")
        batch = await read(source, {"at": NOON_NS, "limit": 40, "good": 1}, 30, deadline_sec=60.0)
        assert len(batch.lines) == 3_000
        limits = [int(asked["limit"]) for asked in server.asked]
        assert (limits[:20], limits[20], limits[40]) == ([40] * 20, 50, 62)


async def test_lines_of_one_nanosecond_widen_a_page_that_was_made_small() -> None:
    async with LokiServer().run() as server, loki(server.url, max_entries=100) as source:
        for number in range(45):
            server.push(NOON_NS, f"n{number}", app="temporal")
        server.push(NOON_NS + 5, "after", app="temporal")
        batch = await read(source, {"at": NOON_NS, "limit": 10, "good": 1}, 30)
        assert (len(batch.lines), batch.missing) == (46, None)


async def test_a_line_that_arrives_late_is_read_and_none_is_read_twice() -> None:
    async with LokiServer().run() as server, loki(server.url) as source:
        cursor: Cursor = {"at": NOON_NS}
        found: list[str] = []
        for tick in range(1, 6):
            for number in range(7):
                server.push(NOON_NS + (30 * tick - 20) * NS + number, f"{tick}:{number}", app="temporal")
            server.push(NOON_NS + (30 * tick - 70) * NS, f"late {tick}", app="temporal")
            server.push(NOON_NS + (30 * tick - 200) * NS, "too late", app="temporal")
            batch = await read(source, cursor, 30 * tick)
            found += texts(batch)
            cursor = batch.cursor
    on_time = [f"{tick}:{number}" for tick in range(1, 6) for number in range(7)]
    assert sorted(found) == sorted([*on_time, *(f"late {tick}" for tick in (3, 4, 5))])
    assert len(json.dumps(cursor)) < 700


async def test_after_an_outage_what_its_collectors_held_back_is_read() -> None:
    async with LokiServer().run() as server, loki(server.url) as source:
        server.push(NOON_NS + 1, "before", app="temporal")
        first = await read(source, {"at": NOON_NS}, 30)
        server.status = "503 Service Unavailable"
        failed = await read(source, first.cursor, 200)
        server.status = "200 OK"
        server.push(NOON_NS + 239 * NS, "now", app="temporal")
        back = await read(source, failed.cursor, 240)
        server.push(NOON_NS + 100 * NS, "held back", app="temporal")
        after = await read(source, back.cursor, 270)
    assert [texts(batch) for batch in (first, failed, back, after)] == [["before"], [], ["now"], ["held back"]]


async def test_what_is_known_of_lines_stays_small() -> None:
    async with LokiServer().run() as server, loki(server.url, max_entries=5000) as source:
        for number in range(9_000):
            server.push(NOON_NS + number * 3_000_000, f"n{number}", app="temporal")
        batch = await read(source, {"at": NOON_NS}, 30)
        again = await read(source, batch.cursor, 35)
    assert (len(batch.lines), again.lines, again.missing) == (9_000, [], None)
    assert len(json.dumps(batch.cursor)) < 17_000


async def test_a_query_that_matches_nothing_is_missing_with_the_labels_there_are() -> None:
    async with LokiServer(multi_tenant=True).run() as server:
        server.push(NOON_NS - 3_600 * NS, "x", tenant="ops", app="other", pod="p-1")
        said = []
        for query, tenant in ((QUERY, "ops"), ('{job="x"} |= "{"', "ops"), (QUERY, "dev"), ('{app="other"}', "ops")):
            async with loki(server.url, tenant=tenant, query=query) as source:
                batch = await read(source, {"at": NOON_NS}, 30)
                said.append(batch.missing and why(batch))
                server.paths.clear()
                after = await read(source, batch.cursor, 60)
                assert ("/loki/api/v1/series" in server.paths) == (batch.missing is not None), "once it matched: rarely"
                assert after.missing == batch.missing
        server.push(NOON_NS + 80 * NS, "now", tenant="dev", app="temporal")
        async with loki(server.url, tenant="dev") as source:
            assert texts(await read(source, {"at": NOON_NS}, 90)) == ["now"]
    assert said == [
        (MissingCode.ABSENT, 'no stream matches {app="temporal"}: app is other'),
        (MissingCode.ABSENT, 'no stream matches {job="x"}: there is no label job, the labels are app, pod'),
        (MissingCode.ABSENT, "no stream matches {app=\"temporal\"}: there are no streams of tenant 'dev' at all"),
        None,
    ]


async def test_a_loki_that_is_asked_too_often_says_when_to_come_back() -> None:
    throttled = LokiServer(status="429 Too Many Requests", body=b"slow", more=("Retry-After: 45",))
    async with throttled.run() as server, loki(server.url) as source:
        first = await read(source, {"at": NOON_NS}, 30)
        server.status, server.body = "200 OK", None
        server.push(NOON_NS + 1, "x", app="temporal")
        held = await read(source, first.cursor, 60)
        assert (why(held), len(server.asked)) == ((MissingCode.DROPPED, "the Loki asks to wait until 12:01:15"), 1)
        assert texts(await read(source, held.cursor, 75)) == ["x"]


async def test_after_long_away_a_backlog_is_passed_over_and_said() -> None:
    async with LokiServer().run() as server, loki(server.url) as source:
        server.push(NOON_NS + 1, "long ago", app="temporal")
        server.push(NOON_NS + 3590 * NS, "of late", app="temporal")
        batch = await read(source, {"at": NOON_NS}, 3600)
        assert texts(batch) == ["of late"]
        assert "60 minutes of logs were skipped" in why(batch)[1]


async def test_a_tenant_is_named_and_one_that_is_not_is_asked_for() -> None:
    async with LokiServer(multi_tenant=True).run() as server:
        server.push(NOON_NS, "mine", tenant="ops", app="temporal")
        server.push(NOON_NS, "theirs", tenant="other", app="temporal")
        async with loki(server.url, tenant="ops") as source:
            assert texts(await read(source, {"at": NOON_NS}, 30)) == ["mine"]
        async with loki(server.url) as source:
            batch = await read(source, {"at": NOON_NS}, 30)
    assert why(batch) == (MissingCode.FORBIDDEN, "HTTP 401 Unauthorized: no org id: set tenant")
    assert not batch.read


async def test_it_authenticates_as_every_http_source_does(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("tok\n")
    async with LokiServer(authorization="Bearer tok").run() as server:
        server.push(NOON_NS, "in", app="temporal")
        async with loki(server.url, bearer_token_file=tmp_path / "token") as source:
            assert texts(await read(source, {"at": NOON_NS}, 30)) == ["in"]
        async with loki(server.url) as source:
            assert why(await read(source, {"at": NOON_NS}, 30))[0] is MissingCode.FORBIDDEN
    with pytest.raises(SettingsError, match=r"logs\.loki\.ca_file .* cannot be read"):
        bootstrap.log_source(
            LogSettings(loki=LokiSettings(url="https://loki", query=QUERY, ca_file=tmp_path / "none.pem"))
        )


BROKEN = b'{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["x"]]}]}}'
FAILURES = [
    ("503 Service Unavailable", b"ingester is starting", MissingCode.TARGET_DOWN, "Unavailable: ingester is"),
    ("429 Too Many Requests", b"too many outstanding requests", MissingCode.DROPPED, "too many"),
    ("404 Not Found", b"404 page not found", MissingCode.ABSENT, "no Loki at this address"),
    ("400 Bad Request", b"parse error at line 1, col 21: syntax error: unexpected $end, expecting STRING or ip",
     MissingCode.PARSE, "fix the query"),
    ("400 Bad Request", b"parse error : queries require at least one regexp or equality matcher that does not have an "
     b"empty-compatible value.", MissingCode.PARSE, "fix the query"),
    ("400 Bad Request", b"query blocked by policy", MissingCode.FORBIDDEN, "blocked_queries"),
    ("400 Bad Request", b"max entries limit per query exceeded, limit > max_entries_limit_per_query (11 > 10)",
     MissingCode.DROPPED, "set max_entries"),
    ("400 Bad Request", b"the query time range exceeds the limit (query length: 960h0m0s, limit: 30d1h)",
     MissingCode.DROPPED, "max_query_length"),
    ("400 Bad Request", b"end timestamp must not be before or equal to start time", MissingCode.DROPPED, "clocks"),
    ("400 Bad Request", b"the query would read too many bytes (query: 5.4 GB, limit: 1 GB)", MissingCode.DROPPED,
     "max_query_bytes_read"),
    ("400 Bad Request", b"tenant ID 'a/b' contains unsupported character '/'", MissingCode.FORBIDDEN, "set [clusters"),
    ("500 Internal Server Error", b"multiple org IDs present", MissingCode.FORBIDDEN, "one tenant"),
    ("500 Internal Server Error", b"rpc error: code = ResourceExhausted desc = grpc: received message larger than max "
     b"(4857555 vs. 4194304)", MissingCode.DROPPED, "grpc_server_max_recv_msg_size"),
    ("504 Gateway Timeout", b"request timed out, decrease the duration of the request or add more label matchers "
     b"(prefer exact match over regex match) to reduce the amount of data processed", MissingCode.TIMEOUT,
     "add label matchers"),
    ("401 Unauthorized", b"<html>\n<head><title>401 Authorization Required</title></head>", MissingCode.FORBIDDEN,
     "401 Unauthorized"),
    ("302 Found", b"<html>login</html>", MissingCode.TARGET_DOWN, "302 Found to nowhere"),
    ("200 OK", b"<html>login</html>", MissingCode.PARSE, "not from a Loki"),
    ("200 OK", b"", MissingCode.PARSE, "not from a Loki"),
    ("200 OK", b"[]", MissingCode.PARSE, "not from a Loki"),
    ("200 OK", b'{"status":"success","data":{"resultType":"matrix","result":[]}}', MissingCode.PARSE, "metric query"),
    ("200 OK", BROKEN, MissingCode.PARSE, "not from a Loki"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "code", "words"), FAILURES)
async def test_a_loki_in_trouble_is_missing_with_its_reason_and_nothing_is_lost(
    status: str, body: bytes, code: MissingCode, words: str
) -> None:
    async with LokiServer(status=status, body=body).run() as server, loki(server.url) as source:
        server.push(NOON_NS, "x", app="temporal")
        batch = await read(source, {"at": NOON_NS}, 30)
        assert (why(batch)[0], batch.read, batch.lines) == (code, False, ())
        assert batch.missing is not None
        assert words in f"{batch.missing.detail}: {advice(batch.missing)}"
        server.status, server.body = "200 OK", None
        after = await read(source, batch.cursor, 60)
        assert (texts(after), after.span_sec) == (["x"], 60.0)


async def test_no_answer_no_server_and_a_broken_answer_are_missing() -> None:
    async with LokiServer(hang=True).run() as server, loki(server.url) as source:
        assert why(await read(source, {"at": NOON_NS}, 30, deadline_sec=0.2))[0] is MissingCode.TIMEOUT
    async with loki(server.url) as source:
        batch = await read(source, {"at": NOON_NS}, 30)
        assert why(batch) == (MissingCode.TARGET_DOWN, "Connection refused")
    async with Misbehaving(body=b'{"status":"succ', length=500).run() as broken, loki(broken.url) as source:
        assert why(await read(source, {"at": NOON_NS}, 30))[0] is MissingCode.PARSE


async def test_what_goes_on_failing_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async with LokiServer(status="503 Down", body=b"away").run() as server, loki(server.url) as source:
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                await read(source, {"at": NOON_NS}, 30)
    assert [r.getMessage() for r in caplog.records] == ["logs of 127.0.0.1: HTTP 503 Down: away"]


async def test_a_cursor_of_another_kind_is_forgotten() -> None:
    async with LokiServer().run() as server, loki(server.url) as source:
        assert (await read(source, {"places": {}}, 30)).span_sec is None
        assert server.asked == []
