"""Known patterns of a Temporal server's log when something is wrong or about to be, and those that an operator adds.

Words and levels are from the logs of real servers in trouble (tests/data/logs) and from the server's source. `level` is
the lowest level at which the words are meant: the server logs errors of other services as info.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from copilot.logs.lines import LEVELS, NO_LEVEL, LevelName, LogLine

MAX_UNBOUNDED = 2
MAX_REGEX = 300
MAX_SEARCHED = 500


@dataclass(frozen=True, slots=True)
class KnownPattern:
    """Lines with one of these words (in lower case; case does not matter) and none of `unless`, or that match the
    regular expression."""

    name: str
    words: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    regex: re.Pattern[str] | None = None
    level: LevelName = "info"

    def matches(self, line: LogLine, lowered: str | None = None) -> bool:
        """Whether the line matches; `lowered` is its text in lower case, where known. A line without a level passes any
        level. A regular expression sees the first 500 characters."""
        if line.level != NO_LEVEL and line.level < LEVELS.index(self.level):
            return False
        if self.regex is not None and self.regex.search(line.text[:MAX_SEARCHED]):
            return True
        text = line.text.lower() if lowered is None else lowered
        return any(word in text for word in self.words) and not any(word in text for word in self.unless)


_NOBODY = ('"addresses":[]', '"addresses": []', "addresses=[]")
"""A ring without members, in a line as it was written."""
PATTERNS: Final[tuple[KnownPattern, ...]] = (
    KnownPattern("deadline exceeded", ("deadline exceeded", "deadlineexceeded")),
    KnownPattern("context canceled", ("context canceled", "context cancelled")),
    KnownPattern("shard ownership lost", ("shard ownership lost", "shardownershiplost", "shard is owned by")),
    KnownPattern("shard status unknown", ("shard status unknown",)),
    KnownPattern("shard acquired", ("acquired shard",)),
    KnownPattern("shard released", ("shard-context stopp", "shard-context closed", "shard closed",
        "unloaded shard", "released shard")),
    KnownPattern("shard not acquired", ("error acquiring shard", "couldn't acquire shard",
        "failed to acquire shard", "unable to acquire shard")),
    KnownPattern("membership change", ("current reachable members", "ring changed event",
        "ringmembershipchangedevent", "member joined", "member left", "membership upsert failed"),
        unless=("reachable members: none", *_NOBODY)),
    KnownPattern("no members", ("reachable members: none", "unable to bootstrap ringpop", *_NOBODY)),
    KnownPattern("not enough hosts", ("not enough hosts to serve",)),
    KnownPattern("server hangs", ("potential deadlock detected",)),
    KnownPattern("cluster metadata changed by another", ("saveclustermetadata encountered version mismatch",)),
    KnownPattern("no poller", ("no poller",)),
    KnownPattern("version may not poll yet", ("not ready to process polls",)),
    KnownPattern("task of a closed workflow", ("workflow task not found", "activity task not found")),
    KnownPattern("task in the dead letter queue", ("task enqueued to dlq", "will send to dlq",
        "failed to write task to dlq"), level="warn"),
    KnownPattern("schedule missed", ("schedule missed catchup window", "buffer overrun")),
    KnownPattern("reservoir discard", ("reservoir discard", "discarded from reservoir",
        "discarding reservoir connection")),
    KnownPattern("SQLSTATE 40001", ("sqlstate 40001", "(40001)", "oc000", "oc001", "could not serialize access",
        "change conflicts with another transaction")),
    KnownPattern("rate limit", ("rate limit exceeded", "max qps reached", "rps limit exceeded", "rps limit reached", "resourceexhausted",
        "resource exhausted", "throttlingexception"), unless=("message larger than max", "larger than max (")),
    KnownPattern("message too large", ("message larger than max", "larger than max (")),
    KnownPattern("connection refused", ("connection refused",)),
    KnownPattern("connection timed out", ("i/o timeout", "connection timed out", "connect: operation timed out")),
    KnownPattern("connection lost", ("connection reset", "broken pipe", "bad connection", "unexpected eof",
        "use of closed network connection", "server closed the connection")),
    KnownPattern("no connection free", ("too many clients", "too many connections", "remaining connection slots",
        "connection pool exhausted")),
    KnownPattern("database locked", ("database is locked", "database table is locked", "sqlite_busy",
        "deadlock detected", "lock wait timeout", "lock timeout"), unless=("potential deadlock",)),
    KnownPattern("database call failed", ("persistent store operation failure",
        "persistent fetch operation failure", "operation failed with internal error"), level="warn"),
    KnownPattern("host not found", ("no such host", "produced zero addresses", "name resolver error")),
    KnownPattern("certificate or login refused", ("x509: ", "tls: ", "certificate has expired",
        "authentication failed", "access denied", "permission denied", "permissiondenied", "unauthenticated",
        "request unauthorized"), level="warn"),
    KnownPattern("disk full", ("no space left on device", "disk full", "database or disk is full",
        "read-only file system")),
    KnownPattern("task keeps failing", ("critical attempts processing", "critical error processing task",
        "critical failures processing"), level="warn"),
    KnownPattern("over a size limit", ("exceeds limit", "exceeds size limit", "history size exceeds",
        "history count exceeds"), level="warn"),
    KnownPattern("nondeterminism", ("nondeterminis", "non-determinis", "tmprl1100"), level="warn"),
    KnownPattern("panic", ("panic:", "panic recovered", "runtime error:", "fatal error:", "[panic]"), level="warn"),
)  # fmt: skip
"""The known patterns. A line counts for every pattern it matches."""


class PatternBook:
    """All patterns of a cluster: the known ones and the operator's own, which replace known ones of the same name."""

    def __init__(self, own: Sequence[KnownPattern] = ()) -> None:
        self.patterns = tuple({p.name: p for p in (*PATTERNS, *own)}.values())
        self._words = tuple((word, p.name) for p in self.patterns for word in p.words)
        self._by_regex = frozenset(p.name for p in self.patterns if p.regex is not None)

    def match(self, line: LogLine) -> tuple[str, ...]:
        """The names of all patterns the line matches."""
        lowered = line.text.lower()
        maybe = self._by_regex | {name for word, name in self._words if word in lowered}
        return tuple(p.name for p in self.patterns if p.name in maybe and p.matches(line, lowered)) if maybe else ()


