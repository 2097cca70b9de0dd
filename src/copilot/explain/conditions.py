"""Gates in words: which of those that fired are worth telling, how far they are over, and when it is over."""

from collections.abc import Collection, Iterable

from copilot.explain.numbers import listed, measure, per_sec, sentence
from copilot.rules.model import GateResult

_WAITS = frozenset({"queue_stalled", "falling_behind", "work_piling_up", "backlog_age"})
# What a gate's sentence says already, of the same queue: others that fired with it add nothing.
_SAID_BY: dict[str, frozenset[str]] = {
    "work_stalled": _WAITS,
    "queue_stalled": _WAITS - {"queue_stalled"},
    "falling_behind": frozenset({"work_piling_up", "backlog_age"}),
    "turned_away": frozenset({"frontend_errors"}),
}
_LIMITED = frozenset({"s", "ms", "1/s"})

# What each gate saw begin.
BEGAN: dict[str, str] = {
    "unreachable": "the frontend fell silent",
    "turned_away": "requests were turned away",
    "work_stalled": "work was no longer served",
    "falling_behind": "the backlog grew too old",
    "queue_stalled": "a queue was no longer served",
    "work_piling_up": "work piled up",
    "backlog_age": "tasks waited too long",
    "frontend_errors": "requests failed",
    "frontend_latency": "answers became slow",
    "rate_limited": "requests were refused",
    "persistence_errors": "database calls failed",
    "persistence_latency": "the database became slow",
    "persistence_throttled": "database calls were refused",
    "history_throttled": "history's tasks were refused",
    "history_latency": "history fell behind",
    "shard_churn": "shards moved",
    "workflow_task_failures": "workflow tasks failed",
    "workflow_task_attempts": "workflow tasks needed several attempts",
    "activity_failures": "activities failed",
    "application_failures": "workflows failed",
}
_OVER_WHEN: dict[str, str] = {
    "unreachable": "the frontend answers its health check",
    "turned_away": "requests are accepted again",
    "work_stalled": "what waits{on} is served",
    "queue_stalled": "what waits{on} is served",
    "falling_behind": "the oldest task{on} waits less than {limit}",
    "backlog_age": "the oldest task{on} waits less than {limit}",
    "work_piling_up": "as much is served{on} as arrives",
    "frontend_errors": "less than {number} fail",
    "frontend_latency": "answers take less than {limit} (p99)",
    "rate_limited": "less than {number} are refused",
    "persistence_errors": "less than {number} fail",
    "persistence_latency": "database calls take less than {limit} (p99)",
    "persistence_throttled": "less than {number} are refused",
    "history_throttled": "less than {number} are refused",
    "history_latency": "history's tasks are done within {limit} (p99)",
    "shard_churn": "less than {number} open or close",
    "workflow_task_failures": "less than {number} fail",
    "workflow_task_attempts": "workflow tasks need less than {limit} (p99)",
    "activity_failures": "less than {number} fail",
    "application_failures": "at least {limit} of the workflows that close succeed",
}
# What a second's number of counts.
_OF: dict[str, str] = {
    "frontend_errors": "request",
    "rate_limited": "request",
    "persistence_errors": "database call",
    "persistence_throttled": "database call",
    "history_throttled": "history task",
    "shard_churn": "shard",
    "workflow_task_failures": "workflow task",
    "activity_failures": "activity attempt",
}
_MOST_CONDITIONS = 3


def worth_telling(gates: Iterable[GateResult]) -> list[GateResult]:
    """The gates that fired, in the order of the rules, without those another one's sentence covers."""
    fired = [gate for gate in gates if gate.fired]
    if len(fired) < 2:
        return fired
    return [gate for gate in fired if not any(_covers(other, gate) for other in fired)]


def _covers(gate: GateResult, other: GateResult) -> bool:
    if other.name not in _SAID_BY.get(gate.name, ()):
        return False
    of_all = not gate.labels and "matching.backlog_count" in gate.evidence
    return of_all or gate.labels == other.labels


def told(gates: Iterable[GateResult]) -> str:
    """What the gates that fired saw, a sentence each; empty where none fired."""
    return " ".join(sentence(_with_limit(gate)) for gate in worth_telling(gates))


def _with_limit(gate: GateResult) -> str:
    said = gate.sentence
    if gate.unit not in _LIMITED or gate.threshold is None or gate.name == "falling_behind":
        return said
    limit = f"limit {measure(gate.threshold, gate.unit)})"
    return f"{said[:-1]}; {limit}" if said.endswith(")") else f"{said} ({limit}"


def over_when(gates: Iterable[GateResult], first: Collection[str] = ()) -> str:
    """When the trouble is over, by the gates that fired, those named `first` before others; empty where none did."""
    ranked = sorted(worth_telling(gates), key=lambda gate: gate.name not in first)
    said = dict.fromkeys(_condition(gate) for gate in ranked)
    return f"It is over when {listed([c for c in said if c][:_MOST_CONDITIONS])}." if said else ""


def _condition(gate: GateResult) -> str:
    queue = gate.labels.get("task_queue", "")
    limit = "" if gate.threshold is None else measure(gate.threshold, gate.unit)
    number, on = per_sec(gate.threshold or 0.0, _OF.get(gate.name, "")), f" on {queue}" if queue else ""
    return _OVER_WHEN.get(gate.name, "").format(on=on, limit=limit, number=number)
