"""When an assessment on schedule is due (property 10). All times are unix seconds, as evaluations bear them.

Judged by the time of the evaluation that would be assessed, not by when somebody looks: so two assessments of one
schedule lie a whole window apart however late the looks are.
"""

LOOK_AGAIN_MOST_SEC = 60.0
EVALUATED_WITHIN_SEC = 3.0


def due(evaluated: int, assessed: int | None, window_sec: float) -> bool:
    """Whether the evaluation of that time lies outside the window of the newest assessment."""
    return assessed is None or evaluated - assessed >= window_sec


def newest(*times: int | None) -> int | None:
    """The latest of those known."""
    return max((t for t in times if t is not None), default=None)


def next_look(assessed: int | None, now: float, window_sec: float) -> float:
    """Seconds until it is worth looking again: when the tick that ends the newest assessment's window has been
    evaluated; soon, where that is over and nothing was there to be assessed; never later than in a window."""
    again = min(LOOK_AGAIN_MOST_SEC, window_sec / 10)
    left = 0.0 if assessed is None else assessed + window_sec + min(EVALUATED_WITHIN_SEC, again) - now
    return min(max(left, again), window_sec)
