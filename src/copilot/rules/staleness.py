"""How an evaluation must be read some time after it was made (requirements §3.3).

Nobody may see last hour's verdict as today's: a verdict that nobody renews is first stale, then unknown. Readers (API,
page, command line) pass every evaluation through `as_of` before they show it.

What counts is the time since the newest evaluation with enough evidence. One that had too little renews nothing, so a
loop that went blind and then died is unknown no later than one that goes on blind.
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

    Fresh: as it is. More than 1.5 intervals after the newest with enough evidence: stale. After max(3 intervals, 90 s):
    unknown since that moment, with the state it had as `last_known_state`, no confidence, no bottleneck, and a summary
    that says so first; readings, gates and findings stay as they were at its time."""
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
    missed = "Nothing has been heard" if renewed == evaluation.time else "Too little has been read to judge by"
    heard = renewed.round("second", mode="floor").format_iso()
    return evaluation.model_copy(
        update={
            "verdict": unknown,
            "bottleneck": BottleneckClassification.UNKNOWN,
            "summary": f"{missed} since {heard}. Before that: {evaluation.summary}",
        }
    )
