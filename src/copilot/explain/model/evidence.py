"""All that may be said of an evaluation: its numbers, its names, its state. What prompts are built from and a model's
answer is checked against. Bounded in size, and redacted: a secret in a label or a log line is a placeholder here."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from copilot.explain.explanation import ExplainedEvaluation
from copilot.explain.model.knowledge import MOST_PASSAGES
from copilot.explain.model.quantities import Dimension, Measured, said
from copilot.redaction.redactor import Redactor
from copilot.rules.model import BottleneckClassification, ReportedState, ServiceHealth
from copilot.rules.signals.readings import BreakdownRow, Frozen, LogPattern, Signals
from copilot.rules.signals.taxonomy import SPECS, Unit
from copilot.rules.state_machine import USABLE_COVERAGE

MOST_ROWS = 20
MOST_LOGS = 20
MOST_NAMES = 2_000
LONGEST_LOG = 400
LONGEST_PASSAGE = 4_000
_UNITS: dict[Unit, tuple[Dimension, float]] = {
    "1/s": ("rate", 1.0),
    "1/min": ("rate", 1 / 60),
    "ms": ("time", 1e-3),
    "s": ("time", 1.0),
    "ratio": ("share", 1.0),
    "percent": ("share", 0.01),
    "count": ("count", 1.0),
    "bytes": ("bytes", 1.0),
    "bool": ("count", 1.0),
}
# (part, whole) of which people say the share.
_SHARES = (
    ("matching.tasks_dispatched_per_sec", "demand.tasks_added_per_sec"),
    ("workflow_completion.success_per_sec", "demand.starts_per_sec"),
    ("history.tasks_acked_per_sec", "history.task_processing_rate_per_sec"),
    ("persistence.throttled_per_sec", "persistence.request_rate_per_sec"),
    ("persistence.error_rate_per_sec", "persistence.request_rate_per_sec"),
    ("frontend.error_rate_per_sec", "frontend.request_rate_per_sec"),
    ("demand.rejected_per_sec", "demand.requests_per_sec"),
)
IDENTIFIER = re.compile(r"[A-Za-z][\w]*(?:[._-][A-Za-z0-9_]+)+|[a-z]+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*")


class Passage(Frozen):
    """A passage of a runbook, and where it stands."""

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an answer may rest on. `names`: signals, gates, findings, actors, task queues and other labels, as they
    may be written. `logs` and `passages` are data, quoted and cut. `moments`: the instants that may be told, ISO 8601.
    `steps`: how many numbered steps the passages have."""

    state: ReportedState
    before: ReportedState | None
    bottleneck: BottleneckClassification
    signals: Signals
    actors: tuple[ServiceHealth, ...]
    fired: tuple[str, ...]
    findings: tuple[str, ...]
    numbers: tuple[Measured, ...]
    names: frozenset[str]
    vocabulary: frozenset[str]
    moments: tuple[str, ...]
    logs: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    steps: int = 0
    addresses: bool = field(default=False)


def evidence(
    evaluation: ExplainedEvaluation,
    logs: Sequence[LogPattern] = (),
    passages: Sequence[Passage] = (),
    *,
    addresses: bool = False,
) -> Evidence:
    """The evidence of an evaluation with the log patterns and passages that go with it. Log text gives no numbers and
    no names, whatever it says: only how often it was seen. `addresses`: IP addresses are redacted."""
    redactor = Redactor(addresses=addresses)
    logs, passages = logs[:MOST_LOGS], passages[:MOST_PASSAGES]
    signals = evaluation.signals
    labels = {redactor.redact(value) for value in _labels(evaluation)}
    quoted = tuple(redactor.redact(log.pattern[:LONGEST_LOG]) for log in logs)
    known = tuple(
        Passage(source=redactor.redact(p.source), text=redactor.redact(p.text[:LONGEST_PASSAGE])) for p in passages
    )
    names = {
        *signals.readings,
        *(gate.name for gate in evaluation.verdict.gates),
        *(issue.finding for issue in evaluation.findings),
        *(actor.name for actor in evaluation.services),
        *signals.targets,
        evaluation.bottleneck.value,
        evaluation.bottleneck.value.replace("_", "-"),
        redactor.redact(evaluation.cluster),
        *labels,
    }
    told = redactor.redact("\n".join(_told(evaluation)))
    vocabulary = {*IDENTIFIER.findall(told), *(i for p in known for i in IDENTIFIER.findall(p.text))}
    for name in sorted(labels, key=len, reverse=True):
        told = told.replace(name, " ") if any(c.isdigit() for c in name) else told
    return Evidence(
        state=evaluation.verdict.health_state,
        before=evaluation.verdict.transition.before if evaluation.verdict.transition else None,
        bottleneck=evaluation.bottleneck,
        signals=signals,
        actors=evaluation.services,
        fired=evaluation.verdict.fired(),
        findings=tuple(issue.finding for issue in evaluation.findings),
        numbers=tuple({*_measured(evaluation, logs), *_of_text(told), *_of_text("\n".join(p.text for p in known))}),
        names=frozenset(sorted(n for n in names if n)[:MOST_NAMES]),
        vocabulary=frozenset(sorted({*vocabulary, *(p.source for p in known)})[:MOST_NAMES]),
        moments=tuple(_moments(evaluation, logs)),
        logs=quoted,
        passages=known,
        steps=max((int(n) for p in known for n in re.findall(r"(?m)^\s*(\d{1,2})[.)]\s", p.text)), default=0),
        addresses=addresses,
    )


