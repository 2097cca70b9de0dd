"""How hard an actor is pressed, by its signals. It colours the actors and never moves the state (law 2).

The grades are requirements §2's priors where it names one. Two are wider on purpose: the SDK's schedule-to-start
histograms have no bound between 0 and 100 ms, so a p95 below 100 ms says no more than "within 100 ms".
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

from pydantic import FiniteFloat, model_validator

from copilot.rules.signals.readings import Frozen, Signals

Level = Literal["low", "moderate", "high"]
SLOT_KINDS = ("workflow", "activity")


class Grade(Frozen):
    """From which value on a signal presses moderately and highly, in the signal's unit. `high` below `moderate`: less
    is worse."""

    moderate: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.moderate == self.high:
            raise ValueError(f"moderate and high must differ, both are {self.high:g}")
        return self

    @property
    def less_is_worse(self) -> bool:
        """Whether small values press."""
        return self.high < self.moderate

    def level(self, value: float) -> Level:
        """The level of a value; a bound itself is still the lower level, but zero of what must not run out is high."""
        high, moderate = self.high, self.moderate
        if high < moderate:
            return "high" if value <= high else "moderate" if value < moderate else "low"
        return "high" if value > high else "moderate" if value > moderate else "low"


GRADES: Mapping[str, Grade] = MappingProxyType(
    {
        "frontend.latency_p99_ms": Grade(moderate=500, high=1000),
        "grpc.in_flight_requests": Grade(moderate=200, high=1000),
        "throttling.admission_rejects_per_sec": Grade(moderate=0.1, high=1),
        "history.task_queue_latency_p99_sec": Grade(moderate=10, high=30),
        "queue.task_attempts_p99": Grade(moderate=3, high=10),
        "shard.semaphore_latency_p99_ms": Grade(moderate=200, high=1000),
        "shard.lock_latency_p99_ms": Grade(moderate=50, high=500),
        "cache.hit_rate": Grade(moderate=0.7, high=0.4),
        "host.gc_pause_ms": Grade(moderate=100, high=500),
        "poller.sync_match_rate": Grade(moderate=0.7, high=0.2),
        "persistence.latency_p99_ms": Grade(moderate=50, high=100),
        "connection_pool.utilization_pct": Grade(moderate=80, high=95),
        "persistence_contention.cas_failures_per_sec": Grade(moderate=5, high=50),
        "workers.wft_schedule_to_start_p95_ms": Grade(moderate=100, high=500),
        "workers.activity_schedule_to_start_p95_ms": Grade(moderate=100, high=500),
        "workers.workflow_slots_free": Grade(moderate=0.10, high=0),
        "workers.activity_slots_free": Grade(moderate=0.10, high=0),
        "worker_cache.sticky_hit_rate": Grade(moderate=0.8, high=0.5),
    }
)
"""Grades by signal id; `workers.*_slots_free` are shares made of slots available and used."""

_ACTORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "frontend": ("frontend.latency_p99_ms", "grpc.in_flight_requests", "throttling.admission_rejects_per_sec"),
        "history": (
            "history.task_queue_latency_p99_sec",
            "shard.semaphore_latency_p99_ms",
            "shard.lock_latency_p99_ms",
            "queue.task_attempts_p99",
            "cache.hit_rate",
            "host.gc_pause_ms",
        ),
        "matching": ("poller.sync_match_rate",),
        "persistence": (
            "persistence.latency_p99_ms",
            "connection_pool.utilization_pct",
            "persistence_contention.cas_failures_per_sec",
        ),
        "workers": (
            "workers.activity_slots_free",
            "workers.workflow_slots_free",
            "workers.wft_schedule_to_start_p95_ms",
            "workers.activity_schedule_to_start_p95_ms",
            "worker_cache.sticky_hit_rate",
        ),
    }
)
_ORDER: Mapping[Level, int] = MappingProxyType({"low": 0, "moderate": 1, "high": 2})


def pressure_on(actor: str, signals: Signals, overrides: Mapping[str, Grade]) -> tuple[Level, str | None]:
    """The worst level of an actor's graded signals and the id that shows it; low and None where nothing presses."""
    worst: tuple[Level, str | None] = ("low", None)
    for signal_id in _ACTORS[actor]:
        value = _value(signal_id, signals)
        if value is None:
            continue
        level = (overrides.get(signal_id) or GRADES[signal_id]).level(value)
        if level != "low" and _ORDER[level] > _ORDER[worst[0]]:
            worst = (level, signal_id)
    return worst


_SLOTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {f"workers.{k}_slots_free": (f"workers.{k}_slots_available", f"workers.{k}_slots_used") for k in SLOT_KINDS}
)


def _value(signal_id: str, signals: Signals) -> float | None:
    """The signal's value; for slots the free share of all."""
    slots = _SLOTS.get(signal_id)
    if slots is None:
        return signals.readings.get(signal_id)
    free, used = signals.value(slots[0]), signals.value(slots[1])
    return None if free is None or used is None or free + used == 0 else free / (free + used)
