"""The known patterns, and what an operator may add."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.logs.lines import LEVELS, LogLine, parse_line
from copilot.logs.patterns import PATTERNS, KnownPattern, PatternBook, validate_regex
from tests.recorded_logs import read_lines

INFO, WARN, ERROR = (LEVELS.index(name) for name in ("info", "warn", "error"))
# From a real server or its source: the level and the words, and what they are.
SAID = [
    (ERROR, "service failures: context deadline exceeded", "deadline exceeded"),
    (INFO, "history client encountered error: context canceled", "context canceled"),
    (
        INFO,
        "history client encountered error: Shard is owned by:10.0.0.7:7234 but not by 10.0.0.9",
        "shard ownership lost",
    ),
    (ERROR, "Encounter shard ownership lost, request range ID: 4, actual range ID: 5", "shard ownership lost"),
    (ERROR, "service failures: shard status unknown", "shard status unknown"),
    (INFO, "Acquired shard", "shard acquired"),
    (INFO, "shard-context Stopping", "shard released"),
    (ERROR, "Error acquiring shard: UpdateShard: database is locked (5) (SQLITE_BUSY)", "shard not acquired"),
    (INFO, "Current reachable members", "membership change"),
    (ERROR, "service failures: Not enough hosts to serve the request", "not enough hosts"),
    (
        INFO,
        "matching client encountered error: no poller seen for task queue recently, worker may be down",
        "no poller",
    ),
    (WARN, "DSQL reservoir discard: connection older than its limit", "reservoir discard"),
    (ERROR, "Operation failed with internal error.: ERROR: change conflicts (SQLSTATE 40001)", "SQLSTATE 40001"),
    (ERROR, "Persistent fetch operation Failure: Namespace Per-Shard Persistence Max QPS Reached.", "rate limit"),
    (WARN, "Failed to poll for task.: namespace rate limit exceeded", "rate limit"),
    (ERROR, "unable to connect: dial tcp 10.0.0.1:5432: connect: connection refused", "connection refused"),
    (0, "panic: runtime error: index out of range", "panic"),
    (ERROR, "unable to connect: dial tcp 10.0.0.1:5432: i/o timeout", "connection timed out"),
    (WARN, "Task enqueued to DLQ", "task in the dead letter queue"),
    (INFO, "Workflow task not found", "task of a closed workflow"),
    (WARN, "Failed to poll for task.: task queue is not ready to process polls from this deployment version, try again "
     "shortly", "version may not poll yet"),
    (WARN, "Error while polling for task: PermissionDenied: Request unauthorized.", "certificate or login refused"),
    (ERROR, "Failed to activate workflow: [TMPRL1100] Nondeterminism error", "nondeterminism"),
    (WARN, "Schedule missed catchup window", "schedule missed"),
    (ERROR, "FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute (SQLSTATE 53300)",
     "no connection free"),
    (ERROR, "SaveClusterMetadata encountered version mismatch, expected 3 but got 4.",
     "cluster metadata changed by another"),
]  # fmt: skip
# What looks like something else, and is not.
MISLEADING = [
    ("potential deadlock detected", {"server hangs"}),
    ("deadlock detected (SQLSTATE 40P01)", {"database locked"}),
    ("rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5141112 vs. 4194304)",
     {"message too large"}),
    ("Current reachable members: none", {"no members"}),
    ("matching.rps limit=100", set()),
]  # fmt: skip


@pytest.mark.parametrize(("level", "text", "name"), SAID, ids=[text[:40] for _, text, _ in SAID])
def test_what_servers_say_is_known_at_the_level_they_say_it(level: int, text: str, name: str) -> None:
    assert name in PatternBook().match(LogLine(text, level))


@pytest.mark.parametrize(("text", "names"), MISLEADING)
def test_what_looks_like_something_else_is_not_taken_for_it(text: str, names: set[str]) -> None:
    assert set(PatternBook().match(LogLine(text, ERROR))) == names


def test_a_ring_without_members_is_told_from_a_change_of_members() -> None:
    def names(addresses: list[str]) -> tuple[str, ...]:
        line = parse_line(json.dumps({"level": "info", "msg": "Current reachable members", "addresses": addresses}))
        assert line is not None
        return PatternBook().match(line)

    assert (names([]), names(["10.0.0.7:7234"])) == (("no members",), ("membership change",))


def test_a_line_under_a_patterns_level_does_not_count() -> None:
    assert PatternBook().match(LogLine("Acquired shard", LEVELS.index("debug"))) == ()
    assert "panic" not in PatternBook().match(LogLine("no panic: all is well", INFO))


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_real_servers_faults_are_found(form: str) -> None:
    found = {name for line in read_lines(form) for name in PatternBook().match(line)}
    assert found >= {
        *("shard acquired", "shard status unknown", "shard not acquired", "database locked", "database call failed"),
        *("rate limit", "membership change", "deadline exceeded"),
    }


def test_names_are_unique_and_words_are_lower_case() -> None:
    assert len({p.name for p in PATTERNS}) == len(PATTERNS)
    assert all(word == word.lower() and len(word) > 3 for p in PATTERNS for word in p.words)


def test_an_operators_pattern_is_added_or_takes_the_place_of_a_known_one() -> None:
    own = KnownPattern("our gateway", regex=validate_regex(r"gateway gw-\d+ lost"))
    louder = KnownPattern("rate limit", words=("slow down",))
    book = PatternBook([own, louder])
    assert book.match(LogLine("gateway gw-17 lost", ERROR)) == ("our gateway",)
    assert book.match(LogLine("rate limit exceeded", ERROR)) == ()
    assert book.match(LogLine("Slow Down", ERROR)) == ("rate limit",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(", "no regular expression"),
        ("a{99999999999}", "no regular expression"),
        ("x*", "matches every line"),
        ("(a+)+b", "a group repeats"),
        ("(a|aa)+b", "a group repeats"),
        ("((a{1,8}){1,8}){1,8}b", "a group repeats"),
        ("((?:x|[)])y*){2}z", "a group repeats"),
        (".*a.*b.*c", "3 of its parts repeat"),
        (r"a\d{1,99}b\w{2,}c[^x]+", "3 of its parts repeat"),
        (r"(a)\1", "refers back"),
        (r"(?P<n>a)(?P=n)", "refers back"),
        ("a(?=b)", "looks ahead"),
        ("(?<!x)abc", "looks ahead"),
        ("a" * 301, "longer than"),
    ],
)
def test_a_costly_or_broken_expression_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        validate_regex(text)


@pytest.mark.parametrize(
    "text",
    [
        "lost.*shard", r"code = (Unavailable|Internal)", r"\bOC00[01]\b", r"took \d+ms of \d+ms", r"x\(a+\)\+",
        "(?i)busy",
        r"(?:ab){2,8}c", "[(+*]{3}", "{}", r"a?b?c",
    ],
)  # fmt: skip
def test_a_reasonable_expression_is_taken(text: str) -> None:
    assert validate_regex(text).pattern == text


@given(st.text(alphabet="ab.*+?(){},12|[]\\^$:<=!P", max_size=14))
def test_any_expression_is_taken_or_refused_with_a_reason(text: str) -> None:
    with suppress(ValueError):
        validate_regex(text).search("ab" * 250)


words = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=60)


@given(
    st.sampled_from([(p, w) for p in PATTERNS for w in p.words]),
    words,
    words,
    st.booleans(),
    st.sampled_from(["warn", "error", "fatal"]),
)
def test_3_every_matching_line_is_found(
    pattern: tuple[KnownPattern, str], before: str, after: str, loud: bool, level: str
) -> None:
    known, word = pattern
    said = f"{before}{word.upper() if loud else word}{after}"
    line = parse_line(json.dumps({"level": level, "msg": "service failures", "error": said}))
    assert line is not None
    assert known.name in PatternBook().match(line)
