"""What memory learns of limits that are near: since when, and how fast more of them is used. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict, FiniteFloat
from whenever import Instant

from copilot.rules.signals.limits import NEAR_SHARE
from copilot.rules.signals.readings import Signals

NEAR_FOR_SEC = 600.0
"""For this time a limit must be near before it is a finding: an hourly job comes and goes."""
TREND_OVER_SEC = 1_800.0
APART_SEC = 50.0
LONGEST_LEFT_SEC = 86_400.0
LEAST_SAMPLES = 5
WELL_FITTED = 0.5
PREFIX = "limits."


@dataclass(frozen=True, slots=True)
class NearLimit:
    """A limit that is near: since when, and (when, share) of the last half hour, oldest first."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    since: Instant
    shares: tuple[tuple[Instant, FiniteFloat], ...] = ()

    def near_for_sec(self, now: Instant) -> float:
        """For how long it has been near."""
        return (now - self.since).total("seconds")

    def left_sec(self) -> float | None:
        """Seconds until all of it is used, by a straight line through the shares; None where they do not rise, do not
        lie on a line (it explains less than half of their variance), or it takes longer than a day."""
        if len(self.shares) < LEAST_SAMPLES:
            return None
        begin = self.shares[0][0]
        slope, fit = _line([((at - begin).total("seconds"), share) for at, share in self.shares])
        left = (1.0 - self.shares[-1][1]) / slope if slope > 0 else None
        return max(0.0, left) if left is not None and fit >= WELL_FITTED and left <= LONGEST_LEFT_SEC else None


def limits_learned(before: Mapping[str, NearLimit], signals: Signals) -> dict[str, NearLimit]:
    """The limits that are near after this tick. One that was not read keeps its past for half an hour."""
    now, found = signals.metrics_at or signals.time, {}
    for signal_id in {**before, **dict.fromkeys(i for i in signals.readings if i.startswith(PREFIX))}:
        share, past = signals.value(signal_id), before.get(signal_id)
        if share is not None and share >= NEAR_SHARE:
            shares = past.shares if past else ()
            if not shares or (now - shares[-1][0]).total("seconds") >= APART_SEC:
                shares = (*(s for s in shares if (now - s[0]).total("seconds") <= TREND_OVER_SEC), (now, share))
            found[signal_id] = NearLimit(past.since if past else now, shares)
        elif share is None and past and (now - past.shares[-1][0]).total("seconds") <= TREND_OVER_SEC:
            found[signal_id] = past
    return found


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the line of least squares, and the share of the variance it explains."""
    count = len(points)
    x, y = (sum(p[axis] for p in points) / count for axis in (0, 1))
    xx, yy = (sum((p[axis] - mean) ** 2 for p in points) for axis, mean in ((0, x), (1, y)))
    xy = sum((p[0] - x) * (p[1] - y) for p in points)
    return (xy / xx, xy * xy / (xx * yy)) if xx and yy else (0.0, 0.0)
