"""The ways a person may write a moment, and a time between two, on the command line."""

import re

from whenever import Instant, TimeDelta

from copilot.api.times import parse_time
from copilot.core.errors import SettingsError

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def moment(option: str, text: str, now: Instant) -> Instant:
    """The instant that `now`, `-6h` (ms, s, m, h, d, w before now), ISO 8601, a date or epoch seconds or milliseconds
    mean. SettingsError naming the option otherwise."""
    text = text.strip()
    if text == "now":
        return now
    try:
        ago = _SPAN.fullmatch(text.removeprefix("-")) if text.startswith("-") else None
        if ago and ago[2]:
            return now - TimeDelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
        return parse_time(text)
    except (ValueError, OverflowError):
        raise SettingsError(
            [f"{option} {text[:60]!r} is no time: write 2026-11-22T12:00:00Z, a date, epoch seconds, now, or -6h"]
        ) from None


def span(option: str, text: str) -> float:
    """The seconds of `30s`, `1m`, `500ms` or a bare number. SettingsError naming the option otherwise."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise SettingsError([f"{option} {text[:60]!r} is no time between two evaluations: write 30s or 1m"])
    return float(found[1]) * _SECONDS[found[2] or "s"]
