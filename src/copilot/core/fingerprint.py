"""Whether there is something new to explain: what a situation is, apart from its numbers (requirements §4.5)."""

import hashlib
import json

from copilot.core.assessment import Evaluation, ReportedState
from copilot.core.signals import LogPattern

_LOUD = frozenset({"error", "fatal"})


def worth_explaining(evaluation: Evaluation) -> bool:
    """Not where all is well and nothing is found, and not where nothing could be read: the rules know why."""
    state = evaluation.verdict.health_state
    if state is ReportedState.UNKNOWN or evaluation.verdict.stale:
        return False
    return state is not ReportedState.HAPPY or bool(evaluation.findings)


def fingerprint(evaluation: Evaluation) -> str:
    """Twelve bytes in hexadecimal, the same for as long as nothing changed: the reported state and since when, the
    gates that fire and of what, the findings and their subjects, the log patterns that are known or errors. Values,
    ranks and counts do not count: they differ at every tick."""
    verdict = evaluation.verdict
    parts = {
        "state": [verdict.health_state.value, verdict.stale, verdict.since.format_iso()],
        "bottleneck": evaluation.bottleneck.value,
        "gates": sorted([g.name, *(f"{k}={v}" for k, v in sorted(g.labels.items()))] for g in verdict.gates if g.fired),
        "findings": sorted([i.finding, i.subject, i.severity.value] for i in evaluation.findings),
        "patterns": sorted([p.service, p.pattern] for p in evaluation.signals.logs if _counts(p)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def same_story(one: Evaluation, other: Evaluation) -> bool:
    """Whether words about one are still about the other: the same state since the same moment, bottleneck and findings.
    More gates may fire by now, of the same findings."""
    return _story(one) == _story(other)


def _story(evaluation: Evaluation) -> tuple[object, ...]:
    verdict = evaluation.verdict
    found = frozenset((i.finding, i.subject) for i in evaluation.findings)
    return verdict.health_state, verdict.stale, verdict.since, evaluation.bottleneck, found


def _counts(pattern: LogPattern) -> bool:
    """Templates that were mined come and go; of those only errors do count."""
    return not pattern.mined or pattern.level in _LOUD
