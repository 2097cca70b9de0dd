"""Counts of patterns and templates over the last readings of the logs, and which of them spike.

Lines that no known pattern matches are mined for templates, by a small Drain (He et al., 2017): words that hold digits,
addresses or values are masked, and a line joins the template of the same length and first word that shares most words.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from pydantic import BaseModel
from whenever import Instant

from copilot.logs.lines import LEVELS, NO_LEVEL, WARN, LogLine
from copilot.logs.patterns import PatternBook
from copilot.rules.signals.logs import LogReading
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, LogPattern, Missing

WILDCARD = "<*>"
MAX_WORDS = 30
MAX_WORD = 40
MIN_SHARED = 0.6
"""The share of its words that a line shares with its template."""
READINGS = 20
SPIKE_FACTOR = 3.0
SPIKE_LINES = 10
SPIKE_AFTER = 4
MIN_REPEATS = 5
"""A template is shown once this many lines match it."""
MAX_TRACKED = 60
MAX_SAMPLE = 200

_QUOTED = re.compile(r"\"[^\"]{0,300}\"|'[^']{1,300}'|\[[^\]]{30,300}\]|\{[^}]{30,500}\}")
_VALUE = re.compile(r"^([A-Za-z_][\w.-]{0,30}[=:])(?!/)\S+$")
_DIGIT = re.compile(r"\d")

Redact = Callable[[str], str]
Words = tuple[str, ...]


def mask_words(text: str) -> Words:
    """The line's words, with numbers, ids, addresses, quotations and values of keys masked."""
    return tuple(_masked(word) for word in _QUOTED.sub(WILDCARD, text).split()[:MAX_WORDS])


def _masked(word: str) -> str:
    if value := _VALUE.match(word):
        return value[1] + WILDCARD
    if WILDCARD in word or len(word) > MAX_WORD or "@" in word or "/" in word[:-1] or _DIGIT.search(word):
        return WILDCARD
    return word


class Templates:
    """At most `limit` templates. A template only ever becomes more general."""

    def __init__(self, known: Iterable[Sequence[str]] = (), *, limit: int = 100) -> None:
        self._limit = limit
        self.all: list[list[str]] = [list(words) for words in known][:limit]

    def match(self, words: Sequence[str]) -> int | None:
        """The index of the template the words belong to, made more general where needed; None without one."""
        best, index = 0.0, None
        for number, template in enumerate(self.all):
            if len(template) == len(words) and (template[0] == words[0] or WILDCARD in (template[0], words[0])):
                share = sum(a == b for a, b in zip(template, words, strict=True)) / len(words)
                if share > best:
                    best, index = share, number
        if index is None or best < MIN_SHARED:
            return None
        self.all[index] = [a if a == b else WILDCARD for a, b in zip(self.all[index], words, strict=True)]
        return index

    def add(self, words: Sequence[str]) -> int | None:
        """The index of a new template of these words; None at the limit."""
        if len(self.all) >= self._limit:
            return None
        self.all.append(list(words))
        return len(self.all) - 1

    def name(self, index: int) -> str:
        """The template as text."""
        return " ".join(self.all[index])


class TrackedPattern(BaseModel):
    """A pattern or template (`mined`) of one service: its lines in each of the last readings, oldest first."""

    pattern: str
    service: str
    mined: bool = False
    level: int = NO_LEVEL
    first_seen: Instant
    last_seen: Instant
    sample: str = ""
    counts: list[int] = []

    @property
    def count(self) -> int:
        """Lines of all tracked readings."""
        return sum(self.counts)

    @property
    def bad(self) -> bool:
        """Whether it was logged as a warning or worse. Lines without a level are not known to be."""
        return self.level >= WARN

    @property
    def shown(self) -> bool:
        """Whether it is shown: known patterns are, templates once they repeat."""
        return not self.mined or self.count >= MIN_REPEATS


class LogMemory(BaseModel):
    """What is remembered of earlier readings: the seconds each spanned, what was counted, and the templates."""

    spans: list[float] = []
    tracked: list[TrackedPattern] = []
    templates: list[list[str]] = []


@dataclass(frozen=True, slots=True)
class CountedLines:
    """Lines of one pattern, service and level (an index of LEVELS) that the log store counted."""

    pattern: str
    service: str
    level: int
    count: int


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """What a log store counted. `total`: all lines; `rows`: those of known patterns; `lines`: some of them all; each of
    these that no pattern matches stands for `weight` lines."""

    total: int
    rows: tuple[CountedLines, ...]
    lines: tuple[LogLine, ...]
    weight: float


Lines = list[LogLine]
"""The lines of one pattern and service in one reading."""
Key = tuple[str, str, bool]
"""Pattern, service, and whether it is a template."""


