"""Lines of a Temporal server's log: level, service, time and text, in every format the server writes.

Server 1.32 writes four: JSON by zap (`ts`, `level`, `msg`), JSON by slog (`time`, `level`, `msg`; dev server), zap's
console (tabs, the fields as JSON at the end), and slog's text (`key=value`). Other lines are text without a level.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from whenever import Instant, OffsetDateTime

LevelName: TypeAlias = Literal["", "debug", "info", "warn", "error", "fatal"]
LEVELS: Final[tuple[LevelName, ...]] = ("", "debug", "info", "warn", "error", "fatal")
"""From the lowest to the worst; the first is for lines without a level."""
NO_LEVEL, WARN = 0, LEVELS.index("warn")
MAX_LINE_BYTES = 64_000
MAX_TEXT = 2_000
"""Characters of a line's text that are used."""
SERVER = "server"
_LEVEL_OF: Mapping[str, int] = {
    **{name: number for number, name in enumerate(LEVELS) if name},
    **{"trace": 1, "warning": WARN, "dpanic": 5, "panic": 5, "critical": 5},
}
_SLOG = re.compile(r'([A-Za-z_][\w.\-]*)=("(?:[^"\\]|\\.)*"|\S*)')
_CONSOLE = re.compile(r"^(\d{4}-\d\d-\d\dT\S+)\t([A-Za-z]+)\t")
_ERRORS = ("error", "Error", "err")
_INSTEAD_OF_MESSAGE = ("component", "lifecycle", "shard-update")
_NO_COLON = re.compile(r"([+-]\d\d)(\d\d)$")
_SERVICE_LABELS = ("service", "temporal_service", "component", "container", "service_name", "app", "job")


@dataclass(frozen=True, slots=True)
class LogLine:
    """`text`: the message, followed by the error where there is one. `level`: an index of LEVELS. `time`: as written in
    the line, or nanoseconds since the epoch from the log store; empty: unknown."""

    text: str
    level: int = NO_LEVEL
    service: str = SERVER
    time: str | int = ""

    def when(self, otherwise: Instant) -> Instant:
        """Its time; `otherwise` if it has none, has one without a zone, or a later one."""
        return min(_instant(self.time) or otherwise, otherwise)


def parse_line(raw: str, *, time: int | None = None, labels: Mapping[str, str] | None = None) -> LogLine | None:
    """A line of a file, or of a log store with its time in nanoseconds and its stream's labels. None for an empty line,
    and for one that continues the line before (a stack trace)."""
    if not raw or raw.isspace() or raw[0] in " \t":
        return None
    fields = _fields(raw)
    service = next((labels[key][:40] for key in _SERVICE_LABELS if labels.get(key)), SERVER) if labels else SERVER
    if fields is None:
        return LogLine(raw.rstrip()[:MAX_TEXT], NO_LEVEL, service, time if time is not None else "")
    level = _LEVEL_OF.get(str(fields.get("level", "")).lower(), NO_LEVEL)
    written = time if time is not None else str(fields.get("ts") or fields.get("time") or "")
    return LogLine(_text(fields)[:MAX_TEXT], level, _service(fields, service), written)


def parse_lines(raw_lines: Iterable[bytes]) -> Iterator[LogLine]:
    """The log lines among the lines of a file; bytes after the first 64,000 of a line are ignored."""
    for raw in raw_lines:
        if line := parse_line(raw[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip("\r\n")):
            yield line


def _fields(raw: str) -> Mapping[str, Any] | None:
    if raw[0] == "{":
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) and ("msg" in found or "message" in found) else None
    if console := _CONSOLE.match(raw):
        return _console(raw, console)
    if raw.startswith("time=") and " level=" in raw[:80]:
        return {key: _unquoted(value) for key, value in _SLOG.findall(raw)}
    return None


def _console(raw: str, head: re.Match[str]) -> Mapping[str, Any]:
    """`time level [logger] message [{fields}]`; zap omits what is empty."""
    words = raw[head.end() :].rstrip("\n").split("\t")
    fields: dict[str, Any] = {}
    if words[-1].startswith("{"):
        with suppress(ValueError, RecursionError):
            fields = dict(json.loads(words[-1]))
            words.pop()
    return {**fields, "ts": head[1], "level": head[2], "msg": " ".join(words)}


def _unquoted(value: str) -> str:
    with suppress(ValueError):
        return str(json.loads(value)) if value.startswith('"') else value
    return value.strip('"')


def _text(fields: Mapping[str, Any]) -> str:
    message = fields.get("msg")
    words = str(message if message is not None else fields.get("message", "")).strip()
    if not words or words == "none":  # what zap's wrapper writes for an empty message
        words = " ".join(str(fields[key]) for key in _INSTEAD_OF_MESSAGE if key in fields)
    if fields.get("addresses") == []:
        words += ": none"  # A ring without members; with some, their addresses are no text.
    if error := next((fields[key] for key in _ERRORS if fields.get(key)), None):
        return f"{words}: {error if isinstance(error, str) else json.dumps(error, default=str)}"
    return words


def _service(fields: Mapping[str, Any], otherwise: str) -> str:
    if isinstance(found := fields.get("service"), str) and found:
        return found[:40]
    matching = str(fields.get("component", "")).startswith("matching")
    return "history" if "shard-id" in fields else "matching" if matching else otherwise


def _instant(time: str | int) -> Instant | None:
    try:
        if isinstance(time, int):
            return Instant.from_timestamp(time, unit="nanosecond")
        text = _NO_COLON.sub(r"\1:\2", time.replace("Z", "+00:00"))
        return OffsetDateTime.parse_iso(text).to_instant()
    except ValueError:
        return None
