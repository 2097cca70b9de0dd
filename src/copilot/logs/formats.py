"""How a log line is written: by the server or another Go program, and wrapped by whatever collected it.

Server 1.32 writes JSON by zap (`ts`, `level`, `msg`), JSON by slog (`time`, `level`, `msg`; dev server), zap's console
(tabs, the fields as JSON at the end), and slog's text (`key=value`). Collectors wrap lines: the kubelet (CRI), Docker
and Fluent Bit (`log`), the OpenTelemetry collector (`body`), promtail's `pack` stage (`_entry`), logcli (`line`),
journald (`MESSAGE`) and Google Cloud (`jsonPayload`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

LEVEL_KEYS: Final = (
    "level", "severity", "lvl", "log.level", "severity_text", "severityText", "SeverityText", "severityNumber",
    "severity_number", "SeverityNumber", "PRIORITY",
)  # fmt: skip
_LEVELS = ("", "debug", "debug", "info", "warn", "error", "fatal")
_SYSLOG = {2: "fatal", 3: "error", 4: "warn", 6: "info", 7: "debug"}
"""Of its numbers, those that OpenTelemetry does not use for something else: it has few lines of 2 to 4 and 6 to 8."""
TIME_KEYS: Final = ("ts", "time", "timestamp", "@timestamp")
MAX_WRAPPERS = 4
MAX_PREFIX = 200
DOCKER_PIECE = 16_000
"""Docker cuts lines into pieces of 16 KiB; only the last one ends with a line feed."""

_COLOR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_CRI = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP])(?::\w+)* ?")
_WRAPPED = ("log", "body", "Body", "_entry", "log_processed", "line", "MESSAGE", "jsonPayload", "textPayload")
_WHERE = ("kubernetes", "resources", "resource", "Resource", "attributes", "labels")
_NAMED = ("container_name", "container", "pod", "pod_name", "service_name", "_SYSTEMD_UNIT", "CONTAINER_NAME")
"""What wrappers say of a line's origin beside it."""
_KEY = re.compile(r"\W")
_LOGFMT = re.compile(r'([A-Za-z_][\w.\-]*)=("(?:[^"\\]|\\.)*(?:"|$)|\S*)')
_LOGFMT_START = re.compile(r"[A-Za-z_][\w.\-]*=")
_CONSOLE = re.compile(r"(\d{4}-\d\d-\d\dT\S+|\d\.\d+e\+\d\d|\d{10}(?:\.\d+)?)\t([A-Za-z]+)\t")
_CALLER = re.compile(r"\S+\.go:\d+")
_KLOG = re.compile(r"([DIWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^\s\]]+:\d+\] ")
_KLOG_LEVELS = {"D": "debug", "I": "info", "W": "warn", "E": "error", "F": "fatal"}
_KLOG_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")(?: |$)')
_NAMES = "TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL"
_WORDED = re.compile(
    r"(?:\[?(\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[^\s\]]*)\]?\s+)?"
    rf"(?:\[?({_NAMES})\b\]?(?!\.)[:\s]\s*|\[((?i:{_NAMES}))\]:?\s+)(?=\S)"
)
_DATED = re.compile(r"\[?(\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[^\s\]]*)\]?\s+(?=\S)")
_CUT = {
    "level": re.compile(r'"(?:level|severity)"\s*:\s*"(\w+)"'),
    "msg": re.compile(r'"(?:msg|message)"\s*:\s*"((?:[^"\\]|\\.)+)'),
    "error": re.compile(r'"error"\s*:\s*"((?:[^"\\]|\\.)+)'),
    "service": re.compile(r'"service"\s*:\s*"([\w-]+)"'),
}


@dataclass(slots=True)
class Written:
    """A line without its wrappers. `fields`: what it says by name, None for plain text; `time`, `level` and `labels`:
    what its wrappers say. `wrapper`: the last one, and of which stream; `partial`: the next line in such a wrapper
    continues it."""

    text: str
    fields: Mapping[str, Any] | None = None
    time: str = ""
    level: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    wrapper: str = ""
    partial: bool = False


def read_written(raw: str) -> Written:
    """The line that was written, whichever wrappers are around it."""
    line = Written(raw)
    for _ in range(MAX_WRAPPERS):
        if "\x1b" in line.text:
            line.text = _COLOR.sub("", line.text)
        if not _unwrap(line):
            break
    if line.fields is None and not line.partial:
        line.fields = _fields(line.text)
    return line


