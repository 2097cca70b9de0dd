"""Thresholds of the gates: the priors of requirements §2 as defaults, any of them can be set in copilot.toml.

A rate's threshold grows with demand and with nothing else: a few events in a window, and a share of the demand. So
there are no bands and no cliffs, losing capacity never relaxes a gate (law 4), and small clusters are judged as large.
"""

import hashlib
from typing import Annotated, Self

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from copilot.rules.pressure import GRADES, Grade
from copilot.rules.signals.readings import Frozen

Positive = Annotated[FiniteFloat, Field(gt=0)]
Share = Annotated[FiniteFloat, Field(gt=0, lt=1)]


class Tolerance(Frozen):
    """How much of a bad thing is tolerated at a demand: `events` of it in a rate window, and `share` of the demand."""

    events: Positive
    share: Annotated[FiniteFloat, Field(ge=0, lt=1)]

    def at(self, demand: float, window_sec: float) -> float:
        """The threshold in 1/s at `demand` in 1/s, over a window of so many seconds."""
        return self.events / window_sec + self.share * max(0.0, demand)


class Thresholds(Frozen):
    """All thresholds. Seconds, milliseconds, shares (0…1) and rates as the names say."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    stalled_served_share: Share = 0.10
    """A flow is stalled when less than this share of what arrives is served."""
    queue_share_critical: Share = 0.20
    """A stalled task queue makes the cluster critical when it carries at least this share of arrivals."""
    abandoned_after_sec: Positive = 86_400.0
    """A queue on which nothing arrived for so long is abandoned and moves nothing."""
    falling_behind_age_sec: Positive = 120.0
    """Work falls behind when its oldest task is older than this, and rising."""
    turned_away_share: Share = 0.50
    """Work is turned away when at least this share of the requests that bring it fails."""
    turned_away_min_requests: Positive = 3.0
    """So many of them must have failed in a window."""
    backlog_age_sec: Positive = 30.0
    """The oldest waiting task may be so old."""
    piling_up_share: Share = 0.12
    """Work piles up when more than this share of what arrives is stored and not served."""
    frontend_latency_p99_ms: Positive = 1000.0
    """The frontend's p99, long polls left out."""
    persistence_latency_p99_ms: Positive = 100.0
    """The database calls' p99 (Aurora DSQL: set 500)."""
    history_latency_p99_sec: Positive = 30.0
    """History's transfer tasks' p99, from due to done."""
    shard_churn_per_sec: Positive = 5.0
    """Shards opened and closed."""
    completion_rate: Share = 0.70
    """Share of closed workflows that succeed."""
    completion_min_closes: Positive = 3.0
    """So many must have failed in a window."""
    frontend_errors: Tolerance = Tolerance(events=3, share=0.02)
    """Requests failed by the server's fault, at the rate of requests that bring work."""
    rate_limited: Tolerance = Tolerance(events=5, share=0.05)
    """Requests and polls refused, at the rate of requests that bring work."""
    history_throttled: Tolerance = Tolerance(events=10, share=0.10)
    """History's refused attempts, at the rate of tasks added."""
    persistence_errors: Tolerance = Tolerance(events=5, share=0.05)
    """Failed database calls, at the rate of requests that bring work."""
    persistence_throttled: Tolerance = Tolerance(events=10, share=0.10)
    """Refused database calls, at the rate of tasks added."""
    workflow_task_failures: Tolerance = Tolerance(events=2, share=0.05)
    """Workflow tasks failed or timed out, at the rate of tasks added."""
    workflow_task_attempts_p99: Positive = 2.0
    """So many attempts a workflow task may need (p99): one may go wrong."""
    activity_failures: Tolerance = Tolerance(events=3, share=0.10)
    """Failed activity attempts, at the rate of tasks added."""
    burst_factor: Annotated[FiniteFloat, Field(gt=1)] = 2.5
    """So many times the usual starts are a burst."""
    schedule_to_start_ms: Positive = 500.0
    """Tasks that waited longer than this (p95, by the workers' own clock) were slow to start."""
    pressure: dict[str, Grade] = Field(default_factory=dict)
    """Grades of single signals that colour the actors: `[clusters.thresholds.pressure."cache.hit_rate"]`."""

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
