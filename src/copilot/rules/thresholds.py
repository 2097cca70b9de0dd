"""Every number of the rules that can be set: thresholds of gates, and grades of pressure on components.

A rate's threshold grows with demand and with nothing else: a few events in a window, plus a share of the demand. So
there are no bands and no cliffs, losing capacity never relaxes a gate, and small clusters are judged like large ones.
Grades color the components and never move the state. Two are wider than the field's priors on purpose: the SDK's
schedule-to-start histograms have no bound between 0 and 100 ms, so a p95 below 100 ms says "within 100 ms".
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from copilot.rules.signals.readings import Frozen

Positive = Annotated[FiniteFloat, Field(gt=0)]
Share = Annotated[FiniteFloat, Field(gt=0, lt=1)]


Level: TypeAlias = Literal["low", "moderate", "high"]


class Grade(Frozen):
    """From which value on pressure is moderate and high, in the signal's unit. `high` below `moderate`: less is
    worse."""

    moderate: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.moderate == self.high:
            raise ValueError(f"moderate and high must differ, both are {self.high:g}")
        return self

    @property
    def less_is_worse(self) -> bool:
        """Whether small values mean pressure."""
        return self.high < self.moderate

    def level(self, value: float) -> Level:
        """The level of a value; a bound itself is still the lower level, but zero of what must not run out is high."""
        high, moderate = self.high, self.moderate
        if high < moderate:
            return "high" if value <= high else "moderate" if value < moderate else "low"
        return "high" if value > high else "moderate" if value > moderate else "low"


GRADES_BY_COMPONENT: Mapping[str, Mapping[str, Grade]] = MappingProxyType(
    {
        "frontend": {
            "frontend.latency_p99_ms": Grade(moderate=500, high=1000),
            "grpc.in_flight_requests": Grade(moderate=200, high=1000),
            "throttling.admission_rejects_per_sec": Grade(moderate=0.1, high=1),
        },
        "history": {
            "history.task_queue_latency_p99_sec": Grade(moderate=10, high=30),
            "shard.semaphore_latency_p99_ms": Grade(moderate=200, high=1000),
            "shard.lock_latency_p99_ms": Grade(moderate=50, high=500),
            "queue.task_attempts_p99": Grade(moderate=3, high=10),
            "cache.hit_rate": Grade(moderate=0.7, high=0.4),
            "host.gc_pause_ms": Grade(moderate=100, high=500),
        },
        "matching": {"poller.sync_match_rate": Grade(moderate=0.7, high=0.2)},
        "persistence": {
            "persistence.latency_p99_ms": Grade(moderate=50, high=100),
            "connection_pool.utilization_pct": Grade(moderate=80, high=95),
            "persistence_contention.cas_failures_per_sec": Grade(moderate=5, high=50),
        },
        "workers": {
            "workers.activity_slots_free": Grade(moderate=0.10, high=0),
            "workers.workflow_slots_free": Grade(moderate=0.10, high=0),
            "workers.wft_schedule_to_start_p95_ms": Grade(moderate=100, high=500),
            "workers.activity_schedule_to_start_p95_ms": Grade(moderate=100, high=500),
            "worker_cache.sticky_hit_rate": Grade(moderate=0.8, high=0.5),
        },
    }
)
"""Grades by component and signal; `workers.*_slots_free` are shares made of slots available and used."""
GRADES: Mapping[str, Grade] = MappingProxyType({i: g for of in GRADES_BY_COMPONENT.values() for i, g in of.items()})


class Tolerance(Frozen):
    """How many bad events are tolerated at a demand: `events` in a rate window, plus `share` of the demand."""

    events: Positive
    share: Annotated[FiniteFloat, Field(ge=0, lt=1)]

    def at(self, demand: float, window_sec: float) -> float:
        """The threshold in 1/s at `demand` in 1/s, over a window of `window_sec`."""
        return self.events / window_sec + self.share * max(0.0, demand)


class Thresholds(Frozen):
    """All thresholds. Seconds, milliseconds, shares (0…1) and rates as the names say."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    stalled_dispatch_share: Share = 0.10
    """A flow is stalled when its dispatch rate is below this share of its add rate."""
    queue_share_critical: Share = 0.20
    """Stalled task queues make the cluster critical when they carry at least this share of the add rate."""
    abandoned_after_sec: Positive = 86_400.0
    """A queue to which no task was added for this long is abandoned and moves nothing."""
    falling_behind_age_sec: Positive = 120.0
    """Work falls behind when the oldest task is older than this and its age rises."""
    requests_rejected_share: Share = 0.50
    """Requests are rejected when at least this share of the requests that create work fails."""
    requests_rejected_min: Positive = 3.0
    """At least this many of them must fail in a window."""
    backlog_age_sec: Positive = 30.0
    """The oldest task may be this old."""
    backlog_growing_share: Share = 0.12
    """The backlog grows when more than this share of added tasks is stored and not dispatched."""
    frontend_latency_p99_ms: Positive = 1000.0
    """The frontend's p99, long polls excluded."""
    persistence_latency_p99_ms: Positive = 100.0
    """The p99 of database calls (Aurora DSQL: set 500)."""
    history_latency_p99_sec: Positive = 30.0
    """The p99 of history's transfer tasks, from due to done."""
    shard_churn_per_sec: Positive = 5.0
    """Shards acquired and released."""
    completion_rate: Share = 0.70
    """The share of closed workflows that succeed."""
    completion_min_closes: Positive = 3.0
    """At least this many must fail in a window."""
    frontend_errors: Tolerance = Tolerance(events=3, share=0.02)
    """Requests that fail with server errors, at the rate of requests that create work."""
    rate_limited: Tolerance = Tolerance(events=5, share=0.05)
    """Refused requests and polls, at the rate of requests that create work."""
    history_throttled: Tolerance = Tolerance(events=10, share=0.10)
    """History's refused attempts, at the add rate."""
    persistence_errors: Tolerance = Tolerance(events=5, share=0.05)
    """Failed database calls, at the rate of requests that create work."""
    persistence_throttled: Tolerance = Tolerance(events=10, share=0.10)
    """Refused database calls, at the add rate."""
    workflow_task_failures: Tolerance = Tolerance(events=2, share=0.05)
    """Workflow tasks that fail or time out, at the add rate."""
    workflow_task_attempts_p99: Positive = 2.0
    """Attempts a workflow task may need (p99): one may fail."""
    activity_failures: Tolerance = Tolerance(events=3, share=0.10)
    """Failed activity attempts, at the add rate."""
    activity_timeouts: Tolerance = Tolerance(events=3, share=0.10)
    """Activity attempts that time out, at the add rate."""
    unanswered_share: Share = 0.50
    """Queries and updates go unanswered, or lists fail, when at least this share of them does."""
    burst_factor: Annotated[FiniteFloat, Field(gt=1)] = 2.5
    """This many times the usual start rate is a burst."""
    schedule_to_start_ms: Positive = 500.0
    """Schedule-to-start latency above this (p95, measured by the workers) is slow."""
    pressure: dict[str, Grade] = Field(default_factory=dict)
    """Grades of single signals for pressure on components: `[clusters.thresholds.pressure."cache.hit_rate"]`."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.backlog_age_sec > self.falling_behind_age_sec:
            raise ValueError(
                f"backlog_age_sec ({self.backlog_age_sec:g}) must not exceed "
                f"falling_behind_age_sec ({self.falling_behind_age_sec:g})"
            )
        for signal_id, grade in self.pressure.items():
            if (usual := GRADES.get(signal_id)) is None:
                raise ValueError(f"pressure: {signal_id!r} is not graded; graded are {', '.join(GRADES)}")
            if grade.less_is_worse is not usual.less_is_worse:
                order = "below" if usual.less_is_worse else "above"
                raise ValueError(
                    f"pressure.{signal_id}: high ({grade.high:g}) must be {order} moderate ({grade.moderate:g})"
                )
        return self

    def digest(self) -> str:
        """A hash that names this set of thresholds in stored snapshots."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
