"""When a backlog will have drained at the present rate, or what it lacks: only where its readings of the last minutes
lie on a line.

The slope of a least-squares line through the backlog is add rate less dispatch rate, whatever of the two can be read.
Its standard error gives the interval (two of them on each side); a trend that turned, or a gauge that is refreshed once
a minute, fits no line and gives nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import ClassVar, TypeAlias

from pydantic import ConfigDict, FiniteFloat
from whenever import Instant, TimeDelta

from copilot.rules.flow import Flow

REACH = TimeDelta(minutes=4)
APART = TimeDelta(seconds=20)
FEWEST = 5
NEWEST = 3
"""So many of the newest samples must show about the same slope: a trend that has just turned is none."""
OVER_SEC = 80.0
MOST_QUEUES = 10
LEAST_BACKLOG = 20.0
"""Smaller ones are noise."""
ERRORS = 2.0
WIDEST = 3.0
"""An interval whose ends differ by more than this factor says nothing."""
LONGEST_SEC = 86_400.0
Samples: TypeAlias = tuple[tuple[Instant, FiniteFloat], ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of one task queue's backlog (tasks) at the present rate. `drains_in_sec`: between how many seconds;
    None: it does not drain. `more_dispatch`: by which share more tasks must be dispatched for it not to grow; None: it
    drains. Empty names: the cluster's."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    namespace: str = ""
    task_queue: str = ""
    task_type: str = ""
    backlog: FiniteFloat = 0.0
    drains_in_sec: tuple[FiniteFloat, FiniteFloat] | None = None
    more_dispatch: FiniteFloat | None = None


def backlogs_learned(before: Mapping[str, Samples], flows: Iterable[Flow], now: Instant) -> dict[str, Samples]:
    """The backlogs to remember, of the queues with the largest: samples of the last four minutes, 20 s apart."""
    known: dict[str, Samples] = {}
    largest = sorted((f for f in flows if f.backlog), key=lambda f: -(f.backlog or 0.0))[:MOST_QUEUES]
    for flow in largest:
        kept = tuple(s for s in before.get(flow.key, ()) if now - s[0] <= REACH)
        known[flow.key] = kept if kept and now - kept[-1][0] < APART else (*kept, (now, flow.backlog or 0.0))
    return known


def forecasts(samples: Mapping[str, Samples], flows: Iterable[Flow], now: Instant) -> tuple[Forecast, ...]:
    """What becomes of the backlogs of these flows, the largest first; those without a clear trend are left out."""
    found = [_forecast(samples.get(f.key, ()), f, now) for f in sorted(flows, key=lambda f: -(f.backlog or 0.0))]
    return tuple(f for f in found if f is not None)


def _forecast(samples: Samples, flow: Flow, now: Instant) -> Forecast | None:
    backlog = flow.backlog or 0.0
    if backlog < LEAST_BACKLOG or len(samples) < FEWEST or (now - samples[0][0]).total("seconds") < OVER_SEC:
        return None
    points = [((at - now).total("seconds"), value) for at, value in samples]
    slope, error = _line(points)
    if not 0.5 <= _line(points[-NEWEST:])[0] / (slope or 1e-9) <= 2.0:
        return None
    slow, fast = slope + ERRORS * error, slope - ERRORS * error
    named = partial(Forecast, flow.namespace, flow.task_queue, flow.task_type, backlog)
    if slow < 0:
        soon, late = backlog / -fast, backlog / -slow
        if late > WIDEST * soon or late > LONGEST_SEC:
            return None
        return named((soon, late))
    if fast > 0 and flow.dispatch_rate:
        return named(None, slope / flow.dispatch_rate)
    return None  # No trend; or nothing is dispatched, which is another problem than too little.


def _line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Slope of the least-squares line, and its standard error."""
    n = len(points)
    x_mean, y_mean = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / spread
    rest = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in points)
    return slope, sqrt(rest / (n - 2) / spread)
