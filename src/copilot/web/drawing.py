"""Small charts as SVG coordinates, which need no JavaScript."""

from collections.abc import Sequence
from dataclasses import dataclass

from whenever import Instant

from copilot.store.base import TimelinePoint

SPARK_WIDTH, SPARK_HEIGHT = 120.0, 30.0
STRIP_WIDTH = 1000.0


@dataclass(frozen=True, slots=True)
class Spark:
    """A sparkline: one polyline (SVG points) per unbroken run of values, and the area under each."""

    lines: tuple[str, ...]
    areas: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the timeline in one state, and its place (0…1000). `factor` is the top factor of its last point that
    has one."""

    x: float
    width: float
    state: str
    stale: bool
    begin: Instant
    end: Instant
    factor: str | None = None


def spark(values: Sequence[tuple[float, float | None]], whole: float, lasts: float) -> Spark:
    """A sparkline of values at seconds of `whole`, on a scale from zero to the highest value. A missing value is a gap,
    and so are more than `lasts` seconds without one."""
    runs: list[list[tuple[float, float]]] = [[]]
    before = 0.0
    for at, value in values:
        if runs[-1] and (value is None or at - before > lasts):
            runs.append([])
        if value is not None:
            runs[-1].append((at, value))
        before = at
    some = [value for run in runs for _, value in run]
    if not some:
        return Spark((), ())
    low, high = min(0.0, *some), max(some)
    span = (high - low) or 1.0

    def place(at: float, value: float) -> tuple[float, float]:
        y = SPARK_HEIGHT - 2 - (SPARK_HEIGHT - 4) * (value - low) / span
        return round(SPARK_WIDTH * at / whole, 1), round(y, 1)

    lines, areas = [], []
    for run in filter(None, runs):
        points = [place(at, value) for at, value in run]
        if len(points) == 1:
            x, y = points[0]
            points = [(max(0.0, x - 1), y), (min(SPARK_WIDTH, x + 1), y)]
        line = " ".join(f"{x:g},{y:g}" for x, y in points)
        lines.append(line)
        areas.append(f"{points[0][0]:g},{SPARK_HEIGHT:g} {line} {points[-1][0]:g},{SPARK_HEIGHT:g}")
    return Spark(tuple(lines), tuple(areas))


def strip(points: Sequence[TimelinePoint], start: Instant, end: Instant, lasts_sec: float) -> tuple[Stretch, ...]:
    """The timeline from `start` to `end` as stretches of equal state. A point holds until the next, but no longer than
    `lasts_sec`, so that an outage of the Copilot is a gap."""
    stretches: list[Stretch] = []
    for point, following in zip(points, [*(p.time for p in points[1:]), end], strict=False):
        until = min(point.time.add(seconds=lasts_sec), following, end)
        state = point.health_state.value
        last = stretches[-1] if stretches else None
        begin, factor = point.time, point.top_factor
        if last is not None and last.end == begin and (last.state, last.stale) == (state, point.stale):
            begin, factor = last.begin, factor or last.factor
            stretches.pop()
        x, right = (round(place(time, start, end), 2) for time in (begin, until))
        stretches.append(Stretch(x, max(1.5, right - x), state, point.stale, begin, until, factor))
    return tuple(stretches)


def place(time: Instant, start: Instant, end: Instant) -> float:
    """Where a time lies on the timeline (0…1000) from `start` to `end`."""
    share = (time - start).total("seconds") / (end - start).total("seconds")
    return STRIP_WIDTH * max(0.0, min(1.0, share))
