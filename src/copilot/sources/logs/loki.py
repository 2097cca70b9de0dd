"""The lines of a Loki, oldest first, page by page.

A full page may end between two lines of one nanosecond, so the next page begins at the last line's time. Lines may also
arrive late: the last minute is read again. Digests tell which lines were read.
"""

import asyncio
import base64
import logging
import struct
from collections.abc import AsyncIterator

import httpx
from pydantic import BaseModel
from whenever import Instant

from copilot.errors import SourceError
from copilot.logs.events import parse_entries
from copilot.logs.patterns import PatternBook
from copilot.rules.signals.readings import Missing, MissingCode
from copilot.settings.sources import LokiSettings
from copilot.sources import ThrottledLog, time_limit
from copilot.sources.logs import Cursor, LogBatch, cursor_as
from copilot.sources.logs.loki_api import CutOff, Entry, LokiApi, Throttled, most_entries, read_streams
from copilot.sources.logs.loki_counting import CALM_READINGS, COUNT_BELOW, LokiCounting, crowded

__all__ = ["NS", "LokiCursor", "LokiLogs", "read_streams"]
log = logging.getLogger(__name__)

NS = 1_000_000_000
MAX_BEHIND_SEC = 600.0
MAX_LINES = 100_000
"""Lines of one reading: as many as can be counted before its activity times out."""
LATE_SEC = 60.0
"""How late a line may arrive."""
BACKLOG_SEC = 300.0
"""After lines could not be read for a minute or more, collectors may send those of that time for so long: they wait up
to five minutes between two attempts."""
MAX_KNOWN = 3_000
"""Lines known by their digests, 16 kB. With more lines in a minute, a shorter time is read again."""
LEAST_LINES = 10
GROW_AFTER = 20
LOOK_BACK_SEC = 7 * 86_400.0
LOOK_AHEAD_SEC = 3_600.0
"""Collectors' clocks may be ahead."""
LOOK_EVERY_SEC = 600.0


