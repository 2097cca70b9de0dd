"""Loki's HTTP API: the lines of a time range, oldest first, page by page (`GET /loki/api/v1/query_range`).

A range includes its start and excludes its end, in nanoseconds. A full page may end between two lines of one
nanosecond, so the next page begins at the last line's time, and digests tell which lines of that time were read.
"""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel
from whenever import Instant

from copilot.errors import SourceError
from copilot.logs.lines import parse_line
from copilot.rules.signals.readings import Missing, MissingCode
from copilot.settings.sources import LokiSettings
from copilot.sources import ThrottledLog, time_limit
from copilot.sources.http import client, fetch, one_line, status_error, unreadable
from copilot.sources.logs import Cursor, LogBatch, cursor_as

log = logging.getLogger(__name__)

NS = 1_000_000_000
MAX_ANSWER_BYTES = 64_000_000
MAX_ERROR_BYTES = 1_000
MAX_PAGES = 10
MAX_BEHIND_SEC = 600.0
_LIMIT = re.compile(r"max entries limit.*\(\d+ > (\d+)\)")


class LokiCursor(BaseModel):
    """All lines before `at` (nanoseconds) were read, and of the lines at that time those with these digests."""

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
        """Tells lines of one nanosecond apart; Loki itself stores identical ones once."""
        return hashlib.sha256(json.dumps([self.labels, self.line], sort_keys=True).encode()).hexdigest()[:16]


class LokiLogs:
    """The lines that a query selects. SettingsError where a file of the settings cannot be used."""

    def __init__(self, settings: LokiSettings) -> None:
        self._url = httpx.URL(f"{settings.url.rstrip('/')}/loki/api/v1/query_range")
        self._query = settings.query
        self._headers = {"X-Scope-OrgID": settings.tenant} if settings.tenant else {}
        self._limit = settings.max_entries
        self._delay_ns = int(settings.delay_sec * NS)
        self._client = client(settings)
        self._log = ThrottledLog(log, "logs.loki_failed")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read(self, cursor: Cursor | None, now: Instant, deadline_sec: float) -> LogBatch:
        """See `LogSource.read`. Lines that do not arrive before the deadline are read next time; lines more than ten
        minutes behind are skipped."""
        end = now.timestamp(unit="nanosecond") - self._delay_ns
        known = cursor_as(LokiCursor, cursor)
        if known is None:
            return LogBatch(LokiCursor(at=end).model_dump())
        skipped: Missing | None = None
        if (behind := (end - known.at) / NS) > MAX_BEHIND_SEC:
            detail = f"{behind / 60:.0f} minutes of logs were skipped: they were not read in time"
            skipped = Missing(code=MissingCode.DROPPED, detail=detail)
            known = LokiCursor(at=end - int(MAX_BEHIND_SEC * NS))
        entries: list[Entry] = []
        read_to, missing = known, skipped
        try:
            async with time_limit(deadline_sec, "the logs did not arrive before the deadline"):
                async for position in self._pages(known, end, entries):
                    read_to = position
        except SourceError as error:
            missing = Missing(code=error.code, detail=error.detail)
        if missing is not None:
            self._log.warning("logs of %s: %s", self._url.host, missing.detail)
        if read_to == known and end > known.at:
            return LogBatch(known.model_dump(), missing=missing, read=False)
        lines = [read for e in entries if (read := parse_line(e.line, time=e.at, labels=e.labels))]
        return LogBatch(read_to.model_dump(), lines, max(0.001, (read_to.at - known.at) / NS), missing)

    async def _pages(self, at: LokiCursor, end: int, entries: list[Entry]) -> AsyncIterator[LokiCursor]:
        """Read up to `end`, and give the position after each page. SourceError where not all lines can be read."""
        for _ in range(MAX_PAGES):
            if at.at >= end:
                return
            page, full = await self._page(at.at, end)
            seen = set(at.seen)
            fresh = sorted((e for e in page if e.at > at.at or e.digest not in seen), key=lambda e: e.at)
            entries += fresh
            if not full or not page:
                yield LokiCursor(at=end)
                return
            last = max(e.at for e in page)
            if last == at.at and not fresh:
                yield LokiCursor(at=last + 1)
                detail = f"more than {self._limit} lines have the same nanosecond: not all were read"
                raise SourceError(MissingCode.DROPPED, detail)
            same = {e.digest for e in page if e.at == last}
            at = LokiCursor(at=last, seen=sorted(same | (seen if last == at.at else set())))
            yield at
        if at.at < end:
            raise SourceError(MissingCode.DROPPED, "there are more lines than one reading can take")

    async def _page(self, start: int, end: int) -> tuple[list[Entry], bool]:
        """The first lines of a range, up to `max_entries` or the server's limit, and whether that limit was reached."""
        try:
            found = await self._get(start, end)
        except SourceError as error:
            allowed = _LIMIT.search(error.detail)
            if allowed is None or not 0 < int(allowed[1]) < self._limit:
                raise
            self._limit = int(allowed[1])
            found = await self._get(start, end)
        return [e for e in found if start <= e.at < end], len(found) >= self._limit

    async def _get(self, start: int, end: int) -> list[Entry]:
        span: dict[str, str | int] = {"start": start, "end": end, "limit": self._limit, "direction": "forward"}
        answer, _ = await fetch(
            self._client,
            "GET",
            self._url,
            refusal=_refusal,
            max_bytes=MAX_ANSWER_BYTES,
            error_bytes=MAX_ERROR_BYTES,
            headers={"Accept": "application/json", **self._headers},
            params={"query": self._query, **span},
        )
        return await asyncio.to_thread(read_streams, answer)


def read_streams(answer: bytes) -> list[Entry]:
    """The lines of an answer. SourceError (parse) for anything but complete streams."""
    try:
        document: Any = json.loads(answer)
        data = document["data"]
        if document["status"] != "success" or data["resultType"] != "streams":
            raise unreadable("the query gives no lines: is it a metric query?")
        return [
            Entry(int(at), str(line), {str(k): str(v) for k, v in stream["stream"].items()})
            for stream in data["result"]
            for at, line, *_ in stream["values"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise unreadable("the answer is not from a Loki: is this its address?") from error


def _refusal(response: httpx.Response, start: bytes) -> SourceError:
    text = "" if start.lstrip().startswith(b"<") else one_line(start.decode(errors="replace"))
    error = status_error(response, text, expected="Loki")
    if error.code is MissingCode.FORBIDDEN and "no org id" in text:
        return SourceError(error.code, f"{error.detail}: set tenant")
    return error
