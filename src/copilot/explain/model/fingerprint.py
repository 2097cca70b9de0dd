"""Whether there is something new to explain: what a situation is, apart from its numbers (requirements §4.5)."""

import hashlib
import json
from collections.abc import Sequence

from copilot.rules.model import Evaluation, ReportedState
from copilot.rules.signals.readings import LogPattern

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


FEWEST = 6
ENOUGH = 0.25
"""Of the larger of the two ends: less is steady."""


def moving(values: Sequence[float | None]) -> str:
    """`rises`, `falls` or `is steady`, by the first and the last third of the values, oldest first; empty where fewer
    than six are known."""
    known = [value for value in values if value is not None]
    if len(known) < FEWEST:
        return ""
    third = len(known) // 3
    before, now = sum(known[:third]) / third, sum(known[-third:]) / third
    if abs(now - before) <= ENOUGH * max(abs(before), abs(now)):
        return "is steady"
    return "rises" if now > before else "falls"


def worth_following(evaluation: Evaluation, most: int) -> tuple[str, ...]:
    """The signals whose history tells most: of the gates that fire, then of the findings."""
    of_gates = (i for gate in evaluation.verdict.gates if gate.fired for i in gate.evidence)
    of_findings = (i for issue in evaluation.findings for i in issue.related_signals)
    read = (i for i in (*of_gates, *of_findings) if evaluation.signals.value(i) is not None)
    return tuple(dict.fromkeys(read))[:most]
