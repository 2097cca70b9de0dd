"""How each actor does: frontend, history, matching, persistence, workers (requirements §3.9). Innocent actors are not
blamed: an actor starved by another shows odd signals that are expected (artifacts), not pressure."""

from typing import Literal

from copilot.rules.bottleneck import WORK_WAITS, WorkerEvidence
from copilot.rules.model import GateResult, ServiceHealth
from copilot.rules.pressure import pressure_on
from copilot.rules.signals.readings import Signals
from copilot.rules.thresholds import Thresholds

_GATES: dict[str, tuple[str, ...]] = {
    "frontend": ("unreachable", "turned_away", "frontend_errors", "rate_limited", "frontend_latency"),
    "history": ("history_throttled", "history_latency", "shard_churn"),
    "matching": (),
    "persistence": ("persistence_errors", "persistence_throttled", "persistence_latency"),
    "workers": ("workflow_task_failures", "workflow_task_attempts", "activity_failures"),
}
_READS = {
    "frontend": "frontend.request_rate_per_sec",
    "history": "history.tasks_acked_per_sec",
    "matching": "matching.tasks_dispatched_per_sec",
    "persistence": "persistence.request_rate_per_sec",
    "workers": "poller.pending_polls",
}
ACTOR_GATES = _GATES
_BLOCKS = frozenset({"unreachable", "turned_away"})


def services(
    gates: tuple[GateResult, ...], workers: WorkerEvidence, signals: Signals, thresholds: Thresholds
) -> tuple[ServiceHealth, ...]:
    """The five actors, in the order work passes them."""
    by_name = {g.name: g for g in gates}
    waits = [by_name[g] for g in WORK_WAITS if by_name[g].fired]
    slow = workers.nobody_polls or workers.slots_exhausted or workers.slow_to_start
    return tuple(_service(name, by_name, waits, waits if slow else [], signals, thresholds) for name in _GATES)


def _service(
    name: str,
    gates: dict[str, GateResult],
    waits: list[GateResult],
    for_workers: list[GateResult],
    signals: Signals,
    thresholds: Thresholds,
) -> ServiceHealth:
    fired = [gates[g] for g in _GATES[name] if gates[g].fired]
    if name == "workers":
        fired = [*for_workers, *fired]
    progress: Literal["ok", "degraded", "blocked", "unknown"] = "ok"
    pressure: Literal["low", "moderate", "high", "unknown"] = "low"
    if fired:
        blocked = any(g.name in _BLOCKS for g in fired) or (name == "workers" and gates["work_stalled"] in fired)
        progress, pressure = ("blocked", "high") if blocked else ("degraded", "moderate")
    elif not signals.covered(_READS[name]):
        progress, pressure = "unknown", "unknown"
    artifacts: tuple[str, ...] = ()
    if name == "matching" and waits:
        artifacts = ("matching.backlog_count", "poller.sync_match_rate")
    if name == "frontend" and not fired and waits:
        artifacts = ("poller.poll_timeout_rate",)
    level, pressing = pressure_on(name, signals, thresholds.pressure)
    dominant = next(iter(fired[0].evidence), fired[0].name) if fired else pressing
    if pressure == "low" or (pressure == "moderate" and level == "high"):
        pressure = level
    return ServiceHealth(
        name=name, forward_progress=progress, pressure=pressure, dominant_signal=dominant, artifact_signals=artifacts
    )