def first_of(fields: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The first of these that is a text and not empty, or a level by its number."""
    for key in keys:
        if (value := fields.get(key)) and isinstance(value, str) and not (keys is LEVEL_KEYS and value.isdigit()):
            return value
        if keys is LEVEL_KEYS and value is not None and (name := _level_name(key, value)):
            return name
    return ""


def _level_name(key: str, value: object) -> str:
    """The level of a number: OpenTelemetry's (1 to 24), syslog's (0 to 7), or pino's and bunyan's (10 to 60)."""
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, str) and value.isdecimal())):
        return ""
    number = int(str(value)[:9])
    if key == "PRIORITY" or (key == "severity" and number < 9):
        return _SYSLOG.get(number, "fatal" if key == "PRIORITY" and number < 2 else "")
    if key == "level":
        return _LEVELS[number // 10] if number % 10 == 0 and number <= 60 else ""
    return _LEVELS[(number + 3) // 4] if number <= 24 else ""


def _unwrap(line: Written) -> bool:
    """Take one wrapper off; False without one."""
    if cri := _CRI.match(line.text):
        line.wrapper, line.time, line.partial, line.text = cri[2], cri[1], cri[3] == "P", line.text[cri.end() :]
        return True
    if (outer := _json(line.text)) is None:
        return False
    inner = None
    if "msg" not in outer:
        inner = next((outer[key] for key in _WRAPPED if isinstance(outer.get(key), str | dict)), None)
        if isinstance(inner, dict):
            inner = _otlp(inner)
        if (isinstance(inner, dict) and not _is_line(inner)) or (isinstance(inner, str) and "message" in outer):
            inner = None
        if inner is None and isinstance(message := outer.get("message"), str) and _json(message):
            inner = message
    if inner is None:
        line.fields = outer if _is_line(outer) else None
        line.labels |= dict(_labels(outer))
        return False
    line.time = first_of(outer, TIME_KEYS) or line.time
    line.level = first_of(outer, LEVEL_KEYS) or line.level
    line.labels |= dict(_labels(outer))
    if isinstance(inner, dict):
        line.fields = inner
        return False
    line.wrapper = f"JSON {first_of(outer, ('stream',))}"
    line.partial = first_of(outer, ("logtag", "_p")) == "P" or _is_piece(inner)
    line.text = inner.rstrip("\r\n")
    return True


def _is_piece(text: str) -> bool:
    return 4 * len(text) >= DOCKER_PIECE and text[-1] != "\n" and len(text.encode(errors="replace")) >= DOCKER_PIECE


def _otlp(value: Any) -> Any:
    """The value in OTLP's JSON, such as {"stringValue": "x"}; any other as it is."""
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        if kind == "stringValue":
            return inner
        if kind == "kvlistValue" and isinstance(inner, dict):
            return _pairs(inner.get("values"))
    return value


def _pairs(found: Any) -> dict[str, Any]:
    """Names and values of OTLP's list of them."""
    items = found if isinstance(found, list) else []
    return {str(i["key"]): _otlp(i["value"]) for i in items if isinstance(i, dict) and {"key", "value"} <= i.keys()}


def _labels(outer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a wrapper says of the pod, by names as Loki has them: `kubernetes.labels["app.kubernetes.io/component"]`
    is app_kubernetes_io_component."""
    yield from ((name.lower().strip("_"), value) for name in _NAMED if isinstance(value := outer.get(name), str))
    for key in _WHERE:
        found = outer.get(key)
        if isinstance(found := _pairs(found) if isinstance(found, list) else found, dict):
            yield from ((_KEY.sub("_", str(name)), value) for name, value in found.items() if isinstance(value, str))
            yield from _labels({"labels": found.get("labels")})


def _json(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        return found if isinstance(found, dict) else None
    return None


def _is_line(found: Mapping[str, Any]) -> bool:
    return not found.keys().isdisjoint(("msg", "message", *LEVEL_KEYS))


def _fields(text: str) -> Mapping[str, Any] | None:
    if text.startswith("{"):
        found = _json(text)
        return (found if _is_line(found) else None) if found is not None else _cut(text)
    if console := _CONSOLE.match(text):
        return _console(text, console)
    if klog := _KLOG.match(text):
        return _klog(text[klog.end() :], _KLOG_LEVELS[klog[1]])
    if _LOGFMT_START.match(text):
        found = {key: _unquoted(value) for key, value in _LOGFMT.findall(text)}
        return found if first_of(found, LEVEL_KEYS) else None
    if (start := text.find('{"', 0, MAX_PREFIX)) > 0 and text.endswith("}"):
        found = _json(text[start:])  # behind what `kubectl logs`, `docker compose logs` or journald put before it
        if found is not None and "msg" in found and first_of(found, LEVEL_KEYS):
            return found
    if worded := _WORDED.match(text):
        return {"ts": worded[1] or "", "level": worded[2] or worded[3], "msg": text[worded.end() :]}
    if dated := _DATED.match(text):
        return {"ts": dated[1], "msg": text[dated.end() :]}
    return None


def _cut(text: str) -> Mapping[str, Any] | None:
    """What is left of JSON that somebody cut off."""
    found = {key: match[1] for key, pattern in _CUT.items() if (match := pattern.search(text))}
    for name in found.keys() & {"msg", "error"}:
        found[name] = _unquoted(f'"{found[name]}"')
    return found if "level" in found else None


def _console(text: str, head: re.Match[str]) -> Mapping[str, Any]:
    """`time level [logger] message [{fields}]`; zap omits what is empty."""
    words = text[head.end() :].rstrip("\n").split("\t")
    fields: dict[str, Any] = {}
    if words[-1].startswith("{"):
        with suppress(ValueError, RecursionError):
            fields = dict(json.loads(words[-1]))
            words.pop()
    if len(words) > 1 and _CALLER.fullmatch(words[0]):
        del words[0]
    return {**fields, "ts": head[1], "level": head[2], "msg": " ".join(words)}


def _klog(text: str, level: str) -> Mapping[str, Any]:
    """klog's plain message, or its quoted message with fields."""
    if quoted := _KLOG_QUOTED.match(text):
        fields = {key: _unquoted(value) for key, value in _LOGFMT.findall(text, quoted.end())}
        return {**fields, "level": level, "msg": _unquoted(quoted[1])}
    return {"level": level, "msg": text}


def _unquoted(value: str) -> str:
    with suppress(ValueError):
        return str(json.loads(value)) if value.startswith('"') else value
    return value.strip('"')
