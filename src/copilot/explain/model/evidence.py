"""What a model's answer may rest on: readings to cite, names to mention, actions to choose from. Redacted and
bounded."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from copilot.explain.explanation import ExplainedEvaluation
from copilot.explain.model.answer import ActionRef
from copilot.explain.model.knowledge import MOST_PASSAGES, Passage
from copilot.explain.numbers import bounded, measure
from copilot.redaction.redactor import redacted, redacted_name
from copilot.rules.scaling import broken_rule
from copilot.rules.signals.readings import BreakdownRow
from copilot.rules.signals.taxonomy import SPECS

MOST_ROWS = 20
MOST_NAMES = 2_000
LONGEST_NAME = 200
LONGEST_PASSAGE = 4_000
PLACEHOLDER = re.compile(r"\{([^{}\n]{1,600})\}")
_IDENTIFIER = re.compile(r"`([\w.:-]{1,100})`")
_UNFIT = re.compile(r"[{}`\s]")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of one evaluation. `readings`: by placeholder, each in its unit as prose writes it. `names`:
    signals, gates, findings, components, task queues and other labels. `actions`: those the rules offer for the
    findings. `addresses`: IP addresses are redacted."""

    readings: Mapping[str, str]
    names: frozenset[str]
    actions: frozenset[ActionRef]
    findings: frozenset[str]
    passages: tuple[Passage, ...] = ()
    addresses: bool = False

    def fill(self, text: str) -> str:
        """The text with its placeholders replaced by readings; unknown ones stay."""
        return PLACEHOLDER.sub(lambda match: self.readings.get(match[1], match[0]), text)


def evidence(evaluation: ExplainedEvaluation, passages: Sequence[Passage] = (), *, addresses: bool = False) -> Evidence:
    """The evidence of an evaluation. Log text gives no names: only patterns that the Copilot knows do."""
    signals = evaluation.signals
    known = tuple(
        passage.model_copy(
            update={
                name: redacted(getattr(passage, name)[:LONGEST_PASSAGE], addresses=addresses)
                for name in ("source", "title", "text")
            }
        )
        for passage in passages[:MOST_PASSAGES]
    )
    findings = frozenset(issue.finding for issue in evaluation.findings)
    offered = frozenset(
        ActionRef(finding=issue.finding, action=action.key)
        for issue in evaluation.findings
        for action in issue.suggested_actions
        if broken_rule(action, signals) is None
    )
    names = {
        *signals.readings,
        *signals.targets,
        *findings,
        *(signal for issue in evaluation.findings for signal in issue.related_signals),
        *(gate.name for gate in evaluation.verdict.gates),
        *(component.name for component in evaluation.services),
        *(choice.action for choice in offered),
        evaluation.bottleneck.value,
        *(pattern.pattern for pattern in signals.logs if not pattern.mined),
        *(redacted_name(label[:LONGEST_NAME], addresses=addresses) for label in _labels(evaluation)),
        *(name for passage in known for name in _IDENTIFIER.findall(passage.text)),
    }
    return Evidence(
        readings=dict(_readings(evaluation, addresses=addresses)),
        names=frozenset(sorted(name for name in names if name)[:MOST_NAMES]),
        actions=offered,
        findings=findings,
        passages=known,
        addresses=addresses,
    )


def row_placeholder(signal_id: str, row: BreakdownRow, *, addresses: bool) -> str:
    """`matching.backlog_count:default/orders/workflow`; empty where a label cannot be part of a placeholder."""
    labels = [redacted_name(value[:LONGEST_NAME], addresses=addresses) for _, value in sorted(row.labels.items())]
    return "" if any(_UNFIT.search(label) for label in labels) else f"{signal_id}:{'/'.join(labels)}"


def _readings(evaluation: ExplainedEvaluation, *, addresses: bool) -> Iterator[tuple[str, str]]:
    signals = evaluation.signals
    for signal_id, value in signals.readings.items():
        if value is not None:
            text = measure(value, _unit(signal_id))
            yield signal_id, bounded(text, at_least=signal_id in signals.at_least)
    for signal_id, rows in signals.breakdowns.items():
        for row in rows[:MOST_ROWS]:
            if placeholder := row_placeholder(signal_id, row, addresses=addresses):
                yield placeholder, measure(row.value, _unit(signal_id))
    for gate in evaluation.verdict.gates:
        if gate.fired:
            for name, number in (("value", gate.value), ("threshold", gate.threshold)):
                if number is not None:
                    yield f"{gate.name}.{name}", measure(number, gate.unit)


def _unit(signal_id: str) -> str:
    return SPECS[signal_id].unit if signal_id in SPECS else ""


def _labels(evaluation: ExplainedEvaluation) -> Iterator[str]:
    yield evaluation.cluster
    for rows in evaluation.signals.breakdowns.values():
        for row in rows[:MOST_ROWS]:
            yield from (*row.labels, *row.labels.values())
    for gate in evaluation.verdict.gates:
        if gate.fired:
            yield from (*gate.labels, *gate.labels.values())
    yield from (issue.subject for issue in evaluation.findings)
