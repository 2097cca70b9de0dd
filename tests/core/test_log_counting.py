"""Counting log lines: patterns, templates, spikes."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whenever import Instant

from copilot.logs.counting import MAX_SAMPLE, MAX_TRACKED, READINGS, SPIKE_AFTER, SPIKE_LINES, LogMemory, count_lines
from copilot.logs.lines import LEVELS, LogLine
from copilot.logs.patterns import PATTERNS, PatternBook
from copilot.rules.signals.logs import LogReading
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, Missing, MissingCode
from tests.recorded_logs import read_lines

NOON = Instant.from_utc(2026, 11, 22, 12)
INFO, WARN, ERROR = (LEVELS.index(name) for name in ("info", "warn", "error"))
LOCKED = LogLine("UpdateShard: database is locked", ERROR, "history")
GONE = Missing(code=MissingCode.TIMEOUT, detail="no answer")


def read(
    memory: LogMemory,
    lines: Iterable[LogLine],
    tick: int = 0,
    *,
    span_sec: float = 30.0,
    missing: Missing | None = None,
) -> tuple[LogMemory, LogReading]:
    """One reading, `tick` × 30 s after noon, through JSON as between two readings of the watcher."""
    after, seen = count_lines(
        LogMemory.model_validate_json(memory.model_dump_json()),
        lines,
        NOON.add(seconds=30 * tick),
        span_sec=span_sec,
        window_sec=60.0,
        book=PatternBook(),
        redact=lambda text: text.replace("hunter2", "‹secret›"),
        missing=missing,
    )
    return after, LogReading.model_validate_json(seen.model_dump_json())


def quiet(readings: int) -> LogMemory:
    memory = LogMemory()
    for tick in range(readings):
        memory, _ = read(memory, [], tick)
    return memory


def test_lines_are_counted_per_pattern_and_service_with_first_and_last() -> None:
    at = "2026-11-22T11:59:{}Z".format
    lines = [
        LogLine("database is locked", ERROR, "history", at(31)),
        LogLine("database is locked: again", WARN, "history", at(40)),
        LogLine("database is locked", INFO, "frontend", at(35)),
    ]
    memory, seen = read(LogMemory(), lines)
    assert [(p.pattern, p.service, p.count, p.level) for p in seen.patterns] == [
        ("database locked", "history", 2, "error"),
        ("database locked", "frontend", 1, "info"),
    ]
    first = seen.patterns[0]
    assert (first.first_seen, first.last_seen) == (NOON.subtract(seconds=29), NOON.subtract(seconds=20))
    assert first.sample == "database is locked: again"
    _, seen = read(memory, [LogLine("database is locked", ERROR, "history")], tick=1)
    assert (seen.patterns[0].count, seen.patterns[0].first_seen) == (3, NOON.subtract(seconds=29))
    assert seen.patterns[0].last_seen == NOON.add(seconds=30)


def test_a_line_counts_for_every_pattern_it_matches() -> None:
    _, seen = read(LogMemory(), [LogLine("Error acquiring shard: database is locked", ERROR)])
    assert {p.pattern for p in seen.patterns} == {"shard not acquired", "database locked"}


def test_a_pattern_that_is_silent_for_all_readings_is_forgotten() -> None:
    memory, _ = read(LogMemory(), [LOCKED])
    for tick in range(1, READINGS):
        memory, seen = read(memory, [], tick)
        assert seen.patterns[0].count == 1
    memory, seen = read(memory, [], READINGS)
    assert (seen.patterns, memory.tracked) == ((), [])


def test_the_top_pattern_is_the_commonest_warning_of_the_rate_window() -> None:
    chatter = [LogLine("context canceled", INFO)] * 50
    memory, seen = read(LogMemory(), [*chatter, *[LOCKED] * 7])
    assert seen.top_pattern_count == 7
    _, unknown = read(LogMemory(), [LogLine("context canceled")] * 50)
    assert unknown.top_pattern_count == 0, "a line whose level is not known is no error"
    memory, seen = read(memory, [LOCKED], 1)
    assert seen.top_pattern_count == 8
    memory, seen = read(memory, [], 2)
    assert seen.top_pattern_count == 1
    assert read(memory, [], 3)[1].top_pattern_count == 0


def test_a_message_nobody_knew_is_seen_once_it_repeats() -> None:
    def said(number: int) -> list[LogLine]:
        return [LogLine(f"Flux valve {n} of unit {n * 7} is stuck", ERROR, "history") for n in range(number)]

    assert read(LogMemory(), said(4))[1].patterns == ()
    memory, seen = read(LogMemory(), said(900))
    (found,) = seen.patterns
    assert (found.pattern, found.count, found.mined) == ("Flux valve <*> of unit <*> is stuck", 900, True)
    _, seen = read(memory, said(3), 1)
    assert [(p.pattern, p.count) for p in seen.patterns] == [("Flux valve <*> of unit <*> is stuck", 903)]


def test_a_template_that_grows_general_keeps_its_count() -> None:
    memory, _ = read(LogMemory(), [LogLine("Queue orders has grown too long", WARN)] * 6)
    memory, seen = read(memory, [LogLine("Queue billing has grown too long", WARN)] * 5, 1)
    assert [(p.pattern, p.count) for p in seen.patterns] == [("Queue <*> has grown too long", 11)]


def test_secrets_reach_neither_templates_nor_samples() -> None:
    lines = [LogLine("login of root with hunter2 was refused again", WARN)] * 9
    memory, _ = read(LogMemory(), [*lines, LogLine("database is locked hunter2", ERROR)])
    assert "hunter2" not in memory.model_dump_json()
    assert "‹secret›" in memory.model_dump_json()


def test_a_flood_of_different_messages_stays_small_and_the_dominating_one_is_seen() -> None:
    letters = "abcdefghijklmnop"
    flood = [
        LogLine(" ".join(letters[(n >> shift) % 16] * 5 for shift in (0, 4, 8, 12, 1, 5)), ERROR) for n in range(3000)
    ]
    memory, seen = read(LogMemory(), [*flood, *[LogLine("the one that matters is here", ERROR, "x" * 30)] * 500])
    assert seen.patterns[0].pattern == "the one that matters is here"
    assert len(memory.tracked) <= MAX_TRACKED
    assert len(memory.templates) <= MAX_TRACKED
    assert len(seen.patterns) <= MAX_BREAKDOWN_ROWS
    assert len(memory.model_dump_json()) < 100_000
    assert all(len(p.sample) <= MAX_SAMPLE for p in seen.patterns)


def spiking(counts: list[int], spans: list[float] | None = None, line: LogLine = LOCKED) -> list[bool]:
    memory, said = LogMemory(), []
    for tick, count in enumerate(counts):
        memory, seen = read(memory, [line] * count, tick, span_sec=spans[tick] if spans else 30.0)
        said.append(bool(seen.spikes))
    return said


FEW, CHATTER = SPIKE_LINES - 1, LogLine("all is well today", INFO)
WARNING = LogLine("nothing is well today", WARN)


@pytest.mark.parametrize(
    ("counts", "at", "line"),
    [
        ([0, 0, 0, 0, 40, 45, 50], [4], LOCKED),
        ([0, 0, 0, 0, 40, 119, 357], [4, 6], LOCKED),
        ([20, 30, 25, 40, 60, 20, 55, 70], [], LOCKED),
        ([50, 0, 0, 0, 0, 0, 60, 0, 0, 0, 0, 100], [], LOCKED),
        ([0, 0, 0, 0, 0, FEW], [], LOCKED),
        ([0] * SPIKE_AFTER + [SPIKE_LINES], [SPIKE_AFTER], LOCKED),
        ([0] * (SPIKE_AFTER - 1) + [500], [], LOCKED),
        ([0, 0, 0, 0, 90], [], CHATTER),
        ([0, 0, 0, 0, 90], [4], WARNING),
    ],
    ids=["out of silence, once", "three times worse, again", "usual", "comes and goes", "few lines",
         "a past just known", "a past not yet known", "chatter nobody knows", "a warning nobody knows"],
)  # fmt: skip
def test_a_pattern_spikes_when_it_breaks_out_of_its_past(counts: list[int], at: list[int], line: LogLine) -> None:
    assert [tick for tick, spikes in enumerate(spiking(counts, line=line)) if spikes] == at


def test_a_longer_reading_is_judged_by_its_rate() -> None:
    assert not any(spiking([10, 10, 10, 10, 100], spans=[30, 30, 30, 30, 300]))


def test_lines_that_could_not_all_be_read_are_counted_and_said() -> None:
    _, seen = read(quiet(4), [LOCKED] * 40, 5, missing=GONE)
    assert (seen.patterns[0].count, seen.missing, seen.spikes) == (40, GONE, ("database locked",))


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_real_servers_trouble_spikes(form: str) -> None:
    _, seen = read(quiet(6), read_lines(form), 7)
    assert {"database locked", "shard status unknown", "rate limit"} <= set(seen.spikes)
    assert {p.service for p in seen.patterns} >= {"history", "frontend"}


lines = st.builds(
    LogLine,
    st.sampled_from([*(f"x {w} y" for p in PATTERNS for w in p.words), "all is well", "nothing is well"]),
    st.integers(0, len(LEVELS) - 1),
    st.sampled_from(["history", "frontend"]),
)


@given(st.lists(st.lists(lines, max_size=30), min_size=1, max_size=5))
def test_3_every_matching_line_is_counted_once_for_each_of_its_patterns(readings: list[list[LogLine]]) -> None:
    memory = LogMemory()
    for tick, reading in enumerate(readings):
        memory, _ = read(memory, reading, tick)
    every = [line for reading in readings for line in reading]
    for known in PATTERNS:
        for service in ("history", "frontend"):
            expected = sum(line.service == service and known.matches(line) for line in every)
            found = [
                sum(t.counts) for t in memory.tracked if (t.pattern, t.service, t.mined) == (known.name, service, False)
            ]
            assert found == ([expected] if expected else [])
