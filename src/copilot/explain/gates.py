"""Gates as sentences: what each sees, which firing gates are worth a sentence, and when the trouble is over."""

from collections.abc import Collection, Iterable

from copilot.explain.numbers import listed, measure, percent, sentence
from copilot.explain.templates import fill
from copilot.rules.gates.progress import FALLING_BEHIND
from copilot.rules.gates.registry import BACKLOG, BY_NAME
from copilot.rules.model import GateResult
from copilot.rules.recovery import Forecast
from copilot.rules.signals.readings import Signals

_WITH_LIMIT = frozenset({"s", "ms", "1/s"})
_MOST_CONDITIONS = 3
_UNJUDGED = {
    "no_traffic": "no traffic to judge by",
    "not_expected": "no source measures it",
    "recovering": "its p99 still shows the outage that ended",
}


def gate_sentence(gate: GateResult, signals: Signals) -> str:
    """What a gate sees, without capital and full stop; why it could not be judged where it was not."""
    if gate.unjudged:
        why = _unjudged(gate, signals)
        return f"held: it fired, and since then {why}" if gate.fired else why
    rule = BY_NAME.get(gate.name)
    if rule is None:
        return gate.name.replace("_", " ")
    if gate.fired:
        sees = rule.sees if isinstance(rule.sees, str) else rule.sees.get(gate.aspect, rule.sees[""])
        return fill(sees, _values(gate, signals))
    if gate.name in BACKLOG and gate.value in (None, 0):
        return "no backlog"
    return fill(rule.clear, _values(gate, signals))


def _unjudged(gate: GateResult, signals: Signals) -> str:
    if gate.unjudged != "missing":
        return _UNJUDGED.get(gate.unjudged or "", "it could not be judged")
    if not gate.lacking:
        return "the backlog is not known"
    why = signals.why_missing(gate.lacking)
    detail = (why.detail or why.code.value) if why else ""
    return f"`{gate.lacking}` is missing{f': {detail}' if detail else ''}"


def _values(gate: GateResult, signals: Signals | None = None) -> dict[str, str | float | tuple[str, ...] | None]:
    queue, kind = gate.labels.get("task_queue"), gate.labels.get("task_type")
    named = f"`{queue}`{f' ({kind})' if kind else ''}" if queue else None
    over = [i for i in gate.evidence if i in signals.at_least] if signals else []
    at_least = (*over, "value") if any(gate.evidence[i] == gate.value for i in over) else tuple(over)
    return {**gate.evidence, "value": gate.value, "threshold": gate.threshold, "queue": named, "at_least": at_least}


def without_redundant(gates: Iterable[GateResult]) -> list[GateResult]:
    """The firing gates, in the order of the rules, without those that another one's sentence covers."""
    firing = [gate for gate in gates if gate.fired]
    return [gate for gate in firing if not any(_covers(other, gate) for other in firing)] if firing[1:] else firing


def _covers(gate: GateResult, other: GateResult) -> bool:
    rule = BY_NAME.get(other.name)
    if rule is None or gate.name not in rule.covered_by:
        return False
    of_cluster = not gate.labels and "matching.backlog_count" in gate.evidence
    return of_cluster or gate.labels == other.labels


def describe(gates: Iterable[GateResult]) -> str:
    """What the firing gates see, a sentence each; empty where none fires. Their sentences are filled in."""
    return " ".join(sentence(_with_limit(gate)) for gate in without_redundant(gates))


def _with_limit(gate: GateResult) -> str:
    text = gate.sentence
    if gate.unit not in _WITH_LIMIT or gate.threshold is None or gate.name == FALLING_BEHIND.name:
        return text
    limit = f"limit {measure(gate.threshold, gate.unit)})"
    return f"{text[:-1]}; {limit}" if text.endswith(")") else f"{text} ({limit}"


def recovery_condition(gates: Iterable[GateResult], first: Collection[str] = ()) -> str:
    """When the trouble is over, by the firing gates, those named `first` before others; empty where none does."""
    ranked = sorted(without_redundant(gates), key=lambda gate: gate.name not in first)
    rules = [(gate, rule) for gate in ranked if (rule := BY_NAME.get(gate.name)) is not None]
    conditions = list(dict.fromkeys(fill(rule.recovered_when, _values(gate)) for gate, rule in rules))
    return f"Recovered when {listed(conditions[:_MOST_CONDITIONS])}." if conditions else ""


def forecast_words(forecast: Forecast) -> str:
    """What becomes of a backlog, as a sentence: it drains in 9–14 min, or needs more dispatch."""
    kind = f" ({forecast.task_type})" if forecast.task_type else ""
    what = f"The backlog of `{forecast.task_queue}`{kind}" if forecast.task_queue else "The backlog"
    if forecast.drains_in_sec is not None:
        return f"{what} drains in {_between(*forecast.drains_in_sec)} at the present rate."
    more = percent(max(0.01, round(forecast.more_dispatch or 0.0, 2)))
    return f"{what} does not drain at the present rate: it needs about {more} more dispatch."


def _between(soon: float, late: float) -> str:
    """A range of times in the unit that fits its end."""
    size, unit = next((each for each in ((3600.0, "h"), (60.0, "min")) if late >= 2 * each[0]), (1.0, "s"))
    first, last = max(1, round(soon / size)), max(1, round(late / size))
    return f"{first}–{last} {unit}" if first < last else f"about {last} {unit}"