def _labels(evaluation: ExplainedEvaluation) -> Iterator[str]:
    for rows in evaluation.signals.breakdowns.values():
        for row in rows[:MOST_ROWS]:
            yield from (value[:200] for value in row.labels.values())
    for gate in evaluation.verdict.gates:
        if gate.fired:
            yield from (value[:200] for value in gate.labels.values())
    yield from (issue.subject[:200] for issue in evaluation.findings if issue.subject)


def _told(evaluation: ExplainedEvaluation) -> Iterator[str]:
    """What the rules themselves say in words."""
    said_by_rules = evaluation.narrative
    yield evaluation.summary
    yield from (said_by_rules.setting, said_by_rules.trigger, said_by_rules.why)
    for gate in evaluation.verdict.gates:
        if gate.fired:
            yield gate.sentence
    for issue in evaluation.findings:
        yield from (issue.title, issue.description, issue.likely_cause)


def _of_text(text: str) -> Iterator[Measured]:
    for number in said(text):
        middle = (number.low + number.high) / 2
        yield Measured(middle, number.dimension or "count", number.noun, middle)


def _moments(evaluation: ExplainedEvaluation, logs: Iterable[LogPattern]) -> Iterator[str]:
    verdict = evaluation.verdict
    yield from (evaluation.time.format_iso(), verdict.since.format_iso())
    if verdict.transition:
        yield verdict.transition.time.format_iso()
    yield from (log.last_seen.format_iso() for log in logs)


def _measured(evaluation: ExplainedEvaluation, logs: Iterable[LogPattern]) -> Iterator[Measured]:
    signals, verdict = evaluation.signals, evaluation.verdict
    for signal_id, value in signals.readings.items():
        if value is not None:
            yield _reading(signal_id, value)
    for signal_id, rows in signals.breakdowns.items():
        yield from _rows(signal_id, rows[:MOST_ROWS])
    for part, whole in _SHARES:
        yield from _share(signals.value(part), signals.value(whole), f"{part} {whole}")
        yield from _per_queue(f"{part} {whole}", signals.rows(part), signals.rows(whole))
    yield from _slots(signals)
    yield from _complements(signals)
    for gate in verdict.gates:
        dimension, factor = _UNITS.get(gate.unit, ("count", 1.0))  # type: ignore[call-overload]
        for number in (gate.value, gate.threshold):
            if number is not None:
                yield Measured(number * factor, dimension, gate.name, number)
        if gate.value and gate.threshold:
            yield Measured(gate.value / gate.threshold, "times", gate.name)
        if gate.unit == "ratio" and gate.value is not None:
            yield Measured(1 - gate.value, "share", gate.name)
        yield from (_reading(i, v) for i, v in gate.evidence.items() if i in SPECS)
    held = (evaluation.time - verdict.since).total("seconds")
    for seconds in (held, evaluation.interval_sec, evaluation.window_sec):
        yield Measured(seconds, "time", "", seconds)
    shares = (verdict.coverage.primary, verdict.coverage.amplifiers, verdict.coverage.worker, verdict.confidence)
    for share in shares:
        if share is not None:
            yield Measured(share, "share", "coverage", share)
            yield Measured(1 - share, "share", "coverage", 1 - share)
    yield Measured(USABLE_COVERAGE, "share", "coverage", USABLE_COVERAGE)
    for role, count in signals.targets.items():
        yield Measured(count, "count", f"{role} target", count)
    queues = {row.labels.get("task_queue", "") for rows in signals.breakdowns.values() for row in rows} - {""}
    for number, about in (
        (len(verdict.fired()), "gate"),
        (len(evaluation.findings), "finding"),
        (len(evaluation.services), "actor"),
        (len(queues), "queue"),
    ):
        yield Measured(number, "count", about, number)
    for log in logs:
        yield Measured(log.count, "count", "log", log.count)
        yield Measured(log.count, "times", "log", log.count)


def _reading(signal_id: str, value: float) -> Measured:
    spec = SPECS.get(signal_id)
    dimension, factor = _UNITS[spec.unit] if spec else ("count", 1.0)
    return Measured(value * factor, dimension, signal_id, value)


def _complements(signals: Signals) -> Iterator[Measured]:
    """Of every share that was read, the rest: 57 % failed where 43 % succeeded."""
    for signal_id, value in signals.readings.items():
        if value is not None and signal_id in SPECS and SPECS[signal_id].unit == "ratio":
            yield Measured(1 - value, "share", signal_id, 1 - value)


def _rows(signal_id: str, rows: Sequence[BreakdownRow]) -> Iterator[Measured]:
    total = sum(row.value for row in rows)
    by_label: dict[tuple[str, str], float] = {}
    for row in rows:
        yield _reading(signal_id, row.value)
        yield from _share(row.value, total, signal_id)
        for label in row.labels.items():
            by_label[label] = by_label.get(label, 0.0) + row.value
    for value in by_label.values():
        yield _reading(signal_id, value)


def _per_queue(about: str, parts: Sequence[BreakdownRow], wholes: Sequence[BreakdownRow]) -> Iterator[Measured]:
    by_labels = {tuple(sorted(row.labels.items())): row.value for row in wholes}
    for row in parts:
        yield from _share(row.value, by_labels.get(tuple(sorted(row.labels.items()))), about)


def _slots(signals: Signals) -> Iterator[Measured]:
    for kind in ("workflow", "activity"):
        free, used = (signals.value(f"workers.{kind}_slots_{s}") for s in ("available", "used"))
        if free is not None and used is not None:
            yield Measured(free + used, "count", "slots", free + used)
            yield from _share(used, free + used, "slots")
            yield from _share(free, free + used, "slots")


def _share(part: float | None, whole: float | None, about: str) -> Iterator[Measured]:
    if part is not None and whole:
        yield Measured(part / whole, "share", about, part / whole)
        yield Measured(1 - part / whole, "share", about, 1 - part / whole)
