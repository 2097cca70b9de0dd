"""Templates of log lines no known pattern matches: the same words with the parts that vary left out.

A small Drain (He et al., 2017): lines are split into words, words that hold digits, addresses or values are masked at
once, and a line joins the template of the same length and first word that shares most of its words with it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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
_QUOTED = re.compile(r"\"[^\"]{0,300}\"|'[^']{1,300}'|\[[^\]]{30,300}\]|\{[^}]{30,500}\}")
_VALUE = re.compile(r"^([A-Za-z_][\w.-]{0,30}[=:])(?!/)\S+$")
_DIGIT = re.compile(r"\d")


def mask_words(text: str) -> tuple[str, ...]:
    """The line's words with what varies by nature masked: numbers, ids, addresses, quotations, values of keys."""
    return tuple(_masked(word) for word in _QUOTED.sub(WILDCARD, text).split()[:MAX_WORDS])


def _masked(word: str) -> str:
    if value := _VALUE.match(word):
        return value[1] + WILDCARD
    if WILDCARD in word or len(word) > MAX_WORD or "@" in word or "/" in word[:-1] or _DIGIT.search(word):
        return WILDCARD
    return word


class Templates:
    """The templates known so far, at most `most`. A template's words only ever become fewer."""

    def __init__(self, known: Sequence[Sequence[str]] = (), *, most: int = 100) -> None:
        self._most = most
        self._all: list[list[str]] = [list(words) for words in known][:most]

    @property
    def all(self) -> list[list[str]]:
        """All templates, as lists of words."""
        return self._all

    def place_of(self, words: Sequence[str]) -> int | None:
        """The place of the template the line belongs to, which grows more general where it must, or None."""
        best, place = 0.0, None
        for number, template in enumerate(self._all):
            if len(template) == len(words) and _may_be_alike(template[0], words[0]):
                share = sum(a == b for a, b in zip(template, words, strict=True)) / len(words)
                if share > best:
                    best, place = share, number
        if place is None or best < MIN_SHARED:
            return None
        self._all[place] = [a if a == b else WILDCARD for a, b in zip(self._all[place], words, strict=True)]
        return place

    def added(self, words: Sequence[str]) -> int | None:
        """The place of a new template of these words; None when there are as many as may be."""
        if len(self._all) >= self._most:
            return None
        self._all.append(list(words))
        return len(self._all) - 1


def _may_be_alike(first: str, other: str) -> bool:
    return first == other or WILDCARD in (first, other)


READINGS = 20
SPIKE_FACTOR = 3.0
SPIKE_LINES = 10
SPIKE_AFTER = 4
MIN_REPEATS = 5
"""A mined template is shown once it was seen so often."""
MAX_TRACKED = 60
MAX_SAMPLE = 200
Redact = Callable[[str], str]


class TrackedPattern(BaseModel):
    """One pattern of one service: lines of each of the last readings, oldest first."""

    pattern: str
    service: str
    mined: bool = False
    level: int = NO_LEVEL
    first_seen: Instant
    last_seen: Instant
    sample: str = ""
    counts: list[int] = []

    @property
    def bad(self) -> bool:
        """Whether it was logged as a warning or worse, or without a level."""
        return self.level == NO_LEVEL or self.level >= WARN


class LogMemory(BaseModel):
    """What is remembered of the readings before: how many seconds each spanned, and what was counted."""

    spans: list[float] = []
    tracked: list[TrackedPattern] = []
    templates: list[list[str]] = []


@dataclass(slots=True)
class _Tally:
    """What one reading holds of one pattern and service."""

    lines: int = 0
    level: int = NO_LEVEL
    first: LogLine | None = None
    last: LogLine | None = None

    def add(self, line: LogLine, times: int = 1) -> None:
        self.lines += times
        self.level = max(self.level, line.level)
        self.first = self.first or line
        self.last = line


@dataclass(slots=True)
class _Kinds:
    """Lines of one reading by what they say: the same text is looked at once."""

    known: dict[tuple[str, str], _Tally] = field(default_factory=dict)
    other: dict[tuple[tuple[str, ...], str], _Tally] = field(default_factory=dict)


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
) -> tuple[LogMemory, LogReading]:
    """Count one reading, of lines written in the last `span_sec`; gives what to remember and what is seen now.
    `missing`: why these are not all lines there were."""
    kinds = _sorted_out(lines, book)
    spans = [*memory.spans, span_sec][-READINGS:]
    templates = Templates(memory.templates, most=MAX_TRACKED)
    tallies: dict[tuple[str, str, bool], _Tally] = {(n, s, False): tally for (n, s), tally in kinds.known.items()}
    renamed = _mined(kinds.other, templates, redact, tallies)
    before = {(renamed.get(t.pattern, t.pattern), t.service, t.mined): t for t in memory.tracked}
    tracked = [
        _went_on(key, before.get(key), tallies.get(key), len(spans), now, redact) for key in {**before, **tallies}
    ]
    kept = sorted((t for t in tracked if any(t.counts)), key=_worth, reverse=True)[:MAX_TRACKED]
    alive = {t.pattern for t in kept if t.mined}
    after = LogMemory(spans=spans, tracked=kept, templates=[words for words in templates.all if _name(words) in alive])
    fresh = tuple(dict.fromkeys(t.pattern for t in _shown(after) if spikes(t, spans)))
    return after, current_reading(after, now, window_sec, missing).model_copy(update={"spikes": fresh})


