"""What there is to explain, decided by rule: nothing, a short explanation or a deep one, and whether it is new."""

import hashlib
import json
from collections.abc import Sequence
from typing import Literal, TypeAlias

from copilot.rules.model import BottleneckClassification, Evaluation, ReportedState

Depth: TypeAlias = Literal["quick", "deep"]
_ERRORS = frozenset({"error", "fatal"})
_UNCLEAR = frozenset({BottleneckClassification.MIXED, BottleneckClassification.UNKNOWN})


def decide_depth(evaluation: Evaluation) -> Depth | None:
    """How much explanation an evaluation needs. None: the rules' own is enough, for there is not enough data or nothing
    was found. Quick: one finding says it all. Deep: the cause is not obvious, so the model gets runbooks, logs and the
    history of signals. Whether it was explained before is for its caller to look up, by `fingerprint`."""
    verdict, findings = evaluation.verdict, evaluation.findings
    if verdict.health_state is ReportedState.UNKNOWN or verdict.stale:
        return None
    if verdict.health_state is ReportedState.HAPPY:
        return "quick" if findings else None
    unknown_errors = any(pattern.mined and pattern.level in _ERRORS for pattern in evaluation.signals.logs)
    obvious = len(findings) == 1 and evaluation.bottleneck not in _UNCLEAR and not unknown_errors
    return "quick" if obvious else "deep"


def fingerprint(evaluation: Evaluation) -> str:
    """Twelve bytes in hexadecimal that stay the same while nothing but numbers changes. They cover the reported state
    and its start, the firing gates and their labels, the findings and their subjects, and the log patterns that are
    known or errors; not values, ranks and counts, which differ at every tick."""
    verdict = evaluation.verdict
    parts = {
        "state": [verdict.health_state.value, verdict.stale, verdict.since.format_iso()],
        "bottleneck": evaluation.bottleneck.value,
        "gates": sorted([g.name, *(f"{k}={v}" for k, v in sorted(g.labels.items()))] for g in verdict.gates if g.fired),
        "findings": sorted([i.finding, i.subject, i.severity.value] for i in evaluation.findings),
        # Mined templates come and go; only errors among them count.
        "patterns": sorted(
            [p.service, p.pattern] for p in evaluation.signals.logs if not p.mined or p.level in _ERRORS
        ),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


LEAST_VALUES = 6
STEADY_SHARE = 0.25
"""A change by less than this share of the larger end is no movement."""


def movement(values: Sequence[float | None]) -> str:
    """`rises`, `falls` or `is steady`: the first third of the values against the last, oldest first. Empty where fewer
    than six are known."""
    known = [value for value in values if value is not None]
    if len(known) < LEAST_VALUES:
        return ""
    third = len(known) // 3
    before, now = sum(known[:third]) / third, sum(known[-third:]) / third
    if abs(now - before) <= STEADY_SHARE * max(abs(before), abs(now)):
        return "is steady"
    return "rises" if now > before else "falls"


def signals_of_interest(evaluation: Evaluation, limit: int) -> tuple[str, ...]:
    """The signals whose history matters most: those of the firing gates, then those of the findings."""
    of_gates = (i for gate in evaluation.verdict.gates if gate.fired for i in gate.evidence)
    of_findings = (i for issue in evaluation.findings for i in issue.related_signals)
    read = (i for i in (*of_gates, *of_findings) if evaluation.signals.value(i) is not None)
    return tuple(dict.fromkeys(read))[:limit]
