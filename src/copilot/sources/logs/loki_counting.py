"""Lines that a Loki counts, where there are too many to read: numbers by pattern and level, and a few lines of each.

Lines are counted as they were written, wrappers and fields included; which patterns occur is found from samples that
leave out what was found before, so that a rare one is not lost among many of another.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from copilot.logs.counting import CountedLines, StoreCounts
from copilot.logs.events import parse_entries
from copilot.logs.formats import Written
from copilot.logs.lines import (
    LEVEL_LABELS,
    LEVELS,
    NO_LEVEL,
    SERVER,
    SERVICE_LABELS,
    SERVICES,
    UNNAMED,
    LogLine,
    line_of,
)
from copilot.logs.patterns import KnownPattern, PatternBook
from copilot.sources.logs.loki_api import Entry, LokiApi

COUNT_ABOVE: Final = 1_000.0
"""Lines a second over which lines are counted."""
COUNT_BELOW: Final = 500.0
"""Lines a second under which they are read again, after CALM_READINGS readings in a row."""
CALM_READINGS: Final = 3
COUNTED: Final = (
    f"over {COUNT_ABOVE:.0f} lines/s they are not read, until they are under {COUNT_BELOW:.0f}/s in {CALM_READINGS}"
    " readings"
)
LEAST_SEC: Final = 5.0
"""A rate is that of so many seconds at least: a burst of less is read."""
SAMPLE: Final = 200
MAX_ROUNDS: Final = 6
AT_ONCE: Final = 4
_BY = ", ".join((*LEVEL_LABELS, *(name for name in SERVICE_LABELS if name not in UNNAMED)))
_SPECIAL = re.compile(r"([.^$*+?{}\[\]\\|()])")


def crowded(lines: int, seconds: float) -> bool:
    """Whether these are too many lines to go on reading."""
    return lines > COUNT_ABOVE * max(LEAST_SEC, seconds)


@dataclass(frozen=True)
class LokiCounting:
    """Counts the lines of a query by the patterns of a book. All methods raise SourceError."""

    api: LokiApi
    query: str
    book: PatternBook

    async def count(self, start: int, end: int) -> StoreCounts:
        """The lines of a range (nanoseconds, its end excluded)."""
        few = asyncio.Semaphore(AT_ONCE)

        async def counted(*filters: str) -> list[tuple[dict[str, str], int]]:
            lines = " ".join((self._lines(), *filters))
            query = f"sum by ({_BY}) (count_over_time({lines} [{max(1, (end - start) // 1_000_000)}ms]))"
            async with few:
                return await self.api.counts(query, end - 1)

        every = _any(self.book.patterns)
        samples, found = await self._samples(start, end)
        other = await self.api.lines(start, end, SAMPLE, f"{self._lines()} !~ {every}")
        total, rest, *of = await asyncio.gather(
            counted(), counted(f"!~ {every}"), *(counted(*_filters(pattern)) for pattern in found)
        )
        lines = _parsed((*samples, *other))
        rows = [row for pattern, series in zip(found, of, strict=True) for row in self._rows(pattern, series, lines)]
        unknown = sum(number for _, number in rest)
        return StoreCounts(
            total=sum(number for _, number in total), rows=tuple(rows), lines=tuple(lines),
            weight=max(1.0, unknown / max(1, len(other))),
        )  # fmt: skip

    def _lines(self) -> str:
        """The query; where it parses lines, without those that it cannot parse: a count with them is refused."""
        return f"{self.query} | __error__=``" if "|" in self.query.partition("}")[2] else self.query

    async def _samples(self, start: int, end: int) -> tuple[list[Entry], list[KnownPattern]]:
        """Some lines of each pattern, and the patterns that occur."""
        entries: list[Entry] = []
        found: list[KnownPattern] = []
        for _ in range(MAX_ROUNDS):
            left = [pattern for pattern in self.book.patterns if pattern not in found]
            more = await self.api.lines(
                start, end, SAMPLE, " ".join((self._lines(), f"|~ {_any(left)}", *(f"!~ {_any([p])}" for p in found)))
            )
            entries += more
            texts = [entry.line.lower() for entry in more]
            new = [
                p for p in left if any(_occurs(p, entry.line, text) for entry, text in zip(more, texts, strict=True))
            ]
            found += new
            if len(more) < SAMPLE or not new:
                break
        return entries, found

    def _rows(
        self, pattern: KnownPattern, series: Iterable[tuple[dict[str, str], int]], lines: Sequence[LogLine]
    ) -> list[CountedLines]:
        """By service and level. Where no label names a service of Temporal's, by the shares of the sample lines."""
        of = Counter(line.service for line in lines if pattern.name in self.book.match(line))
        rows: list[CountedLines] = []
        for labels, number in series:
            line = line_of(Written("counted"), labels=labels) or LogLine("")
            if line.level != NO_LEVEL and line.level < LEVELS.index(pattern.level):
                continue
            shares = Counter({line.service: 1}) if line.service in SERVICES or not of else of
            left, weight = number, shares.total()
            for service, share in shares.items():
                part = round(left * share / weight)
                rows.append(CountedLines(pattern.name, service or SERVER, line.level, part))
                left, weight = left - part, weight - share
        return rows


def _parsed(entries: Iterable[Entry]) -> list[LogLine]:
    once = {entry.digest: entry for entry in entries}
    return list(parse_entries((e.at, e.line, e.labels) for e in sorted(once.values(), key=lambda e: e.at)))


def _occurs(pattern: KnownPattern, line: str, lowered: str) -> bool:
    return any(word in lowered for word in pattern.words) or bool(pattern.regex and pattern.regex.search(line))


def _filters(pattern: KnownPattern) -> tuple[str, ...]:
    return (f"|~ {_any([pattern])}", *((f"!~ {_quoted(_words(pattern.unless))}",) if pattern.unless else ()))


def _any(patterns: Iterable[KnownPattern]) -> str:
    """A regular expression, quoted for LogQL, for lines with one of the patterns' words."""
    patterns = tuple(patterns)
    own = [f"(?:{p.regex.pattern})" for p in patterns if p.regex]
    words = [word for p in patterns for word in p.words]
    return _quoted("|".join(([_words(words)] if words else []) + own))


def _words(words: Iterable[str]) -> str:
    literal = (_SPECIAL.sub(r"\\\1", word) for word in words)
    return f"(?i:{'|'.join(literal)})"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
