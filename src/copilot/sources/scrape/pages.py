"""Metrics pages: one GET of a page, and its parser.

What one page may cost is bounded: no step over a whole page takes long, what is remembered does not grow with every
page, and what no Temporal process writes is left out and said."""

import re

import httpx

from copilot.errors import SourceError
from copilot.metrics.window import Page, Series, TargetScrapes
from copilot.rules.signals.readings import MissingCode
from copilot.sources import time_limit
from copilot.sources.http import fetch, status_error, system_trust, unreadable
from copilot.telemetry.spans import SourceClient

MAX_PAGE_BYTES = 32_000_000
MAX_LINES = 1_000_000
MAX_SERIES = 150_000
"""That are read, of a page and those of the window before it. Above two thirds of it, old ones are forgotten first."""
MAX_NAMES = 20_000
"""Names of other families that are remembered as such."""
MAX_LINE, MAX_VALUE, MAX_LABELS = 65_536, 4_096, 64
"""Characters of a line and of a label's value, and labels of a series: longer lines are left out."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def page_client(*urls: str) -> httpx.AsyncClient:
    """A client for pages at these URLs, without time limits."""
    return SourceClient("metrics", own_traces=True, verify=system_trust(*urls))


async def fetch_page(
    client: httpx.AsyncClient, url: httpx.URL | str, *, timeout_sec: float, max_bytes: int = MAX_PAGE_BYTES
) -> bytes:
    """The page's bytes. Raises SourceError: refused connections and 5xx target_down, no whole answer in time timeout,
    401 and 403 forbidden, 404 absent, HTML and broken answers parse, 429 and more than `max_bytes` dropped."""
    headers = {"Accept": "text/plain;version=0.0.4"}
    if httpx.URL(url).host in _LOOPBACK:
        headers["Accept-Encoding"] = "identity"
    async with time_limit(timeout_sec):
        body, kind = await fetch(
            client, "GET", url, refusal=_refusal, max_bytes=max_bytes, what="page", headers=headers
        )
    if "html" in kind:
        raise unreadable("HTML instead of metrics")
    return body


def _refusal(response: httpx.Response, _: bytes) -> SourceError:
    return status_error(response, expected="metrics page", bad_request=MissingCode.TARGET_DOWN)


_SUM = re.compile(rb"\w+_sum(?:\{.*\})? (?!0(?:\.0*)?$).+")
ENOUGH_SUMS = 5


def sums(body: bytes) -> frozenset[int]:
    """The page's sums of durations, which no two processes have in common."""
    lines = (line for line in body.split(b"\n") if b"_sum" in line and len(line) <= MAX_LINE)
    return frozenset(hash(line) for line in lines if _SUM.fullmatch(line))


def same_process(one: frozenset[int], other: frozenset[int]) -> bool:
    """Whether two pages read at the same time, by their sums, are of one process: most of its sums stand still for the
    moment between the two reads."""
    return len(one & other) >= max(ENOUGH_SUMS, min(len(one), len(other)) / 2)


_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\\n]|\\.)*)"[ \t]*(,|(?=\}))')
_END = re.compile(r"[ \t]*\}")
_QUOTED = re.compile(r'\{[ \t]*"(?:[^"\\\n]|\\.)*"[ \t]*[,}]')  # UTF-8 names; none of ours
_ESCAPE = re.compile(r'\\([\\"n])')
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE)
_TIMESTAMP = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
FAR_SEC = 300.0
"""A sample that is farther from now by its own timestamp (milliseconds) is not of now. Prometheus looks back as far."""


