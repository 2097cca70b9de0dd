"""Health of each component: frontend, history, matching, persistence, workers. A component that another one starves
shows odd signals that are expected (artifacts), and is not blamed for them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from copilot.rules.bottleneck import WorkerEvidence
from copilot.rules.gates.context import Component
from copilot.rules.gates.progress import WORK_STALLED
from copilot.rules.gates.registry import BACKLOG, BY_NAME, of_component
from copilot.rules.model import GateResult, ServiceHealth
from copilot.rules.signals.readings import Signals
from copilot.rules.thresholds import GRADES_BY_COMPONENT, Grade, Level, Thresholds

# Each component, in the order in which work passes them, and the signal without which nothing is known of it.
_READS: dict[Component, str] = {
    "frontend": "frontend.request_rate_per_sec",
    "history": "history.tasks_acked_per_sec",
    "matching": "matching.tasks_dispatched_per_sec",
    "persistence": "persistence.request_rate_per_sec",
    "workers": "poller.pending_polls",
}
OWN_GATES: Mapping[str, tuple[str, ...]] = {component: of_component(component) for component in _READS}


def services(
    gates: tuple[GateResult, ...], workers: WorkerEvidence, signals: Signals, thresholds: Thresholds
) -> tuple[ServiceHealth, ...]:
    """The five components, in the order in which work passes them."""
    firing = {g.name: g for g in gates if g.fired}
    backlog = [firing[name] for name in BACKLOG if name in firing]
    slow = workers.no_pollers or workers.slots_exhausted or workers.slow_to_start
    return tuple(_service(name, firing, backlog, backlog if slow else [], signals, thresholds) for name in _READS)


def _service(
    name: Component,
    firing: dict[str, GateResult],
    backlog: list[GateResult],
    of_workers: list[GateResult],
    signals: Signals,
    thresholds: Thresholds,
) -> ServiceHealth:
    own = [firing[gate] for gate in OWN_GATES[name] if gate in firing]
    if name == "workers":
        own = [*of_workers, *own]
    progress: Literal["ok", "degraded", "blocked", "unknown"] = "ok"
    pressure: Literal["low", "moderate", "high", "unknown"] = "low"
    if own:
        blocked = any(BY_NAME[g.name].blocks or g.name == WORK_STALLED.name for g in own)
        progress, pressure = ("blocked", "high") if blocked else ("degraded", "moderate")
    elif not signals.covered(_READS[name]):
        progress, pressure = "unknown", "unknown"
    artifacts: tuple[str, ...] = ()
    if name == "matching" and backlog:
        artifacts = ("matching.backlog_count", "poller.sync_match_rate")
    if name == "frontend" and not own and backlog:
        artifacts = ("poller.poll_timeout_rate",)
    level, graded = pressure_on(name, signals, thresholds.pressure)
    dominant = next(iter(own[0].evidence), own[0].name) if own else graded
    if pressure == "low" or (pressure == "moderate" and level == "high"):
        pressure = level
    return ServiceHealth(
        name=name, forward_progress=progress, pressure=pressure, dominant_signal=dominant, artifact_signals=artifacts
    )


_ORDER: Mapping[Level, int] = MappingProxyType({"low": 0, "moderate": 1, "high": 2})


def pressure_on(component: str, signals: Signals, overrides: Mapping[str, Grade]) -> tuple[Level, str | None]:
    """The worst level of a component's graded signals, and the id that shows it; low and None where there is none."""
    worst: tuple[Level, str | None] = ("low", None)
    for signal_id, grade in GRADES_BY_COMPONENT[component].items():
        value = _value(signal_id, signals)
        if value is None:
            continue
        level = (overrides.get(signal_id) or grade).level(value)
        if level != "low" and _ORDER[level] > _ORDER[worst[0]]:
            worst = (level, signal_id)
    return worst


_SLOTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        f"workers.{k}_slots_free": (f"workers.{k}_slots_available", f"workers.{k}_slots_used")
        for k in ("workflow", "activity")
    }
)


def _value(signal_id: str, signals: Signals) -> float | None:
    """The signal's value; for slots the free share of all."""
    slots = _SLOTS.get(signal_id)
    if slots is None:
        return signals.readings.get(signal_id)
    free, used = signals.value(slots[0]), signals.value(slots[1])
    return None if free is None or used is None or free + used == 0 else free / (free + used)
