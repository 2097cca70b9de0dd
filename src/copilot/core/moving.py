"""How a signal has moved of late, in a word: what a model may say of history, which has no numbers in the evidence."""

from collections.abc import Sequence

from copilot.core.assessment import Evaluation

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
