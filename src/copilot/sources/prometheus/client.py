"""Prometheus' HTTP API: instant and range queries, and their answers as samples and series."""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError

from copilot.errors import SourceError
from copilot.redaction.confusables import without_controls
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import PrometheusSettings
from copilot.sources.http import client, clock_ahead, fetch, one_line, status_error, unreadable

MAX_ANSWER_BYTES = 32_000_000
PARSE_INLINE_BYTES = 200_000
MAX_ERROR_BYTES = 4_000
MAX_VERSION_BYTES = 100_000
MAX_TIME_DIFFERENCE_SEC = 30.0
"""Between the time of a query and that of its answer: some servers round it."""
STYLE_WARNINGS = ("PromQL info:", "PromQL warning:")
"""Remarks on a query's style, which older servers send as warnings about a complete answer."""
COST_GUARD = "max_samples_processed_error_threshold"
"""Amazon's: a query that would read more samples is refused and not charged."""
_LIMIT = re.compile(r"samples|limit|threshold|exceed|too (many|large|long|costly)|timeout|timed out", re.IGNORECASE)
Points = dict[int, float]
"""Milliseconds since the epoch → value."""
Series = tuple[Mapping[str, str], Points]
T = TypeVar("T")


class PrometheusClient:
    """Instant and range queries to one Prometheus. The caller sets time limits.

    `ahead_sec`: how far its clock is ahead of this machine's, good to a second; None until it tells.
    SettingsError where a file of the settings cannot be used. `transport` is httpx's seam for tests."""

    def __init__(
        self,
        settings: PrometheusSettings,
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.http = client(settings, transport)
        self.http.event_hooks = {"response": [self._note_clock]}
        self.ahead_sec: float | None = None
        self._base = f"{settings.url.rstrip('/')}/api/v1"
        self._parameters = {COST_GUARD: str(settings.max_samples)} if settings.sigv4 else {}
        # VictoriaMetrics answers with data of half a minute ago, or of a cache, without this; others do not know it.
        self._options = {} if settings.sigv4 else {"nocache": "1"}
        self._max_bytes = max_bytes
        url = httpx.URL(self._base)
        self.origin = f"{url.scheme}://{url.netloc.decode()}"

    async def _note_clock(self, response: httpx.Response) -> None:
        self.ahead_sec = clock_ahead(response.headers.get("date", ""), time.time())

    async def query(self, query: str, at: int) -> list[Series]:
        """The vector of a query at a time (milliseconds since the epoch): series of one value each, at that time.

        Raises SourceError: refused connections, redirects and 5xx target_down, 401 and 403 forbidden, 404 absent, 429,
        incomplete and too large answers dropped, unreadable answers and those of another time parse."""
        return await self._post("query", {"query": query, "time": f"{at / 1000:.3f}"}, partial(samples, at=at))

    async def query_range(self, query: str, times: range) -> list[Series]:
        """The series of a query at these times (milliseconds since the epoch), as instant queries would give them.

        Raises SourceError as `query` does, and when the answer has other times."""
        span = {"start": f"{times[0] / 1000:.3f}", "end": f"{times[-1] / 1000:.3f}", "step": f"{times.step / 1000:g}"}
        found = await self._post("query_range", {"query": query, **span}, series)
        if any(time not in times for _, points in found for time in points):
            raise unreadable("the answer has other times than the query: does a proxy align steps?")
        return found

    async def query_samples(self, query: str, at: int) -> list[Series]:
        """The samples that a range selector (`x[5m]`) finds before a time, at their own times. Raises SourceError as
        `query` does."""
        return await self._post("query", {"query": query, "time": f"{at / 1000:.3f}"}, series)

    async def version(self) -> str:
        """The server's version; empty where it does not say, as some kinds of Prometheus."""
        try:
            answer, _ = await self._fetch("GET", f"{self._base}/status/buildinfo", max_bytes=MAX_VERSION_BYTES)
            return str(json.loads(answer)["data"].get("version", ""))
        except (SourceError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return ""

    async def _post(self, kind: str, form: Mapping[str, str], read: Callable[[bytes, str], T]) -> T:
        """Sent by POST, because a URL's length is limited and a query's is not."""
        url = httpx.URL(f"{self._base}/{kind}").copy_merge_params(self._parameters)
        answer = await self._fetch("POST", url, max_bytes=self._max_bytes, data={**form, **self._options})
        if len(answer[0]) > PARSE_INLINE_BYTES:
            return await asyncio.to_thread(read, *answer)
        return read(*answer)

    async def _fetch(self, method: str, url: httpx.URL | str, **request: Any) -> tuple[bytes, str]:
        headers = {"Accept": "application/json"}
        return await fetch(
            self.http, method, url, refusal=_refusal, error_bytes=MAX_ERROR_BYTES, headers=headers, **request
        )


class _Entry(BaseModel):
    """A sample or a series of an answer."""

    metric: dict[str, str]
    value: tuple[float, float] = (math.nan, math.nan)
    values: list[tuple[FiniteFloat, float]] = []


_ENTRIES = TypeAdapter(list[_Entry])


def samples(text: bytes, kind: str = "application/json", *, at: int) -> list[Series]:
    """The samples of an answer for the time `at`, as series. SourceError (parse, dropped) for anything but a whole
    vector of that time."""
    entries = _entries(text, kind, "vector")
    if any(not abs(entry.value[0] - at / 1000) <= MAX_TIME_DIFFERENCE_SEC for entry in entries):
        raise unreadable("the answer is of another time than the query: does a proxy cache answers?")
    return [(entry.metric, {at: entry.value[1]}) for entry in entries]


def series(text: bytes, kind: str = "application/json") -> list[Series]:
    """The series of an answer. SourceError (parse, dropped) for anything but a whole matrix."""
    entries = _entries(text, kind, "matrix")
    return [(entry.metric, {round(time * 1000): value for time, value in entry.values}) for entry in entries]


def _entries(text: bytes, kind: str, wanted: str) -> list[_Entry]:
    if not text.strip():
        raise unreadable("the answer is empty")
    if "html" in kind or text.lstrip()[:1] == b"<":
        raise unreadable("HTML instead of JSON: is this the address of a Prometheus API?")
    try:
        answer: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable("the answer is not complete JSON") from error
    if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
        raise unreadable("the answer has no status: this is not a Prometheus API")
    if answer["status"] == "error":
        raise unreadable(f"status: error, {_error_text(answer)}")
    warnings = answer.get("warnings") or []
    serious = [str(w) for w in warnings if not str(w).startswith(STYLE_WARNINGS)] if isinstance(warnings, list) else []
    if answer.get("isPartial") is True:  # VictoriaMetrics, where a vmstorage does not answer
        serious.append("isPartial")
    if serious:
        raise SourceError(MissingCode.DROPPED, f"the answer is incomplete: {one_line(serious[0])}")
    data = answer.get("data")
    found = data.get("resultType") if isinstance(data, dict) else None
    if not isinstance(data, dict) or found != wanted:
        raise unreadable(f"a {wanted} was expected, the answer is a {found}" if found else "the answer has no data")
    try:
        entries = _ENTRIES.validate_python(data.get("result"))
    except ValidationError as error:
        raise unreadable(f"the {wanted} has entries that are not samples") from error
    if b"\\ud" in text or b"\\uD" in text:  # Lone surrogates could not be sent in the next query.
        for entry in entries:
            entry.metric = {without_controls(k): without_controls(v) for k, v in entry.metric.items()}
    return entries


def _refusal(response: httpx.Response, start: bytes) -> SourceError:
    try:
        text = _error_text(json.loads(start))
    except (ValueError, RecursionError):
        plain = response.headers.get("content-type", "").startswith("text/plain")
        text = one_line(start.decode(errors="replace")) if plain and not start.lstrip().startswith(b"<") else ""
    error = status_error(response, text, expected="Prometheus API")
    if response.status_code == 413 or (error.code is MissingCode.PARSE and _LIMIT.search(text)):
        limit = "max_samples" if COST_GUARD in response.request.url.params else "the server's limit"
        advice = f"narrow selector, shorten window_sec, or raise {limit}"
        return SourceError(MissingCode.DROPPED, f"{error.detail}: {advice}")
    return error


def _error_text(answer: Any) -> str:
    """The explanation in a JSON error: Prometheus' `error`, AWS' `message`; empty without one."""
    if not isinstance(answer, dict):
        return ""
    return one_line(str(answer.get("error") or answer.get("message") or answer.get("Message") or ""))
