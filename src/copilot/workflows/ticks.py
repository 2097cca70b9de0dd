"""When a loop evaluates. All times are unix seconds.

Ticks lie on multiples of the interval. The first one, one somebody asked for, and one the loop comes to late (its
worker was away) bear the second in which they really happen, so that no verdict claims to be older than it is.
"""

import math


def slack(interval_sec: float) -> float:
    """Seconds by which a tick may be late and still bear its planned time. Two planned ticks are never closer
    than that."""
    return max(1.0, interval_sec / 4)


def next_tick(last: int | None, now: float, interval_sec: float) -> int:
    """The next moment to evaluate: at once if there was no tick yet, or if the clock went back behind it."""
    if last is None or _clock_went_back(last, now, interval_sec):
        return math.floor(now)
    steps = math.ceil((last + slack(interval_sec)) / interval_sec)
    return math.floor(steps * interval_sec)


def tick_time(last: int | None, now: float, interval_sec: float) -> int:
    """The time a tick bears that begins at `now`: the planned one if it is on time, else now's second, and always a
    later one than the last tick's."""
    due = next_tick(last, now, interval_sec)
    time = due if due <= now < due + slack(interval_sec) else math.floor(now)
    if last is None or _clock_went_back(last, now, interval_sec):
        return time
    return max(time, last + 1)


def _clock_went_back(last: int, now: float, interval_sec: float) -> bool:
    return last > now + interval_sec
