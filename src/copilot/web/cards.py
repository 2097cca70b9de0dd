"""The page's cards: the worst finding, actions, key signals, and every signal with its reading."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from whenever import Instant

from copilot.explain import ExplainedEvaluation
from copilot.explain.numbers import bounded, quantity
from copilot.rules.model import Issue, SuggestedAction
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.spec import SignalSpec
from copilot.rules.signals.taxonomy import KEY_SIGNALS, SPECS
from copilot.store.base import TimelinePoint
from copilot.web.drawing import Spark, spark


@dataclass(frozen=True, slots=True)
class Callout:
    """A finding with its explanation. `beside_summary`: the summary says something else and is shown too."""

    finding: Issue
    text: str
    beside_summary: bool


def callout(e: ExplainedEvaluation) -> Callout | None:
    """The first finding, without repeating the summary; None without findings."""
    if not e.findings:
        return None
    worst = e.findings[0]
    if e.explained_by == "rules" and e.summary.startswith(f"{worst.title}. "):
        return Callout(worst, e.summary.removeprefix(f"{worst.title}. "), beside_summary=False)
    return Callout(worst, worst.description if worst.likely_cause in e.summary else worst.likely_cause, True)


@dataclass(frozen=True, slots=True)
class Remedy:
    """An action and the finding it is for."""

    action: SuggestedAction
    finding: Issue


def remedies(findings: Iterable[Issue]) -> list[Remedy]:
    """The findings' actions, most important first, each once."""
    every: list[Remedy] = []
    for finding in findings:
        for action in finding.suggested_actions:
            if all(action != known.action for known in every):
                every.append(Remedy(action, finding))
    return every


KINDS = (
    ("primary", "Primary: they decide the state"),
    ("worker", "Workers: they show whose problem it is"),
    ("amplifier", "Amplifiers: they explain why"),
)

REASONS = {
    MissingCode.TARGET_DOWN: "target down",
    MissingCode.ABSENT: "not on the metrics page",
    MissingCode.TIMEOUT: "timed out",
    MissingCode.FORBIDDEN: "not allowed",
    MissingCode.PARSE: "response not understood",
    MissingCode.NO_SOURCE: "no source measures it",
    MissingCode.DROPPED: "dropped on purpose",
}

Reading = Literal["value", "quiet", "missing"]


@dataclass(frozen=True, slots=True)
class Row:
    """One signal with its reading, and why there is no value where there is none."""

    spec: SignalSpec
    reading: Reading
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Card(Row):
    """A key signal with its display name and sparkline."""

    label: str
    spark: Spark


def key_signals(
    signals: Signals, trend: Sequence[TimelinePoint], now: Instant, lasts_sec: float
) -> list[tuple[str, list[Card]]]:
    """The key signals by topic, with sparklines from the first point of `trend` to now; without those that are not
    expected here. A point holds for `lasts_sec`."""
    start = trend[0].time if trend else now
    at = [(p.time - start).total("seconds") for p in trend]
    whole = max(1.0, (now - start).total("seconds"))
    groups: list[tuple[str, list[Card]]] = []
    for title, specs in KEY_SIGNALS.items():
        cards = []
        for spec in specs:
            if spec.card is None or not _expected(signals, spec.id):
                continue
            row = _row(signals, spec)
            values = [p.signals.get(spec.id) if p.signals else None for p in trend]
            history = spark(list(zip(at, values, strict=True)), whole, lasts_sec)
            cards.append(Card(spec, row.reading, row.text, row.why, spec.card.label, history))
        if cards:
            groups.append((title, cards))
    return groups


def all_signals(signals: Signals) -> list[tuple[str, list[Row]]]:
    """Every expected signal by kind."""
    expected = [s for s in SPECS.values() if _expected(signals, s.id)]
    kinds = ((title, [_row(signals, s) for s in expected if s.kind == kind]) for kind, title in KINDS)
    return [(title, rows) for title, rows in kinds if rows]


def unread(signals: Signals) -> list[Row]:
    """Signals that could not be read although a source should have them."""
    missing = ((s, signals.why_missing(s.id)) for s in SPECS.values())
    return [_row(signals, s) for s, why in missing if why and why.code is not MissingCode.NO_SOURCE]


def _expected(signals: Signals, signal_id: str) -> bool:
    return signals.covered(signal_id) or signals.why_missing(signal_id) is not None


def _row(signals: Signals, spec: SignalSpec) -> Row:
    if signals.quiet(spec.id):
        return Row(spec, "quiet", "no traffic", "read, but there was no traffic to measure")
    value = signals.value(spec.id)
    if value is not None:
        text = bounded(quantity(value, spec.unit), at_least=spec.id in signals.at_least)
        return Row(spec, "value", text, "")
    missing = signals.why_missing(spec.id) or Missing(code=MissingCode.ABSENT)
    return Row(spec, "missing", "not read", ": ".join(filter(None, (REASONS[missing.code], missing.detail))))
