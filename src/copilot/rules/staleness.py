"""How an evaluation must be read some time after it was made.

Last hour's verdict must not pass for today's: a verdict that is not renewed is first stale, then unknown. Readers (API,
page, command line) pass every evaluation through `as_of` before they show it. What counts is the time since the newest
evaluation with enough evidence: one that had too little renews nothing, so a loop that lost its data and then died is
unknown no later than one that keeps running without data.
"""

from typing import TypeVar

from whenever import Instant

from copilot.rules.model import BottleneckClassification, Evaluation, HealthState, ReportedState, Transition

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

    Fresh: unchanged. More than 1.5 intervals after the newest with enough evidence: stale. After max(3 intervals,
    90 s): unknown since that moment, with the state it had as `last_known_state`, no confidence and no bottleneck;
    readings, gates and findings stay as they were."""
    verdict = evaluation.verdict
    renewed = verdict.usable_at or evaluation.time
    age = (now - renewed).total("seconds")
    if age <= stale_after_sec(evaluation.interval_sec):
        return evaluation
    limit = unknown_after_sec(evaluation.interval_sec)
    if age < limit or verdict.health_state is ReportedState.UNKNOWN:
        return evaluation.model_copy(update={"verdict": verdict.model_copy(update={"stale": True})})
    since = renewed.add(seconds=limit)
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
    return evaluation.model_copy(update={"verdict": unknown, "bottleneck": BottleneckClassification.UNKNOWN})
