"""The narrative signal, from the watched cluster's logs. It explains and never changes a state."""

from collections.abc import Iterable, Mapping

from whenever import Instant

from copilot.rules.signals.readings import Frozen, LogPattern, Missing, MissingCode, Signals

TOP_PATTERN = "log_patterns.top_pattern_count"


class LogReading(Frozen):
    """A reading of the logs. `missing`: why they were not read, or not completely. `spikes`: patterns that spike.
    `counted`: the log store counted the lines, and samples are of few of them."""

    time: Instant
    patterns: tuple[LogPattern, ...] = ()
    top_pattern_count: int = 0
    spikes: tuple[str, ...] = ()
    counted: bool = False
    missing: Missing | None = None


def with_logs(signals: Signals, logs: LogReading | None, stale_sec: float) -> Signals:
    """The signals of a tick with the newest reading of the logs; one older than `stale_sec` is missing, not zero."""
    if logs is None:
        return signals
    age = (signals.time - logs.time).total("seconds")
    why = logs.missing
    if age > stale_sec:
        why = Missing(code=MissingCode.TIMEOUT, detail=f"the logs were last read {age:.0f} s ago")
    count = None if why is not None else float(logs.top_pattern_count)
    missing = {i: m for i, m in signals.missing.items() if i != TOP_PATTERN}
    return signals.model_copy(
        update={
            "readings": {**signals.readings, TOP_PATTERN: count},
            "missing": {**missing, TOP_PATTERN: why} if why is not None else missing,
            "logs": () if age > stale_sec else logs.patterns,
        }
    )


class Correlation(Frozen):
    """A log pattern near an event in time: first seen `lead_sec` seconds before it (negative: after)."""

    pattern: str
    service: str
    event: str
    lead_sec: float


def correlate(
    patterns: Iterable[LogPattern], events: Mapping[str, Instant], window_sec: float
) -> tuple[Correlation, ...]:
    """The pairs of a pattern and an event within `window_sec` of each other, nearest first. The distance is that of the
    event to the time between the pattern's first and last line."""
    found = [
        (distance, Correlation(pattern=p.pattern, service=p.service, event=name, lead_sec=_seconds(_first(p), time)))
        for p in patterns
        for name, time in events.items()
        if (distance := max(0.0, _seconds(time, _first(p)), _seconds(p.last_seen, time))) <= window_sec
    ]
    return tuple(c for _, c in sorted(found, key=lambda pair: pair[0]))


def _first(pattern: LogPattern) -> Instant:
    return pattern.first_seen or pattern.last_seen


def _seconds(start: Instant, end: Instant) -> float:
    return (end - start).total("seconds")
