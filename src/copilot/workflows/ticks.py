"""When a loop evaluates. All times are unix seconds.

Ticks lie on multiples of the interval. The first one, and one the loop comes to late (its worker was away), bear the
second in which they really happen, so that no verdict claims to be older than it is.

The loop's time never goes back. When the clock is set back behind the last tick, the loop goes on evaluating at its
interval and its time runs at half speed until the clock has caught up (docs/adr/0009).
"""

import math

# No command of a workflow may depend on its clock: a workflow task that ran while Temporal was killed may be recorded
# with another start than it had (docs/adr/0015). So a tick that is due already is waited for by a timer as well.
EVERY_WAIT_IS_A_TIMER = "every-wait-is-a-timer"
"""The patch by which runs that were begun without it are known."""
SOONEST_SEC = 0.001


def slack(interval_sec: float) -> float:
    """Seconds by which a tick may be late and still bear its planned time. Two planned ticks are never closer
    than that."""
    return max(1.0, interval_sec / 4)


def next_tick(last: int | None, now: float, interval_sec: float) -> int:
    """The next moment to evaluate: at once if there was no tick yet; one interval on if the clock went back behind
    the last one."""
    if last is None:
        return math.floor(now)
    if _clock_went_back(last, now):
        return math.ceil(now + interval_sec)
    steps = math.ceil((last + slack(interval_sec)) / interval_sec)
    return math.floor(steps * interval_sec)


def seconds_until(moment: float, now: float) -> float:
    """How long to wait for it: never no time, for which no timer would be started."""
    return max(moment - now, SOONEST_SEC)


def tick_time(last: int | None, now: float, interval_sec: float) -> int:
    """The time a tick bears that begins at `now`: the planned one if it is on time, else now's second, and always a
    later one than the last tick's."""
    if last is not None and _clock_went_back(last, now):
        return last + max(1, math.floor(interval_sec / 2))
    due = next_tick(last, now, interval_sec)
    time = due if due <= now < due + slack(interval_sec) else math.floor(now)
    return time if last is None else max(time, last + 1)


def _clock_went_back(last: int, now: float) -> bool:
    """A tick is never begun before its time, so a clock that is behind the last one was set back."""
    return last > now + 1
