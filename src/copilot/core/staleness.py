"""How an evaluation must be read some time after it was made (requirements §3.3).

Nobody may see last hour's verdict as today's: a verdict that nobody renews is first stale, then unknown. Readers (API,
page, command line) pass every evaluation through `as_of` before they show it.
"""

from typing import TypeVar

from whenever import Instant

from copilot.core.assessment import BottleneckClassification, Evaluation, HealthState, ReportedState, Transition

STALE_AFTER_INTERVALS = 1.5
UNKNOWN_AFTER_INTERVALS = 3.0
UNKNOWN_AFTER_SEC = 90.0

E = TypeVar("E", bound=Evaluation)


def stale_after_sec(interval_sec: float) -> float:
    """Seconds without a newer evaluation after which a verdict is stale."""
    return STALE_AFTER_INTERVALS * interval_sec


def unknown_after_sec(interval_sec: float) -> float:
    """Seconds without a newer evaluation after which a verdict is unknown."""
    return max(UNKNOWN_AFTER_INTERVALS * interval_sec, UNKNOWN_AFTER_SEC)


def age_sec(evaluation: Evaluation, now: Instant) -> float:
    """Seconds since the evaluation was made; 0 for one made by a clock ahead of ours."""
    return max(0.0, (now - evaluation.time).total("seconds"))


def as_of(evaluation: E, now: Instant) -> E:
    """The same evaluation as a reader must see it at `now`, if it is still the newest one.

    Fresh: as it is. Older than 1.5 intervals: stale. Older than max(3 intervals, 90 s): unknown since that moment, with
    the state it had as `last_known_state`, no confidence, no bottleneck, and a summary that says so first; readings,
    gates and findings stay as they were at its time."""
    verdict = evaluation.verdict
    age = age_sec(evaluation, now)
    if age <= stale_after_sec(evaluation.interval_sec):
        return evaluation
    limit = unknown_after_sec(evaluation.interval_sec)
    if age <= limit or verdict.health_state is ReportedState.UNKNOWN:
        return evaluation.model_copy(update={"verdict": verdict.model_copy(update={"stale": True})})
    since = evaluation.time.add(seconds=limit)
    unknown = verdict.model_copy(
        update={
            "health_state": ReportedState.UNKNOWN,
            "last_known_state": HealthState(verdict.health_state.value),
            "since": since,
            "stale": True,
            "confidence": 0.0,
            "transition": Transition(before=verdict.health_state, after=ReportedState.UNKNOWN, time=since),
        }
    )
    heard = evaluation.time.round("second", mode="floor").format_iso()
    return evaluation.model_copy(
        update={
            "verdict": unknown,
            "bottleneck": BottleneckClassification.UNKNOWN,
            "summary": f"Nothing has been heard since {heard}. Before that: {evaluation.summary}",
        }
    )
