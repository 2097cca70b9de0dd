"""A log line is understood whichever way a Temporal server writes it."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whenever import Instant

from copilot.logs.lines import LEVELS, MAX_TEXT, NO_LEVEL, LogLine, parse_line
from tests.recorded_logs import raw_lines, read_lines

NOON = Instant.from_utc(2026, 11, 22, 12)
ERROR = LEVELS.index("error")
WAYS = {
    "zap as JSON": '{"level":"error","ts":"2026-11-22T11:00:00.250Z","msg":"service failures","service":"frontend",'
    '"error":"shard status unknown","logging-call-at":"telemetry.go:1"}',
    "slog as JSON": '{"time":"2026-11-22T11:00:00.250000001Z","level":"ERROR","msg":"service failures",'
    '"service":"frontend","error":"shard status unknown"}',
    "zap's console": '2026-11-22T12:00:00.250+0100\terror\tservice failures\t{"service": "frontend", '
    '"error": "shard status unknown"}',
    "slog's text": 'time=2026-11-22T11:00:00.250Z level=ERROR msg="service failures" service=frontend '
    'error="shard status unknown"',
}


@pytest.mark.parametrize("raw", WAYS.values(), ids=WAYS.keys())
def test_every_way_of_writing_gives_the_same_line(raw: str) -> None:
    line = parse_line(raw)
    assert line is not None
    assert (line.text, line.level, line.service) == ("service failures: shard status unknown", ERROR, "frontend")
    assert (
        line.when(NOON).timestamp(unit="millisecond")
        == Instant.from_utc(2026, 11, 22, 11).timestamp(unit="millisecond") + 250
    )


def test_words_that_are_no_log_line_are_kept_without_a_level() -> None:
    assert parse_line("panic: assignment to entry in nil map\r") == LogLine("panic: assignment to entry in nil map")
    assert parse_line('{"level": "error", "msg": "cut o') == LogLine('{"level": "error", "msg": "cut o')
    assert parse_line("[1, 2]") == LogLine("[1, 2]")


@pytest.mark.parametrize("raw", ["", "   ", "\tgo.temporal.io/server/common.f()", "\n"])
def test_what_goes_on_with_the_line_before_is_no_line(raw: str) -> None:
    assert parse_line(raw) is None


def test_a_line_without_words_says_what_happened_to_which_part() -> None:
    stopping = '{"level":"info","msg":"none","shard-id":7,"lifecycle":"Stopping","component":"shard-context"}'
    line = parse_line(stopping)
    assert line is not None
    assert (line.text, line.service) == ("shard-context Stopping", "history")


def test_a_store_of_logs_knows_the_time_and_whose_line_it_is() -> None:
    at = NOON.timestamp(unit="nanosecond") - 1
    line = parse_line("plain words", time=at, labels={"app": "temporal", "service": "matching"})
    assert line is not None
    assert (line.service, line.when(NOON)) == ("matching", Instant.from_timestamp(at, unit="nanosecond"))


@pytest.mark.parametrize("time", ["", "yesterday", "2026-11-22T11:00:00", "2030-01-01T00:00:00Z", 10**30, "1795000000"])
def test_a_time_that_is_not_to_be_had_is_that_of_the_reading(time: str | int) -> None:
    assert LogLine("x", time=time).when(NOON) == NOON


def test_text_is_bounded() -> None:
    for raw in (json.dumps({"msg": "y" * 10_000, "error": "z" * 10_000}), "y" * 10_000):
        line = parse_line(raw)
        assert line is not None
        assert len(line.text) == MAX_TEXT


@given(st.text(max_size=200))
def test_any_text_is_a_line_or_none(raw: str) -> None:
    line = parse_line(raw)
    assert line is None or line.when(NOON) <= NOON


keys = st.sampled_from(["msg", "message", "level", "ts", "time", "error", "service", "component"])
leaves = st.none() | st.booleans() | st.floats() | st.text()
anything = st.recursive(leaves, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=4)


@given(st.dictionaries(keys, anything))
def test_any_json_is_a_line_or_none(found: dict[str, object]) -> None:
    line = parse_line(json.dumps(found))
    assert line is not None
    assert isinstance(line.text, str)


@pytest.mark.parametrize("form", ["json", "text"])
def test_every_line_of_a_real_server_is_understood(form: str) -> None:
    unlevelled = [line.text for line in read_lines(form) if line.level == NO_LEVEL]
    assert len(read_lines(form)) > 600
    assert all(re.match(r"Temporal (CLI|Server|Persistence|HTTP|Metrics|UI)", text) for text in unlevelled)
    services = {line.service for line in read_lines(form)}
    assert (
        {"frontend", "internal-frontend", "history", "matching", "worker", "server"}
        >= services
        >= {"frontend", "history", "matching"}
    )
    assert sum(raw.startswith(("{", "time=")) for raw in raw_lines(form)) > 600
