"""Numbers as people write them, in one place: tables want three digits that matter, prose two.

Prose: 110, 1,200, 0.4, 12 %, 2.2/s, 1 task, 38 tasks, 3 min 20 s.
"""

from functools import lru_cache
from math import ceil

NOTHING = "–"


def quantity(value: float | None, unit: str) -> str:
    """A value with its signal's unit for a table: 44 ms, 1.6 s, 99.2 %, 1,204."""
    if value is None:
        return NOTHING
    if unit == "bool":
        return "yes" if value else "no"
    if unit in ("ratio", "percent"):
        return f"{number(100 * value if unit == 'ratio' else value)} %"
    if unit == "bytes":
        return _bytes(value)
    if unit == "s" or (unit == "ms" and abs(value) >= 1000):
        return duration(value if unit == "s" else value / 1000)
    return number(value) if unit in ("count", "") else f"{number(value)} {unit.removeprefix('1')}"


def bounded(text: str, *, at_least: bool) -> str:
    """A number as text, which may be a lower bound: over 10 s."""
    return f"over {text}" if at_least else text


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    return _rounded(value, 100, 10)


def duration(seconds: float) -> str:
    """A length of time in its one or two largest units."""
    if abs(seconds) < 60:
        return f"{number(seconds)} s"
    whole = round(seconds)
    for size, unit, part, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if abs(whole) >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {below}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def brief(value: float) -> str:
    """Two digits that matter, as prose has them: 0.07, 0.4, 2.2, 17, 110, 1,200."""
    return _rounded(value, 9.95, 0.995)


def rate(value: float) -> str:
    """A rate: 2.2/s."""
    return f"{brief(value)}/s"


@lru_cache(maxsize=64)
def _plural(thing: str) -> str:
    return f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"


def count(value: float, thing: str) -> str:
    """A count of a thing named in the singular: 1 task, 38 tasks, no tasks."""
    whole = round(value)
    if whole == 0:
        return f"no {_plural(thing)}"
    return f"{whole:,} {thing if whole == 1 else _plural(thing)}"


def per_sec(value: float, thing: str) -> str:
    """A rate of a thing named in the singular: 1 workflow/s, 2.2 workflows/s."""
    shown = brief(value)
    return f"{shown} {thing if shown == '1' else _plural(thing)}/s"


def span(seconds: float) -> str:
    """A length of time: 0.4 s, 12 s, 3 min 20 s."""
    return duration(round(seconds) if abs(seconds) >= 9.95 else float(brief(seconds)))


def took(ms: float) -> str:
    """How long something took: 360 ms, 5 s."""
    return span(ms / 1000) if ms >= 1000 else f"{brief(ms)} ms"


def percent(share: float) -> str:
    """A share of one: 12 %; 99.6 % is not all, and 0.4 % not none."""
    return f"{number(100 * share) if 0 < share < 0.01 or 0.99 < share < 1 else brief(100 * share)} %"


def measure(value: float, unit: str) -> str:
    """A value in a signal's unit, for prose."""
    if unit == "attempts":
        return count(max(1, ceil(value)), "attempt")
    prose = {"ms": took, "s": span, "ratio": percent, "1/s": rate}.get(unit)
    return prose(value) if prose else quantity(value, unit)


def listed(names: list[str], most: int = 5) -> str:
    """`a`, `a and b`, `a, b and c`; of more than `most` some, and how many others."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "." if text else ""


def lowered(text: str) -> str:
    """The text as it goes on after a colon."""
    return f"{text[:1].lower()}{text[1:]}"


def _rounded(value: float, whole_from: float, tenths_from: float) -> str:
    size = abs(value)
    if size >= whole_from or value == int(value):
        return f"{value:,.0f}"
    if size >= tenths_from:
        return f"{value:.1f}".removesuffix(".0")
    digits = 2 if size >= 0.01 else 3 if size >= 0.0005 else 6
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{number(value)} {unit}"
        value /= 1000
    return f"{number(value)} TB"
