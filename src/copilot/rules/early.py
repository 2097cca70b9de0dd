"""When a cluster should be read again before the next tick is due.

A fault that shows at once (a process that no longer answers, requests without an answer, a stream of refusals) need not
wait a whole interval for the evaluation that confirms it. The rules of the states stay: it takes as many evaluations as
ever, they only come sooner. Only the first sign is a reason to hurry; while a fault lasts, the interval is right.
"""

from typing import Any

from copilot.rules.gates.context import Effect
from copilot.rules.gates.progress import unanswered
from copilot.rules.gates.registry import IMMEDIATE, with_effect
from copilot.rules.memory import NEVER_FIRED, Memory
from copilot.rules.model import Evaluation, ReportedState
from copilot.rules.signals.readings import Signals
from copilot.rules.thresholds import Thresholds

IN_A_ROW = 2
"""So many early ticks may follow each other; then one is due as planned."""
SOONEST_SEC = 5.0

AT_ONCE = IMMEDIATE | frozenset(with_effect(Effect.REFUSES))


def early_after_sec(interval_sec: float) -> float:
    """Seconds from a tick to an early one: a third of the interval, so that three fit where one was planned."""
    return max(SOONEST_SEC, interval_sec / 3)


def early_learned(signals: Signals, thresholds: Thresholds, window_sec: float) -> dict[str, Any]:
    """What memory learns at a tick, so that only what is new at the next is a reason to come early."""
    hanging = unanswered(signals) * window_sec >= thresholds.requests_rejected_min
    return {"targets": sum(signals.targets.values()), "unanswered": hanging}


def read_again_early(evaluation: Evaluation, before: Memory, after: Memory) -> bool:
    """Whether something is newly wrong at a tick, in a way that shows at once: a gate of requests, of work or of
    refusals began to fire, a page that was read is lost, or requests begin to stay without an answer. `before` and
    `after`: the memory before and after the tick. False at the first tick and in critical or unknown."""
    verdict = evaluation.verdict
    if before.last_tick is None or verdict.health_state in (ReportedState.CRITICAL, ReportedState.UNKNOWN):
        return False
    fires = any(not before.gates.get(name, NEVER_FIRED).fired for name in verdict.fired() if name in AT_ONCE)
    lost = (after.targets or 0) < (before.targets or 0)
    return fires or lost or (after.unanswered and not before.unanswered)
