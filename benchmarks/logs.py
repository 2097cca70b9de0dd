"""How fast log lines are read and counted, and what that holds in memory: a real server's lines in trouble, again and
again; chatter of which no two lines agree; the worst regular expression an operator may give."""

import asyncio
import json
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from whenever import Instant

from benchmarks import Row
from copilot.logs.counting import LogMemory, count_lines
from copilot.logs.lines import LogLine, parse_line
from copilot.logs.patterns import KnownPattern, PatternBook, validate_regex
from copilot.redaction.redactor import redacted
from copilot.sources.logs.file import FileLogs
from tests.recorded_logs import raw_lines

NOON = Instant.from_utc(2026, 11, 22, 12)
LINES = 60_000
LIMIT_US = 40.0
"""Of one line, all of its way: a server in trouble wrote some 400 lines a second, so a reading of 30 s takes half a
second at most."""


def _cpu_sec(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _count(lines: list[LogLine], memory: LogMemory | None = None) -> LogMemory:
    return count_lines(
        memory or LogMemory(), lines, NOON, span_sec=30, window_sec=60, book=PatternBook(), redact=redacted
    )[0]


def _different() -> list[LogLine]:
    chance = random.Random(7)
    words = ["queue", "shard", "worker", "was", "is", "not", "slow", "gone", "found", "of", "the", "with"]
    return [LogLine(" ".join(chance.choices(words, k=8)) + f" {n}", 4) for n in range(LINES // 4)]


async def _from_file(raw: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "server.log"
        file.write_text("")
        source = FileLogs([file])
        first = await source.read(None, NOON, 10)
        file.write_text("\n".join(raw) + "\n")
        began = time.process_time()
        batch = await source.read(first.cursor, NOON.add(seconds=30), 10)
        assert len(batch.lines) > 0.9 * len(raw)
        return time.process_time() - began


def rows() -> Iterator[Row]:
    """CPU time of a line, and memory."""
    for form in ("json", "text"):
        once = list(raw_lines(form))
        raw = (once * (LINES // len(once) + 1))[:LINES]
        read = asyncio.run(_from_file(raw))
        lines = [line for r in raw if (line := parse_line(r)) is not None]
        count = _cpu_sec(partial(_count, lines))
        note = f"{LINES / (read + count):,.0f} lines a second"
        yield Row(f"a line as {form}: read from the file", read / LINES * 1e6, "us", LIMIT_US)
        yield Row(f"a line as {form}: read and counted", (read + count) / LINES * 1e6, "us", LIMIT_US, note)
    different = _different()
    spent = _cpu_sec(lambda: _count(different)) / len(different) * 1e6
    yield Row("a line unlike all others: counted", spent, "us", note=f"{1e6 / spent:,.0f} lines a second")
    tracemalloc.start()
    memory = _count(different, _count(lines))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield Row("memory: while counting", peak / 1e6, "MB", 100.0)
    yield Row("memory: kept", held / 1e6, "MB", 10.0)
    yield Row("what the watcher carries on", len(json.dumps(memory.model_dump(mode="json"))) / 1e3, "kB", 100.0)
    worst = KnownPattern("worst", regex=validate_regex(r"\w+\w+!"))
    line = LogLine("x" * 2000, 4)
    yield Row("the worst line for a pattern of one's own", _cpu_sec(lambda: worst.matches(line)) * 1e3, "ms", 1000.0)
