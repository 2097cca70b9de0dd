"""What there is to explain, decided by rule: nothing, a short explanation or a deep one, and whether it is new."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from copilot.rules.model import BottleneckClassification, Evaluation, ReportedState
from copilot.rules.signals.readings import LogPattern

Depth: TypeAlias = Literal["quick", "deep"]
_ERRORS = frozenset({"error", "fatal"})
_UNCLEAR = frozenset({BottleneckClassification.MIXED, BottleneckClassification.UNKNOWN})


@dataclass(frozen=True, slots=True)
class NoExplanationNeeded:
    """The rules' explanation is enough."""

    reason: str


@dataclass(frozen=True, slots=True)
class QuickExplanation:
    """One finding says it all: a few sentences from the smaller model are enough."""

    depth: Depth = "quick"


@dataclass(frozen=True, slots=True)
class NeedsDeepExplanation:
    """The cause is not obvious: the larger model gets runbooks, logs and the history of signals."""

    reason: str
    depth: Depth = "deep"


Decision: TypeAlias = NoExplanationNeeded | QuickExplanation | NeedsDeepExplanation


def decide_depth(evaluation: Evaluation) -> Decision:
    """How much explanation an evaluation needs. Whether it was explained before is for its caller to look up, by
    `fingerprint`."""
    verdict = evaluation.verdict
    state = verdict.health_state
    if state is ReportedState.UNKNOWN or verdict.stale:
        return NoExplanationNeeded("not enough data")
    if state is ReportedState.HAPPY:
        return QuickExplanation() if evaluation.findings else NoExplanationNeeded("no findings")
    if not evaluation.findings:
        return NeedsDeepExplanation("no finding explains the state")
    if len(evaluation.findings) > 1:
        return NeedsDeepExplanation("several findings")
    if evaluation.bottleneck in _UNCLEAR:
        return NeedsDeepExplanation("the bottleneck is not clear")
    if any(pattern.mined and pattern.level in _ERRORS for pattern in evaluation.signals.logs):
        return NeedsDeepExplanation("the logs hold errors of an unknown kind")
    return QuickExplanation()


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
        "patterns": sorted([p.service, p.pattern] for p in evaluation.signals.logs if _lasting(p)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _lasting(pattern: LogPattern) -> bool:
    """Mined templates come and go; only errors among them count."""
    return not pattern.mined or pattern.level in _ERRORS


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
