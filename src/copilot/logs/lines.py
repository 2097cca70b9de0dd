"""Log lines as they are counted: level, service, time and text. Lines without a known form are text without a level."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from whenever import Instant, OffsetDateTime

from copilot.logs.formats import LEVEL_KEYS, TIME_KEYS, Written, first_of, read_written

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
    **{"trace": 1, "notice": 2, "information": 2, "warning": WARN, "err": 4, "dpanic": 5, "panic": 5, "critical": 5},
    **{"crit": 5, "alert": 5, "emerg": 5, "emergency": 5, "d": 1, "i": 2, "w": WARN, "e": 4, "f": 5},
}
_ERRORS = ("error", "Error", "err")
_INSTEAD_OF_MESSAGE = ("component", "lifecycle", "shard-update")
_NO_COLON = re.compile(r"([+-]\d\d)(\d\d)$")
LEVEL_LABELS = ("level", "severity", "severity_text", "detected_level")
SERVICE_LABELS = (
    "app_kubernetes_io_component", "temporal_service", "component", "service", "container", "container_name",
    "k8s_container_name", "systemd_unit", "pod", "pod_name", "k8s_pod_name", "service_name", "app", "job", "filename",
)  # fmt: skip
UNNAMED = frozenset({"pod", "pod_name", "k8s_pod_name", "filename", "systemd_unit"})
"""Labels whose values change from pod to pod: a service is found in them, but they name none themselves."""
SERVICES = frozenset({"frontend", "internal-frontend", "history", "matching", "worker"})
_OF_TEMPORAL = re.compile(r"(?:^|[-_/])temporal[-_](internal-frontend|frontend|history|matching|worker)(?=[-_/.]|$)")


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
    return line_of(read_written(raw), time=time, labels=labels)


def line_of(written: Written, *, time: int | None = None, labels: Mapping[str, str] | None = None) -> LogLine | None:
    """See `parse_line`. Its own level, service and time go before those of its wrappers, those before the store's."""
    raw, fields = written.text, written.fields or {}
    if not fields and (not raw or raw.isspace() or raw[0] in " \t"):
        return None
    labels = {**(labels or {}), **written.labels} if written.labels else labels or {}
    level = _LEVEL_OF.get(first_of(fields, LEVEL_KEYS).lower(), NO_LEVEL)
    if level == NO_LEVEL:
        names = (written.level, *(labels.get(key, "") for key in LEVEL_LABELS))
        level = next((_LEVEL_OF[name.lower()] for name in names if name.lower() in _LEVEL_OF), NO_LEVEL)
    at = time if time is not None else first_of(fields, TIME_KEYS) or written.time
    text = _text(fields) or raw.rstrip()
    return LogLine(text[:MAX_TEXT], level, _service(fields, labels), at)


def _text(fields: Mapping[str, Any]) -> str:
    message = fields.get("msg")
    words = str(message if message is not None else fields.get("message", "")).strip()
    if not words or words == "none":  # what zap's wrapper writes for an empty message
        words = " ".join(str(fields[key]) for key in _INSTEAD_OF_MESSAGE if key in fields)
    if fields.get("addresses") in ([], "[]"):
        words += ": none"  # A ring without members; with some, their addresses are no text.
    if error := next((fields[key] for key in _ERRORS if fields.get(key)), None):
        return f"{words}: {error if isinstance(error, str) else json.dumps(error, default=str)}"
    return words


def _service(fields: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """`history` whether the line says so or its pod is `temporal-history-0`; a label's own value where no label names
    a service of Temporal's."""
    if found := first_of(fields, ("service",)):
        return _of_temporal(found) or found[:40]
    if "shard-id" in fields:
        return "history"
    if str(fields.get("component", "")).startswith("matching"):
        return "matching"
    there = {key: labels[key] for key in SERVICE_LABELS if labels.get(key)}
    names = (_of_temporal(value) or value for value in there.values())
    known = next((name for name in names if name in SERVICES), "")
    return known or next((value[:40] for key, value in there.items() if key not in UNNAMED), SERVER)


def _of_temporal(text: str) -> str:
    match = _OF_TEMPORAL.search(text)
    return match[1] if match else ""


def _instant(time: str | int) -> Instant | None:
    try:
        if isinstance(time, int):
            return Instant.from_timestamp(time, unit="nanosecond")
        text = _NO_COLON.sub(r"\1:\2", time.replace("Z", "+00:00"))
        return OffsetDateTime.parse_iso(text).to_instant()
    except ValueError:
        return None