def validate_regex(text: str) -> re.Pattern[str]:
    """The expression, compiled. Raises ValueError if it is invalid, matches everything, or could take very long on some
    line: Python's `re` backtracks, so at most two parts may repeat without a small bound, and a group with a repetition
    or an alternative must not repeat."""
    if len(text) > MAX_REGEX:
        raise ValueError(f"the regular expression is longer than {MAX_REGEX} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(text)
    except (re.error, Warning, RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
    if compiled.search(""):
        raise ValueError(f"{text!r} matches every line")
    if problem := _slow_because(text):
        raise ValueError(f"{text!r} could take very long on some line: {problem}")
    return compiled


_PIECES = re.compile(
    r"(?P<escape>\\(?:[1-9]\d*|.))|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\((?:\?(?:P<\w+>|[a-zA-Z-]*:))?)"
    r"|(?P<close>\))|(?P<repeat>[*+?]|\{\d*,?\d*\})|(?P<alternative>\|)|(?P<other>.)",
    re.DOTALL,
)
MAX_BOUND = 8


def _slow_because(text: str) -> str:
    """Why an expression may be slow on some line; empty if it is not."""
    unbounded = 0
    groups: list[bool] = [False]
    closed: bool | None = None
    for piece in _PIECES.finditer(text):
        kind, just_closed = piece.lastgroup, closed
        closed = None
        if kind == "open" and text.startswith(("(?=", "(?!", "(?<", "(?P=", "(?("), piece.start()):
            return "it looks ahead or behind, or refers back"
        if kind == "escape" and piece[0][1].isdigit():
            return "it refers back to a group"
        if kind == "open":
            groups.append(False)
        elif kind == "close" and len(groups) > 1:
            closed = groups.pop()
            groups[-1] = groups[-1] or closed
        elif kind == "alternative":
            groups[-1] = True
        elif kind == "repeat" and piece[0] != "?" and _max_repeats(piece[0]) > 1:
            if just_closed:
                return "a group repeats that holds a repetition or an alternative"
            unbounded += _max_repeats(piece[0]) > MAX_BOUND
            groups = [True] * len(groups)
    if unbounded > MAX_UNBOUNDED:
        return f"{unbounded} of its parts repeat without a small bound, {MAX_UNBOUNDED} may"
    return ""


def _max_repeats(repeat: str) -> float:
    if repeat in "*+":
        return float("inf")
    low, comma, high = repeat.strip("{}").partition(",")
    if not comma:
        return float(low or 0)
    return float(high) if high else float("inf")