def current_reading(memory: LogMemory, now: Instant, window_sec: float, missing: Missing | None = None) -> LogReading:
    """What is known of the logs at `now` without reading them anew."""
    shown = _shown(memory)
    within = _readings_within(memory.spans, window_sec)
    return LogReading(
        time=now,
        patterns=tuple(_pattern(t) for t in shown[:MAX_BREAKDOWN_ROWS]),
        top_pattern_count=max((sum(t.counts[-within:]) for t in shown if t.bad), default=0),
        missing=missing,
    )


def _shown(memory: LogMemory) -> list[TrackedPattern]:
    return [t for t in memory.tracked if not t.mined or sum(t.counts) >= MIN_REPEATS]


def spikes(tracked: TrackedPattern, spans: Sequence[float]) -> bool:
    """Whether a pattern spikes in the newest reading. Templates of lines that were no warnings never do."""
    *past, newest = zip(tracked.counts, spans, strict=True) if tracked.counts else ((0, 1.0),)
    if len(past) < SPIKE_AFTER or newest[0] < SPIKE_LINES or (tracked.mined and not tracked.bad):
        return False
    return newest[0] / newest[1] >= SPIKE_FACTOR * max(count / span for count, span in past)


def _sorted_out(lines: Iterable[LogLine], book: PatternBook) -> _Kinds:
    kinds = _Kinds()
    names: dict[tuple[str, int], tuple[str, ...]] = {}
    words: dict[str, tuple[str, ...]] = {}
    for line in lines:
        found = names.get((line.text, line.level))
        if found is None:
            found = names[line.text, line.level] = book.found_in(line)
        for name in found:
            kinds.known.setdefault((name, line.service), _Tally()).add(line)
        if not found:
            said = words.get(line.text)
            if said is None:
                said = words[line.text] = mask_words(line.text)
            if said:
                kinds.other.setdefault((said, line.service), _Tally()).add(line)
    return kinds


def _mined(
    other: Mapping[tuple[tuple[str, ...], str], _Tally],
    templates: Templates,
    redact: Redact,
    tallies: dict[tuple[str, str, bool], _Tally],
) -> dict[str, str]:
    """Add the lines no pattern knows to the tallies of their templates, the most frequent first: those find room. Gives
    the new names of templates that grew more general."""
    old = [_name(words) for words in templates.all]
    places: list[tuple[int, str, _Tally]] = []
    total = Counter[tuple[str, ...]]()
    for (said, _), tally in other.items():
        total[said] += tally.lines
    at: dict[tuple[str, ...], int | None] = {}
    for said, _ in total.most_common():
        place = templates.place_of(said)
        if place is None:
            clean = tuple(redact(" ".join(said)).split()[: len(said)]) or (WILDCARD,)
            place = templates.place_of(clean)
            place = templates.added(clean) if place is None else place
        at[said] = place
    places = [(p, service, tally) for (said, service), tally in other.items() if (p := at[said]) is not None]
    for place, service, tally in places:
        into = tallies.setdefault((_name(templates.all[place]), service, True), _Tally())
        for end in (tally.first, tally.last):
            if end is not None:
                into.add(end, 0)
        into.lines, into.level = into.lines + tally.lines, max(into.level, tally.level)
    return {before: _name(now) for before, now in zip(old, templates.all, strict=False)}


def _name(words: Sequence[str]) -> str:
    return " ".join(words)


def _went_on(
    key: tuple[str, str, bool],
    before: TrackedPattern | None,
    tally: _Tally | None,
    readings: int,
    now: Instant,
    redact: Redact,
) -> TrackedPattern:
    pattern, service, mined = key
    past = before.counts[-(readings - 1) :] if before and readings > 1 else []
    counts = [0] * (readings - 1 - len(past)) + past + [tally.lines if tally else 0]
    if tally is None or tally.first is None or tally.last is None:
        assert before is not None
        return before.model_copy(update={"counts": counts, "pattern": pattern})
    first, last = tally.first.when(now), tally.last.when(now)
    return TrackedPattern(
        pattern=pattern,
        service=service,
        mined=mined,
        level=max(tally.level, before.level if before else NO_LEVEL),
        first_seen=min(before.first_seen, first) if before else min(first, last),
        last_seen=max(before.last_seen, last) if before else max(first, last),
        sample=redact(tally.last.text)[:MAX_SAMPLE],
        counts=counts,
    )


def _worth(tracked: TrackedPattern) -> tuple[bool, bool, int]:
    """What is shown and kept first: what was a warning, then what is known, then what was often."""
    return (tracked.bad, not tracked.mined, sum(tracked.counts))


def _readings_within(spans: Sequence[float], window_sec: float) -> int:
    """How many of the newest readings cover the window; at least one."""
    covered, number = 0.0, 0
    for span in reversed(spans):
        covered, number = covered + span, number + 1
        if covered >= window_sec:
            break
    return max(1, number)


def _pattern(tracked: TrackedPattern) -> LogPattern:
    return LogPattern(
        pattern=tracked.pattern,
        count=sum(tracked.counts),
        service=tracked.service,
        last_seen=tracked.last_seen,
        first_seen=tracked.first_seen,
        level=LEVELS[tracked.level],
        mined=tracked.mined,
        sample=tracked.sample,
    )