def count_lines(
    memory: LogMemory,
    lines: Iterable[LogLine],
    now: Instant,
    *,
    span_sec: float,
    window_sec: float,
    book: PatternBook,
    redact: Redact,
    missing: Missing | None = None,
    counted: StoreCounts | None = None,
) -> tuple[LogMemory, LogReading]:
    """Count one reading, of lines written in the last `span_sec` seconds: the new memory, and the reading of the last
    `window_sec` seconds. `missing`: why these are not all lines. `counted`: the store counted, `lines` are unused."""
    if counted is not None:
        lines = counted.lines
    known, other = _tally(lines, book, redact)
    spans = [*memory.spans, span_sec][-READINGS:]
    templates = Templates(memory.templates, limit=MAX_TRACKED)
    renamed, mined = _mine(other, templates, redact)
    tallies = known | mined
    before = {(renamed.get(t.pattern, t.pattern), t.service, t.mined): t for t in memory.tracked}
    numbers = {key: len(found) for key, found in tallies.items()}
    levels = dict[Key, int]()
    if counted is not None:
        numbers = {key: round(len(found) * counted.weight) for key, found in mined.items()}
        for row in (row for row in counted.rows if row.count):
            key = (row.pattern, redact(row.service), False)
            numbers[key] = numbers.get(key, 0) + row.count
            levels[key] = max(row.level, levels.get(key, NO_LEVEL))
    tracked = [
        _track(key, before.get(key), tallies.get(key, []) if numbers.get(key) else [], numbers.get(key, 0),
               levels.get(key, NO_LEVEL), len(spans), now, redact)
        for key in {**before, **numbers}
    ]  # fmt: skip
    # First warnings and worse, then known patterns, then the most frequent.
    tracked = sorted((t for t in tracked if t.count), key=lambda t: (t.bad, not t.mined, t.count), reverse=True)
    tracked = tracked[:MAX_TRACKED]
    names = {t.pattern for t in tracked if t.mined}
    after = LogMemory(spans=spans, tracked=tracked, templates=[w for w in templates.all if " ".join(w) in names])
    spiking = tuple(dict.fromkeys(t.pattern for t in tracked if t.shown and spikes(t, spans)))
    return after, current_reading(after, now, window_sec, missing).model_copy(
        update={"spikes": spiking, "counted": counted is not None}
    )


def current_reading(memory: LogMemory, now: Instant, window_sec: float, missing: Missing | None = None) -> LogReading:
    """The reading at `now` from memory alone, without new lines."""
    shown = [t for t in memory.tracked if t.shown]
    ages = accumulate(reversed(memory.spans))
    readings = max(1, min(len(memory.spans), sum(age < window_sec for age in ages) + 1))  # the newest, over the window
    return LogReading(
        time=now,
        patterns=tuple(
            LogPattern(**t.model_dump(exclude={"counts", "level"}), count=t.count, level=LEVELS[t.level])
            for t in shown[:MAX_BREAKDOWN_ROWS]
        ),
        top_pattern_count=max((sum(t.counts[-readings:]) for t in shown if t.bad), default=0),
        missing=missing,
    )


def spikes(tracked: TrackedPattern, spans: Sequence[float]) -> bool:
    """Whether a pattern spikes in the newest reading: at least 10 lines, and 3 times the highest rate before, of at
    least 3 readings. Templates of lines below a warning never spike."""
    *past, newest = zip(tracked.counts, spans, strict=True) if tracked.counts else ((0, 1.0),)
    if len(past) < SPIKE_AFTER or newest[0] < SPIKE_LINES or (tracked.mined and not tracked.bad):
        return False
    return newest[0] / newest[1] >= SPIKE_FACTOR * max(count / span for count, span in past)


def _tally(
    lines: Iterable[LogLine], book: PatternBook, redact: Redact
) -> tuple[dict[Key, Lines], dict[tuple[Words, str], Lines]]:
    """One reading's lines by known pattern, and the others by masked words and service."""
    known: dict[Key, Lines] = {}
    other: dict[tuple[Words, str], Lines] = {}
    names = cache(lambda text, level: book.match(LogLine(text, level)))
    masked, clean = cache(mask_words), cache(redact)
    for line in lines:
        service = clean(line.service)
        for name in names(line.text, line.level):
            known.setdefault((name, service, False), []).append(line)
        if not names(line.text, line.level) and (words := masked(line.text)):
            other.setdefault((words, service), []).append(line)
    return known, other


def _mine(
    other: Mapping[tuple[Words, str], Lines], templates: Templates, redact: Redact
) -> tuple[dict[str, str], dict[Key, Lines]]:
    """The new names of templates that became more general, and the lines of all. The most frequent lines come first:
    while there is room for new templates, they get it."""
    before = [templates.name(index) for index in range(len(templates.all))]
    counts = Counter[Words]()
    for (words, _), lines in other.items():
        counts[words] += len(lines)
    indices: dict[Words, int | None] = {}
    for words, _ in counts.most_common():
        index = templates.match(words)
        if index is None:
            clean = tuple(redact(" ".join(words)).split()[: len(words)]) or (WILDCARD,)
            index = templates.match(clean)
            index = templates.add(clean) if index is None else index
        indices[words] = index
    tallies: dict[Key, Lines] = {}
    for (words, service), lines in other.items():
        if (index := indices[words]) is not None:
            tallies.setdefault((templates.name(index), service, True), []).extend(lines)
    return {name: templates.name(index) for index, name in enumerate(before)}, tallies


def _track(
    key: Key, before: TrackedPattern | None, lines: Sequence[LogLine], number: int, level: int, readings: int,
    now: Instant, redact: Redact,
) -> TrackedPattern:  # fmt: skip
    """A pattern after one reading, which has `number` lines of it at `level` or worse, some of which are `lines`."""
    (pattern, service, mined), known = key, [before] if before else []
    past = before.counts[-(readings - 1) :] if before and readings > 1 else []
    counts = [0] * (readings - 1 - len(past)) + past + [number]
    if not number:
        return known[0].model_copy(update={"counts": counts, "pattern": pattern})
    times = [line.when(now) for line in (lines[0], lines[-1])] if lines else [now]
    level = max(level, *(line.level for line in lines), *(item.level for item in known), NO_LEVEL)
    first, last = min((*times, *(t.first_seen for t in known))), max((*times, *(t.last_seen for t in known)))
    return TrackedPattern(
        pattern=pattern, service=service, mined=mined, level=level, first_seen=first, last_seen=last,
        sample=redact(lines[-1].text)[:MAX_SAMPLE] if lines else next((t.sample for t in known), ""), counts=counts,
    )  # fmt: skip
