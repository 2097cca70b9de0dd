"""Long ranges downsampled without losing changes, peaks and gaps."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from copilot.store.base import SeriesPoint, TimelinePoint

T = TypeVar("T")


def thin_timeline(points: Sequence[TimelinePoint], max_points: int) -> list[TimelinePoint]:
    """At most `max_points` of the points, oldest first: the first, the last and every change of state or staleness, the
    rest evenly spaced. With too many changes, the range is cut into equal parts and the worst point of each is kept."""
    if len(points) <= max_points:
        return list(points)
    changes = [
        i
        for i in range(1, len(points))
        if points[i].health_state is not points[i - 1].health_state or points[i].stale != points[i - 1].stale
    ]
    keep = {0, len(points) - 1, *changes}
    if len(keep) > max_points:
        return [max(part, key=lambda p: p.health_state.rank) for part in _parts(points, max_points)]
    quiet = [i for i in range(len(points)) if i not in keep]
    keep.update(part[len(part) // 2] for part in _parts(quiet, max_points - len(keep)))
    return [points[i] for i in sorted(keep)]


def thin_series(points: Sequence[SeriesPoint], max_points: int) -> list[SeriesPoint]:
    """At most `max_points` of the points, oldest first: the lowest and the highest of each of equal parts, so that
    peaks stay; a part without any value stays a gap."""
    if len(points) <= max_points:
        return list(points)
    if max_points < 2:
        return list(points[-max_points:])
    kept: list[SeriesPoint] = []
    for part in _parts(points, max_points // 2):
        valued = [(p.value, i) for i, p in enumerate(part) if p.value is not None]
        chosen = sorted({min(valued)[1], max(valued)[1]}) if valued else [len(part) // 2]
        kept.extend(part[i] for i in chosen)
    return kept


def _parts(points: Sequence[T], count: int) -> Iterator[Sequence[T]]:
    """The points in `count` runs of nearly equal length; fewer when there are fewer points."""
    count = min(count, len(points))
    for n in range(count):
        yield points[n * len(points) // count : (n + 1) * len(points) // count]
