"""Loki's HTTP API: the lines of a time range, oldest first, page after page (`GET /loki/api/v1/query_range`).

A range holds its start and not its end, in nanoseconds. A full page may have been cut within a nanosecond, so the next
one begins at the last line's time, and what was read of that time is known by its digest.
"""

import asyncio
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError
from whenever import Instant

from copilot.errors import SourceError
from copilot.logs.lines import parse_line
from copilot.rules.signals.readings import Missing, MissingCode
from copilot.settings.sources import LokiSettings
from copilot.sources.complaints import Complaints
from copilot.sources.logs.base import Cursor, LogBatch
from copilot.sources.prometheus.client import client
from copilot.sources.scrape.pages import ENCODING, beginning, body, failed

log = logging.getLogger(__name__)

NS = 1_000_000_000
MAX_ANSWER_BYTES = 64_000_000
MOST_PAGES = 10
MOST_BEHIND_SEC = 600.0
_LIMIT = re.compile(r"max entries limit.*\(\d+ > (\d+)\)")


class LokiCursor(BaseModel):
    """All lines before `at` (nanoseconds) were read, and of that very time those with these digests."""

    at: int
    seen: list[str] = []


@dataclass(frozen=True, slots=True)
class Entry:
    """One line with its time in nanoseconds and its stream's labels."""

    at: int
    line: str
    labels: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Tells two lines of one nanosecond apart; Loki itself keeps only one of two that agree in all this."""
        return hashlib.sha256(json.dumps([self.labels, self.line], sort_keys=True).encode()).hexdigest()[:16]


class LokiLogs:
    """The lines a query selects. SettingsError where the settings name files that cannot be used."""

    def __init__(
        self,
        settings: LokiSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = httpx.URL(f"{settings.url.rstrip('/')}/loki/api/v1/query_range")
        self._query = settings.query
        self._headers = {"X-Scope-OrgID": settings.tenant} if settings.tenant else {}
        self._limit = settings.max_entries
        self._delay_ns = int(settings.delay_sec * NS)
        self._client = client(settings, transport)
        self._clock = clock
        self._complaints = Complaints(log)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read(self, cursor: Cursor | None, now: Instant, deadline_sec: float) -> LogBatch:
        """See `LogSource.read`. What did not come before the deadline comes with the next reading; a backlog of more
        than ten minutes is passed over."""
        end = now.timestamp(unit="nanosecond") - self._delay_ns
        known = _known(cursor)
        if known is None:
            return LogBatch(LokiCursor(at=end).model_dump())
        passed_over: Missing | None = None
        if (behind := (end - known.at) / NS) > MOST_BEHIND_SEC:
            detail = f"{behind / 60:.0f} minutes of logs were passed over: they were not read in time"
            passed_over = Missing(code=MissingCode.DROPPED, detail=detail)
            known = LokiCursor(at=end - int(MOST_BEHIND_SEC * NS))
        entries: list[Entry] = []
        after, missing = await self._pages(known, end, self._clock() + deadline_sec, entries)
        missing = missing or passed_over
        if missing is not None:
            self._complaints.say("logs of %s: %s", self._url.host, missing.detail)
        if after == known and end > known.at:
            return LogBatch(known.model_dump(), missing=missing, read=False)
        lines = [read for e in entries if (read := parse_line(e.line, time=e.at, labels=e.labels))]
        return LogBatch(after.model_dump(), lines, max(0.001, (after.at - known.at) / NS), missing)

    async def _pages(
        self, known: LokiCursor, end: int, until: float, entries: list[Entry]
    ) -> tuple[LokiCursor, Missing | None]:
        """Read on to `end` as far as time allows; how far that was, and what went wrong."""
        at = known
        for _ in range(MOST_PAGES):
            if at.at >= end:
                return at, None
            try:
                async with asyncio.timeout(max(0.0, until - self._clock())):
                    page, full = await self._page(at.at, end)
            except TimeoutError:
                return at, Missing(code=MissingCode.TIMEOUT, detail="the logs did not come before the deadline")
            except SourceError as error:
                return at, Missing(code=error.code, detail=error.detail)
            seen = set(at.seen)
            fresh = sorted((e for e in page if e.at > at.at or e.digest not in seen), key=lambda e: e.at)
            entries += fresh
            if not full or not page:
                return LokiCursor(at=end), None
            last = max(e.at for e in page)
            if last == at.at and not fresh:
                at = LokiCursor(at=last + 1)
                detail = f"more than {self._limit} lines bear one nanosecond: not all were read"
                return at, Missing(code=MissingCode.DROPPED, detail=detail)
            same = {e.digest for e in page if e.at == last}
            at = LokiCursor(at=last, seen=sorted(same | (seen if last == at.at else set())))
        return at, Missing(code=MissingCode.DROPPED, detail="there are more lines than can be read at once")

    async def _page(self, start: int, end: int) -> tuple[list[Entry], bool]:
        """The first lines of a range, at most `max_entries`, or as many as the server allows; whether it is so many."""
        try:
            found = await self._asked(start, end)
        except SourceError as error:
            allowed = _LIMIT.search(error.detail)
            if allowed is None or not 0 < int(allowed[1]) < self._limit:
                raise
            self._limit = int(allowed[1])
            found = await self._asked(start, end)
        return [e for e in found if start <= e.at < end], len(found) >= self._limit

    async def _asked(self, start: int, end: int) -> list[Entry]:
        asked: dict[str, str | int] = {
            "query": self._query,
            "start": start,
            "end": end,
            "limit": self._limit,
            "direction": "forward",
        }
        headers = {"Accept": "application/json", **ENCODING, **self._headers}
        try:
            async with self._client.stream("GET", self._url, params=asked, headers=headers) as response:
                if response.status_code != 200:
                    raise _refusal(response, await beginning(response, 1_000))
                answer = await body(response, MAX_ANSWER_BYTES)
        except httpx.HTTPError as error:
            raise failed(error) from error
        return await asyncio.to_thread(read_streams, answer)


def read_streams(answer: bytes) -> list[Entry]:
    """The lines of an answer. SourceError (parse) for anything but whole streams."""
    try:
        said: Any = json.loads(answer)
        data = said["data"]
        if said["status"] != "success" or data["resultType"] != "streams":
            raise SourceError(MissingCode.PARSE, "the query gives no lines: is it a query for numbers?")
        return [
            Entry(int(at), str(line), {str(k): str(v) for k, v in stream["stream"].items()})
            for stream in data["result"]
            for at, line, *_ in stream["values"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(MissingCode.PARSE, "the answer is none of a Loki: is this its address?") from error


def _known(cursor: Cursor | None) -> LokiCursor | None:
    """The cursor; one of a release or source that wrote another kind is forgotten."""
    try:
        return LokiCursor.model_validate(cursor) if cursor is not None else None
    except ValidationError:
        return None


def _refusal(response: httpx.Response, start: bytes) -> SourceError:
    said = "" if start.lstrip().startswith(b"<") else " ".join(start.decode(errors="replace").split())[:200]
    reason = f"HTTP {response.status_code} {response.reason_phrase}".rstrip() + (f": {said}" if said else "")
    match response.status_code:
        case 401 | 403:
            advice = ": set tenant" if "no org id" in said else ""
            return SourceError(MissingCode.FORBIDDEN, f"{reason}{advice}")
        case 404:
            return SourceError(MissingCode.ABSENT, f"{reason}: there is no Loki at this address")
        case 429:
            return SourceError(MissingCode.DROPPED, f"{reason}: too many or too costly queries")
        case 400 | 413 | 422:
            return SourceError(MissingCode.PARSE, reason)
        case code if 300 <= code < 400:
            return SourceError(MissingCode.TARGET_DOWN, f"{reason} to {response.headers.get('location', 'nowhere')}")
        case _:
            return SourceError(MissingCode.TARGET_DOWN, reason)