class PageParser:
    """Reads the pages of one target. Not safe for two threads at once."""

    def __init__(self, target: TargetScrapes, *, max_series: int = MAX_SERIES) -> None:
        self._target = target
        self._wanted: dict[str, bool] = {}
        self._max_series = max_series
        self._left_out: list[str] = []

    @property
    def left_out(self) -> str:
        """Which lines of the newest page were left out, and why; empty if none were."""
        more = f" (and {len(self._left_out) - 1} more lines)" if len(self._left_out) > 1 else ""
        return f"{self._left_out[0]}: left out{more}" if self._left_out else ""

    def parse(self, body: bytes, now: float | None = None) -> Page:
        """The wanted samples of a page; the first one of a series that occurs twice. Raises SourceError: parse, also
        for a sample that is of another time than `now` (unix seconds; None: of any time), and dropped where the page
        or what it has is over a limit."""
        self._left_out = []
        if len(self._wanted) >= MAX_NAMES or not self._wanted:
            self._wanted = dict.fromkeys(self._target.known_names, True)
        if self._target.remembered > self._max_series * 2 // 3:
            self._target.forget()
        if len(body) > MAX_PAGE_BYTES:
            raise _too_much(f"is larger than {MAX_PAGE_BYTES / 1e6:g} MB")
        if body.count(b"\n") > MAX_LINES:
            raise _too_much(f"has more than {MAX_LINES:,} lines")
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise unreadable(f"byte {error.start} is not UTF-8") from error
        lines = text.split("\n")
        if lines.pop():
            raise unreadable(_cut_or_html(text))
        if _has_long_line(text):
            for number, line in enumerate(lines, 1):
                if len(line) > MAX_LINE:
                    self._left_out.append(f"line {number} is over {MAX_LINE // 1024} KB")
                    lines[number - 1] = ""
        page: Page = {}
        wanted, known = self._wanted, self._target.parsed
        for number, line in enumerate(lines, 1):
            verdict = wanted.get(line[: line.find("{")])
            if verdict is False:
                continue
            end = line.rfind("}") + 1
            series = known.get(line[:end]) if verdict else None
            rest = line[end:]
            if series is None:
                found = self._learn(line, number)
                if found is None:
                    continue
                series, rest = found
            try:
                value = float(rest)
            except ValueError:
                value = _value(rest, number, now)
            else:
                if "_" in rest or not rest.isascii():
                    raise unreadable(f"line {number} has no number for its value")
            if series not in page:
                page[series] = value
        return page

    def _learn(self, line: str, number: int) -> tuple[Series, str] | None:
        """The series of a line that was not parsed before, and the text after it; None where it is not wanted."""
        stripped = line.lstrip(" \t")
        if not stripped.strip() or stripped.startswith("#") or _QUOTED.match(stripped):
            return None
        name = _NAME.match(stripped)
        if name is None:
            raise unreadable(_cut_or_html(stripped) if stripped.startswith("<") else f"line {number} is not a sample")
        after_name = stripped[name.end() :]
        rest = after_name.lstrip(" \t")
        if not rest or after_name[0] not in "{ \t":
            raise unreadable(f"line {number} is not a sample")
        raw = name.group()
        if raw not in self._target.known_names:
            if len(self._wanted) < MAX_NAMES:
                self._wanted[raw] = False
            return None
        if self._target.remembered >= self._max_series:
            raise _too_much(f"has, with those before it, more than {self._max_series:,} series that are read")
        if not rest.startswith("{"):
            return self._target.intern(raw, {}), rest
        labels, after = _labels(rest, number)
        if len(labels) > MAX_LABELS or (
            len(line) > MAX_VALUE and max(map(len, labels.values()), default=0) > MAX_VALUE
        ):
            large = f"over {MAX_LABELS} labels" if len(labels) > MAX_LABELS else f"a label over {MAX_VALUE // 1024} KB"
            self._left_out.append(f"line {number} has {large}")
            return None
        series = self._target.intern(raw, labels)
        key = line[: len(line) - len(after)]
        if key == line[: line.rfind("}") + 1]:
            series.line = series.line or key
            self._target.parsed[series.line if series.line == key else key] = series
        return series, after


def _labels(text: str, number: int) -> tuple[dict[str, str], str]:
    """The labels of `{…} rest`, and the rest."""
    labels: dict[str, str] = {}
    position = 1
    while not (end := _END.match(text, position)):
        label = _LABEL.match(text, position)
        if label is None:
            raise unreadable(f"line {number} has labels that cannot be read")
        name, value, _ = label.groups()
        if name in labels:
            raise unreadable(f"line {number} names the label {name} twice")
        labels[name] = _ESCAPE.sub(lambda m: _ESCAPED[m.group(1)], value) if "\\" in value else value
        position = label.end()
    return {k: v for k, v in labels.items() if v}, text[end.end() :]


def _value(rest: str, number: int, now: float | None) -> float:
    """The number in `value`, `value timestamp` or either with an exemplar after it."""
    fields = rest.split("#", 1)[0].split()
    if not 1 <= len(fields) <= 2 or not _NUMBER.fullmatch(fields[0]):
        raise unreadable(f"line {number} has no number for its value")
    if len(fields) == 2 and not _TIMESTAMP.fullmatch(fields[1]):
        raise unreadable(f"line {number} has no number for its timestamp")
    if len(fields) == 2 and now is not None and abs(off := float(fields[1]) / 1000 - now) > FAR_SEC:
        raise unreadable(f"line {number} is of another time: its timestamp is {abs(off):.0f} s {_side(off)} this clock")
    return float(fields[0])


def _has_long_line(text: str) -> bool:
    """Whether a line is over the limit, in one step per 64 KB."""
    start = 0
    while len(text) - start > MAX_LINE:
        if (end := text.rfind("\n", start, start + MAX_LINE + 1)) < 0:
            return True
        start = end + 1
    return False


def _too_much(what: str) -> SourceError:
    return SourceError(MissingCode.DROPPED, f"the page {what}, the limit for one page")


def _side(seconds: float) -> str:
    return "ahead of" if seconds > 0 else "behind"


def _cut_or_html(text: str) -> str:
    if text.lstrip().startswith("<"):
        return "HTML instead of metrics"
    return "the page ends in the middle of a line"