class LokiCursor(BaseModel):
    """All lines before `at` were read; those from `again` on, and of the lines at `at`, the ones with the short digests
    `known`. Times are nanoseconds, 0: none. `limit`: lines of a page after larger ones did not come, 0: as many as are
    allowed; `good`: pages that came since. `matched`: when the query last matched a stream. `wait`: no request before.
    Until `backlog_until`, what was written since `backlog` may still arrive. `counting`: the Loki counts the lines;
    `calm`: readings in a row with few."""

    at: int
    again: int = 0
    known: str = ""
    limit: int = 0
    good: int = 0
    matched: int = 0
    wait: int = 0
    backlog: int = 0
    backlog_until: int = 0
    counting: bool = False
    calm: int = 0

    @property
    def digests(self) -> set[int]:
        """The known lines."""
        raw = base64.b64decode(self.known)
        return {number for (number,) in struct.iter_unpack(">I", raw[: len(raw) // 4 * 4])}


class LokiLogs:
    """The lines that a query selects; where there are more than 1,000 a second, the Loki counts them by the patterns of
    a book, until they are under 500 in three readings. SettingsError where a file of the settings cannot be used."""

    def __init__(self, settings: LokiSettings, book: PatternBook | None = None) -> None:
        self._host = httpx.URL(settings.url).host
        self._most = settings.max_entries
        self._delay_ns = int(settings.delay_sec * NS)
        self._api = LokiApi(settings)
        self._counting = LokiCounting(self._api, settings.query, book or PatternBook())
        self._log = ThrottledLog(log, "logs.loki_failed")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.aclose()

    async def read(self, cursor: Cursor | None, now: Instant, deadline_sec: float) -> LogBatch:
        """See `LogSource.read`. Lines that do not arrive before the deadline are read next time; lines more than ten
        minutes behind are skipped. Missing (absent): the query matches no stream."""
        now_ns = now.timestamp(unit="nanosecond")
        end = now_ns - self._delay_ns
        at = cursor_as(LokiCursor, cursor)
        if at is None:
            return LogBatch(LokiCursor(at=end).model_dump())
        if at.wait > now_ns:
            why = Missing(code=MissingCode.DROPPED, detail=f"the Loki asks to wait until {_clock(at.wait)}")
            return LogBatch(at.model_dump(), missing=why, read=False)
        before, skipped = at, None
        if (behind := (end - at.at) / NS) > MAX_BEHIND_SEC:
            detail = f"{behind / 60:.0f} minutes of logs were skipped: they were not read in time"
            skipped = Missing(code=MissingCode.DROPPED, detail=detail)
            at = at.model_copy(update={"at": end - int(MAX_BEHIND_SEC * NS), "again": 0, "known": ""})
        if at.counting and end > at.at:
            return await self._count(at, end, deadline_sec, skipped)
        pages = _Pages(self._api, self._most, at, deadline_sec)
        read_to, old, lines, error = at.at, at.digests, list[Entry](), None
        update: dict[str, int] = {"counting": False, "calm": 0}
        tried = False
        try:
            async for position in pages.read(at.at, end, old, lines):
                read_to = position
                if not tried and crowded(len(lines), (position - at.at) / NS):
                    tried, counted = True, await self._count(at, end, pages.left(), skipped)
                    if counted.read:
                        return counted
            if lines:
                update["matched"] = end
            elif at.matched < end - LOOK_EVERY_SEC * NS:
                await self._look(pages.left(), at, end)
                update["matched"] = end
        except SourceError as failed:
            error = failed
            if isinstance(failed, Throttled):
                update["wait"] = now_ns + int(failed.wait_sec * NS)
        late = await pages.late(at) if error is None else None
        self._most = pages.most
        update |= {"limit": pages.limit, "good": pages.good} if pages.limit < pages.most else {"limit": 0, "good": 0}
        missing = Missing(code=error.code, detail=error.detail) if error is not None else skipped
        if error is not None and read_to == at.at < end and not lines:
            self._log.warning("logs of %s: %s", self._host, error.detail)
            return LogBatch(before.model_copy(update=update).model_dump(), missing=missing, read=False)
        after = _moved(at, read_to, end, lines, late).model_copy(update=update)
        fresh = {entry.digest for entry in lines} if late else set()
        new = [*lines, *(e for e in late or () if e.short not in old and e.digest not in fresh)]
        note = ""
        if read_to < end and not isinstance(error, _Lost):
            note = f"read {len(new):,} lines up to {_clock(read_to)}, {(end - read_to) / NS:.0f} s behind"
            note, missing = f"{note}: {error.detail}" if error else note, skipped
        if missing is not None or note:
            self._log.warning("logs of %s: %s", self._host, missing.detail if missing else note)
        new.sort(key=lambda entry: entry.at)
        parsed = await asyncio.to_thread(lambda: list(parse_entries((e.at, e.line, e.labels) for e in new)))
        return LogBatch(after.model_dump(), parsed, max(0.001, (read_to - at.at) / NS), missing, note=note)

    async def _count(self, at: LokiCursor, end: int, deadline_sec: float, skipped: Missing | None) -> LogBatch:
        """Have the lines counted. Where they cannot be, the next reading reads them, unless time ran out."""
        try:
            async with time_limit(deadline_sec, "the counts did not arrive before the deadline"):
                counted = await self._counting.count(at.at, end)
        except SourceError as error:
            self._log.warning("logs of %s cannot be counted: %s", self._host, error.detail)
            stay = at.model_copy(update={"counting": at.counting and error.code is MissingCode.TIMEOUT})
            missing = Missing(code=error.code, detail=error.detail)
            return LogBatch(stay.model_dump(), missing=missing, read=False)
        span = (end - at.at) / NS
        calm = at.calm + 1 if counted.total < COUNT_BELOW * span else 0
        if not at.counting or calm >= CALM_READINGS:
            how = (
                "are read again" if at.counting else f"are counted by the Loki until they are under {COUNT_BELOW:.0f}/s"
            )
            event = {"event": "logs.counting"}
            log.info("logs of %s: %.0f lines/s: lines %s", self._host, counted.total / span, how, extra=event)
        after = LokiCursor(at=end, matched=end, counting=calm < CALM_READINGS, calm=calm, limit=at.limit, good=at.good)
        return LogBatch(after.model_dump(), span_sec=max(0.001, span), missing=skipped, counted=counted)

    async def _look(self, seconds: float, at: LokiCursor, end: int) -> None:
        """SourceError (absent) if the query matches no stream; as raised where that cannot be known, unless it once
        did."""
        try:
            async with time_limit(seconds, "the labels did not arrive before the deadline"):
                nothing = await self._api.why_nothing(end - int(LOOK_BACK_SEC * NS), end + int(LOOK_AHEAD_SEC * NS))
        except SourceError:
            if not at.matched:
                raise
            return
        if nothing:
            raise SourceError(MissingCode.ABSENT, nothing)


class _Lost(SourceError):
    """Lines that no page can hold were passed over."""


class _Pages:
    """The pages of one reading, until `deadline_sec`. A page that does not come, breaks off or is too large is asked
    for with half as many lines at once; after 20 that came, with a quarter more."""

    def __init__(self, api: LokiApi, most: int, at: LokiCursor, deadline_sec: float) -> None:
        self._api = api
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + deadline_sec
        self._least_sec = deadline_sec / 16
        self._patient = at.limit > 0 and at.good == 0  # Nothing came the last time: it may only be slow.
        self._failed_at = most + 1
        self.most = most
        self.limit = min(at.limit or most, most)
        self.good = at.good

    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self._until - self._clock())

    async def read(self, start: int, end: int, old: set[int], lines: list[Entry]) -> AsyncIterator[int]:
        """Read a range into `lines`, without those at its start that are known by their short digests, and give the
        position after each page. SourceError where not all lines can be read."""
        at, known = start, set[int]()
        while at < end:
            if len(lines) >= MAX_LINES:
                raise SourceError(MissingCode.TIMEOUT, "there are more lines than one reading can take")
            page, asked = await self._page(at, end)
            fresh = [e for e in page if e.digest not in known and not (e.at == start and e.short in old)]
            lines += fresh
            known.update(entry.digest for entry in fresh)
            if len(page) < asked:
                yield end
                return
            last = max(entry.at for entry in page)
            if last > at or fresh:
                at = last
                yield at
            elif (wider := min(self.most, 2 * asked)) > asked and wider < self._failed_at:
                self.limit = wider  # More lines of one nanosecond than the page holds.
            else:
                yield at + 1
                raise _Lost(MissingCode.DROPPED, f"more than {asked} lines have the same nanosecond: not all were read")

    async def late(self, at: LokiCursor) -> list[Entry] | None:
        """All lines that are to be read again. None where they do not all come in time."""
        lines: list[Entry] = []
        try:
            if 0 < at.again <= at.at:
                async for _ in self.read(at.again, at.at + 1, set(), lines):
                    pass
        except SourceError:
            return None
        return lines

    async def _page(self, start: int, end: int) -> tuple[list[Entry], int]:
        """The first lines of a range, and how many were asked for."""
        while True:
            asked, left = self.limit, self.left()
            halved = max(LEAST_LINES, asked // 2)
            may_take = left if self._patient or halved == asked else left / 2
            self._patient = False
            try:
                async with time_limit(may_take, "the logs did not arrive before the deadline"):
                    page = await self._api.lines(start, end, asked)
            except SourceError as error:
                allowed = most_entries(error)
                if allowed is not None and 0 < allowed < asked:
                    self.most = self.limit = allowed
                    continue
                if halved == asked or not (isinstance(error, CutOff) or error.code is MissingCode.TIMEOUT):
                    raise
                self._failed_at, self.limit, self.good = asked, halved, 0
                if self.left() < self._least_sec:
                    raise
                continue
            self.good += 1
            if self.limit < self.most and self.good > GROW_AFTER:
                self.limit, self.good = min(self.most, self.limit * 5 // 4), 1
            return page, asked


def _moved(at: LokiCursor, read_to: int, end: int, lines: list[Entry], late: list[Entry] | None) -> LokiCursor:
    """The cursor after `lines` were read, and `late` those that were to be read again; None: they could not be."""
    backlog, until = at.backlog, at.backlog_until
    if end - at.at > LATE_SEC * NS:
        backlog, until = at.at, end + int(BACKLOG_SEC * NS)
    since = end - int(LATE_SEC * NS)
    if end < until:
        since = max(min(since, backlog), end - int(MAX_BEHIND_SEC * NS))
    old, again = at.digests, at.again or at.at
    known = old | {entry.short for entry in lines}
    if late is not None or len(known) > MAX_KNOWN:
        there = sorted((*(late or ()), *lines), key=lambda entry: entry.at)
        again = max(again, since) if late is not None else at.at + 1
        there = [entry for entry in there if entry.at >= again]
        if len(there) > MAX_KNOWN:
            again = there[-MAX_KNOWN - 1].at + 1
        again = min(again, read_to)
        known = {entry.short for entry in there if entry.at >= again} | (old if read_to == at.at else set())
    packed = base64.b64encode(b"".join(number.to_bytes(4) for number in sorted(known))).decode()
    update = {"at": read_to, "again": again, "known": packed, "backlog": backlog, "backlog_until": until}
    return at.model_copy(update=update)


def _clock(ns: int) -> str:
    """The time of day, UTC: 12:03:10."""
    return Instant.from_timestamp(ns // NS).format_iso(unit="second")[11:19]
