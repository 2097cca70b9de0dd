"""Whether a flood of log lines is followed, at an interval of 30 s: the lag behind a stand-in of a Loki at 2,500 and
10,000 lines a second from the first reading on, its requests, and our own processor time. The stand-in answers in
Python, in this process, so its time is named and has no limit; the deadline leaves room for it."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping

from whenever import Instant

from benchmarks import Row
from copilot.logs.counting import LogMemory, count_lines
from copilot.logs.patterns import PatternBook
from copilot.redaction.redactor import redacted
from copilot.settings.sources import LokiSettings
from copilot.sources.logs import Cursor
from copilot.sources.logs.loki import NS, LokiLogs
from tests.recorded_logs import raw_lines
from tests.sources.loki_server import LokiServer

NOON = Instant.from_utc(2026, 11, 22, 12)
NOON_NS = NOON.timestamp() * NS
INTERVAL_SEC = 30
DEADLINE_SEC = 600.0
LIMIT_CPU_SEC = 5.0
TICKS = 2


class Timed(LokiServer):
    """A stand-in that knows how long it took (CPU seconds)."""

    spent_sec = 0.0

    def answer(self, target: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
        began = time.process_time()
        try:
            return super().answer(target, headers)
        finally:
            self.spent_sec += time.process_time() - began


async def _followed(per_sec: int) -> tuple[float, float, float, float]:
    """The worst lag (s), and of a reading: requests, our CPU seconds, and the stand-in's."""
    worst, took = 0.0, 0.0
    once = itertools.cycle(list(raw_lines("json")))
    server = Timed()
    async with server.run():
        source = LokiLogs(LokiSettings(url=server.url, query='{app="temporal"}', delay_sec=0))
        cursor: Cursor = {"at": NOON_NS}
        memory = LogMemory()
        for tick in range(1, TICKS + 1):
            server.lines.clear()
            for number in range(per_sec * INTERVAL_SEC):
                at = NOON_NS + (tick - 1) * INTERVAL_SEC * NS + number * NS // per_sec
                server.push(at, next(once), app="temporal", container="temporal")
            now, began = NOON.add(seconds=tick * INTERVAL_SEC), time.process_time()
            batch = await source.read(cursor, now, DEADLINE_SEC)
            cursor = batch.cursor
            worst = max(worst, (now.timestamp() * NS - int(cursor["at"])) / NS)
            memory, seen = count_lines(
                memory, batch.lines, now, span_sec=batch.span_sec or 1.0, window_sec=60, book=PatternBook(),
                redact=redacted, counted=batch.counted,
            )  # fmt: skip
            took += time.process_time() - began
            assert batch.counted is not None, batch.missing
            assert batch.counted.total == per_sec * INTERVAL_SEC
            assert seen.counted
        await source.aclose()
    return worst, len(server.paths) / TICKS, (took - server.spent_sec) / TICKS, server.spent_sec / TICKS


def rows() -> Iterator[Row]:
    """Lag, requests and time at both rates."""
    for per_sec in (2_500, 10_000):
        lag, requests, ours, theirs = asyncio.run(_followed(per_sec))
        name = f"{per_sec:,} lines/s"
        yield Row(f"{name}: lag behind", lag, "s", float(INTERVAL_SEC))
        yield Row(f"{name}: requests of a reading", requests, "", 60.0)
        note = f"and {theirs:.1f} s of the stand-in"
        yield Row(f"{name}: CPU of a reading", ours, "s", LIMIT_CPU_SEC, note)
