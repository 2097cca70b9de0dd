"""Numbers in prose: which are said, in what unit, how exactly, and whether one that was measured bears them out."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Dimension = Literal["time", "rate", "share", "bytes", "count", "times"]

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_UNITS: dict[str, tuple[Dimension, float]] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), ("time", 1e-3)),
    **dict.fromkeys(("us", "µs", "μs", "microseconds"), ("time", 1e-6)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), ("time", 1.0)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), ("time", 60.0)),
    **dict.fromkeys(("h", "hour", "hours"), ("time", 3600.0)),
    **dict.fromkeys(("d", "day", "days"), ("time", 86400.0)),
    **dict.fromkeys(("%", "percent"), ("share", 0.01)),
    **dict.fromkeys(("/s", "Hz"), ("rate", 1.0)),
    "/min": ("rate", 1 / 60),
    **dict.fromkeys(("times", "x", "-fold"), ("times", 1.0)),
    **dict.fromkeys(("bytes", "B"), ("bytes", 1.0)),
    **dict.fromkeys(("kB", "KB", "KiB"), ("bytes", 1e3)),
    **dict.fromkeys(("MB", "MiB"), ("bytes", 1e6)),
    **dict.fromkeys(("GB", "GiB"), ("bytes", 1e9)),
}
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_WORDS = {
    **{w: float(n) for n, w in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())},
    **{w: 10.0 * n for n, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)},
    "thirteen": 13.0, "fourteen": 14.0, "fifteen": 15.0, "sixteen": 16.0, "dozen": 12.0, "hundred": 100.0,
    "thousand": 1000.0, "million": 1e6, "billion": 1e9,
}  # fmt: skip
_FRACTIONS = {
    "half": 0.5,
    "third": 1 / 3,
    "thirds": 1 / 3,
    "quarter": 0.25,
    "quarters": 0.25,
    "fifth": 0.2,
    "fifths": 0.2,
}
_SAID = re.compile(
    rf"(?<![\w.])(?P<sign>[-−+])?(?P<number>{_NUMBER})(?P<big>[kKM](?![A-Za-z]))?\s?(?:(?P<unit>{_UNIT})(?![\w/]))?(?![\d:])"
)
_COMPOUND = re.compile(
    r"(?<![\w.])(\d+)\s?(h|hours?|min|m|minutes?)\s(?:and\s)?(\d+)\s?(s|sec|seconds?|min|minutes?)\b"
)
_WORD = re.compile(rf"(?<![\w-])(?P<number>{'|'.join(_WORDS)})(?![\w])(?:[\s-](?P<unit>seconds?|minutes?|hours?|days?|percent|times))?", re.IGNORECASE)  # fmt: skip
_MANY = re.compile(r"(?<![\w-])(?P<many>dozens|hundreds|thousands|millions|billions)(?!\w)", re.IGNORECASE)
_PART = re.compile(rf"(?<![\w-])(?:(?P<count>a|an|one|two|three|four)\s)?(?P<part>{'|'.join(_FRACTIONS)})\s(?:of|the|its|their)(?!\w)", re.IGNORECASE)  # fmt: skip
_OUT_OF = re.compile(rf"(?<![\w.])({_NUMBER}|{'|'.join(_WORDS)})\s(?:in|out of|of)(?:\severy)?\s({_NUMBER}|{'|'.join(_WORDS)})(?![\w%/])", re.IGNORECASE)  # fmt: skip
_GROWTH = {"doubled": 2.0, "twice": 2.0, "twofold": 2.0, "tripled": 3.0, "threefold": 3.0, "thrice": 3.0, "quadrupled": 4.0, "fourfold": 4.0, "fivefold": 5.0,
           "tenfold": 10.0, "hundredfold": 100.0, "halved": 0.5}  # fmt: skip
_GROWN = re.compile(rf"(?<![\w-])(?P<grown>{'|'.join(_GROWTH)})(?!\w)", re.IGNORECASE)
_AN_HOUR = re.compile(r"(?<!\w)(?P<part>half )?an? (?P<long>hour|day)(?!\w)", re.IGNORECASE)
_PER_SECOND = re.compile(r"^[^.,;:()\d]{0,60}?(?:/s\b|\b(?:per|a|each|every) second\b)", re.IGNORECASE)
_PER_MINUTE = re.compile(r"^[^.,;:()\d]{0,60}?(?:/min\b|\b(?:per|each|every) minute\b)", re.IGNORECASE)
_ABOUT = re.compile(r"(?:about|around|roughly|approximately|some|nearly|almost|close to|circa|~|≈|an? estimated)\s?$", re.IGNORECASE)  # fmt: skip
_OVER = re.compile(r"(?:more than|over|above|at least|exceeds?|exceeded|past|passed|greater than|upwards of|>)\s?$", re.IGNORECASE)  # fmt: skip
_UNDER = re.compile(r"(?:less than|under|below|up to|at most|within|fewer than|nearly|almost|not even|<)\s?(?:a\s)?$", re.IGNORECASE)  # fmt: skip
_THINGS = re.compile(r"^\s?(?:[a-z]+ing\s|[a-z]+ed\s|[a-z]+\s)?(?P<noun>tasks?|pollers?|polls?|slots?|workers?|targets?|partitions|shards|lines|queues|workflows|requests|calls|errors|failures|activities|processes)\b")  # fmt: skip
_OF_THINGS = re.compile(
    r"^\s?(?:of )?(?:the |all |its |their |dispatched |closed )?(?:[a-z]+ )?(?P<noun>tasks|polls|pollers|workers|slots|workflows|requests|calls|errors)\b"
)
_TOPICS: dict[str, tuple[str, ...]] = {
    "task": ("backlog", "task", "match"), "poller": ("poll",), "poll": ("poll",), "slot": ("slot",), "worker": ("worker", "target"),
    "target": ("target",), "workflow": ("workflow_completion", "starts"), "request": ("request", "error", "rejected", "turned", "throttled"),
    "call": ("persistence",), "shard": ("shard",), "line": ("log",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """A number of the evidence, in seconds, 1/s, shares of one, bytes or plain; `about` names what it measures (empty:
    whatever the words around it say). `native` is the number as its signal's unit writes it."""

    value: float
    dimension: Dimension
    about: str = ""
    native: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A number in a text. `low` and `high`: what a measurement must lie between to be what was said. No dimension: a
    plain number. `noun`: the things it counts, if it says."""

    text: str
    low: float
    high: float
    dimension: Dimension | None
    noun: str = ""

    def borne_out(self, measured: Iterable[Measured]) -> bool:
        """Whether one of the measurements is what was said."""
        return any(self._is(m) for m in measured)

    def _is(self, m: Measured) -> bool:
        if self.dimension is None:
            if self.noun:
                topics = _TOPICS.get(self.noun.removesuffix("s"), ())
                fits = m.dimension in ("count", "rate") and (
                    not m.about or not topics or any(t in m.about for t in topics)
                )
                return fits and self.low <= m.value <= self.high
            return self.low <= (m.value if m.native is None else m.native) <= self.high or (
                m.dimension == "share" and self.low <= m.value <= self.high
            )
        topics = _TOPICS.get(self.noun.removesuffix("s"), ()) if self.dimension == "share" else ()
        other = bool(topics and m.about and not any(t in m.about for t in topics))
        return m.dimension == self.dimension and not other and self.low <= m.value <= self.high


def said(text: str) -> Iterator[Said]:
    """Every number a text says, in figures and words. `one` counts as none: it is a pronoun as often."""
    text = _ORDINAL.sub(" ", text)
    for match in _COMPOUND.finditer(text):
        first, second = (_UNITS[u][1] for u in (match[2], match[4]))
        value = int(match[1]) * first + int(match[3]) * second
        yield Said(match.group(), value - second / 2, value + second / 2, "time")
    text = _COMPOUND.sub(" ", text)
    for match in _OUT_OF.finditer(text):
        one, other = _value(match[1]), _value(match[2])
        if (
            0 <= one < other
            and (other <= 10 or not match[2][0].isdigit())
            and not _PER_SECOND.match(text[match.end() :])
        ):
            share, slack = one / other, 0.5 / other / (2 if other > 4 else 1)
            yield Said(match.group(), share - slack, share + slack, "share")
    for match in _PART.finditer(text):
        value = _FRACTIONS[match["part"].lower()] * _WORDS.get((match["count"] or "").lower(), 1.0)
        yield _said(match, text, value, 0.03, "share")
    for match in _GROWN.finditer(text):
        yield _said(match, text, _GROWTH[match["grown"].lower()], 0.5, "times")
    for match in _AN_HOUR.finditer(text):
        seconds = _UNITS[match["long"].lower()][1] * (0.5 if match["part"] else 1.0)
        yield Said(match.group(), 0.9 * seconds, 1.1 * seconds, "time")
    for match in _MANY.finditer(text):
        least = _WORDS[match["many"].lower().removesuffix("s")]
        yield Said(match.group(), 2 * least, 1000 * least, None, "tasks")
    out_of = [m.span() for m in _OUT_OF.finditer(text)]
    for match in _WORD.finditer(text):
        inside = any(start <= match.start() < end for start, end in out_of)
        if match["number"].lower() in ("one", "zero") or inside or _FRACTION_FOLLOWS.match(text[match.end() :]):
            continue
        yield _said(match, text, _WORDS[match["number"].lower()], 0.5, None)
    for match in _SAID.finditer(text):
        digits = match["number"].replace(",", "")
        decimals = len(digits.partition(".")[2]) if "e" not in digits.lower() else 0
        value = float(digits) * {"k": 1e3, "K": 1e3, "M": 1e6}.get(match["big"] or "", 1.0)
        slack = 0.5 * 10**-decimals * (1e3 if match["big"] else 1.0)
        if "e" in digits.lower():
            mantissa, _, power = digits.lower().partition("e")
            slack = 0.5 * 10 ** (int(power) - len(mantissa.partition(".")[2]))
        yield _said(match, text, -value if match["sign"] in ("-", "−") else value, slack, None)


_ORDINAL = re.compile(r"(?<![\w.])(?:[1-9]|1\d|20|50|75|90|95|99)(?:st|nd|rd|th)(?!\w)")
_FRACTION_FOLLOWS = re.compile(r"[\s-](?:thirds|quarters|fifths|in|out of)\b")


def _value(text: str) -> float:
    return _WORDS[text.lower()] if text.lower() in _WORDS else float(text.replace(",", ""))


def _said(match: re.Match[str], text: str, value: float, slack: float, dimension: Dimension | None) -> Said:
    unit = match.groupdict().get("unit")
    after, before = text[match.end() : match.end() + 80], text[max(0, match.start() - 24) : match.start()]
    factor, noun = 1.0, ""
    if unit:
        unit = unit if unit in _UNITS else unit.lower()
        dimension, factor = _UNITS[unit]
        if dimension == "time" and unit in ("m", "min", "s") and text[match.start() - 1 : match.start()] == "/":
            dimension, factor = None, 1.0
    elif dimension is None:
        if _PER_SECOND.match(after):
            dimension = "rate"
        elif _PER_MINUTE.match(after):
            dimension, factor = "rate", 1 / 60
        elif things := _THINGS.match(after):
            noun = things["noun"]
    if dimension == "share" and (things := _OF_THINGS.match(after)):
        noun = things["noun"]
    low, high = value - slack, value + slack
    rough = max(slack, min(_last_digit(value) / 2, 0.1 * abs(value)))
    if _ABOUT.search(before):
        low, high = value - rough, value + rough
    elif value >= 100 and value % 10 == 0 and slack == 0.5:
        low, high = min(low, 0.99 * value), max(high, 1.01 * value)
    if _OVER.search(before):
        high = max(high, 1.25 * value if dimension != "share" or unit else 1.0)
    if _UNDER.search(before):
        low = min(low, 0.75 * value if dimension != "share" or unit else 0.0)
    edge = 1e-9 * max(1.0, abs(value))
    return Said(match.group().strip(), (low - edge) * factor, (high + edge) * factor, dimension, noun)


def _last_digit(value: float) -> float:
    """The unit of the last digit of a whole number that is not zero: 10 of 240. Else its half below two digits."""
    whole, unit = abs(round(value)), 1
    while whole and whole % (unit * 10) == 0:
        unit *= 10
    return float(max(unit, 10 if whole >= 100 else 1))
