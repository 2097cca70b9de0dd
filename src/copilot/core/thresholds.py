"""Thresholds of the gates: the priors of requirements §2 as defaults, any of them can be set in copilot.toml.

A rate's threshold grows with demand and with nothing else: `floor + share · demand`, so there are no bands, no cliffs,
and losing capacity never relaxes a gate (law 4).
"""

import hashlib
from typing import Annotated, Self

from pydantic import Field, FiniteFloat, model_validator

from copilot.core.signals import Frozen

Positive = Annotated[FiniteFloat, Field(gt=0)]
Share = Annotated[FiniteFloat, Field(gt=0, lt=1)]


class Tolerance(Frozen):
    """How much of a bad thing is tolerated at a demand: `floor_per_sec + share · demand`, in 1/s."""

    floor_per_sec: Positive
    share: Annotated[FiniteFloat, Field(ge=0, lt=1)]

    def at(self, demand: float) -> float:
        """The threshold in 1/s at `demand` in 1/s."""
        return self.floor_per_sec + self.share * max(0.0, demand)


class Thresholds(Frozen):
    """All thresholds. Seconds, milliseconds, shares (0…1) and rates as the names say."""

    stalled_served_share: Share = 0.10
    queue_share_critical: Share = 0.20
    abandoned_after_sec: Positive = 86_400.0
    falling_behind_age_sec: Positive = 120.0
    turned_away_share: Share = 0.50
    turned_away_min_requests: Positive = 3.0
    backlog_age_sec: Positive = 30.0
    keeping_up_share: Share = 0.80
    frontend_latency_p99_ms: Positive = 1000.0
    persistence_latency_p99_ms: Positive = 100.0
    history_latency_p99_sec: Positive = 30.0
    shard_churn_per_sec: Positive = 5.0
    completion_rate: Share = 0.50
    completion_min_closes: Positive = 5.0
    frontend_errors: Tolerance = Tolerance(floor_per_sec=0.2, share=0.02)
    rate_limited: Tolerance = Tolerance(floor_per_sec=0.5, share=0.05)
    history_throttled: Tolerance = Tolerance(floor_per_sec=1.0, share=0.10)
    persistence_errors: Tolerance = Tolerance(floor_per_sec=0.5, share=0.05)
    persistence_throttled: Tolerance = Tolerance(floor_per_sec=1.0, share=0.10)
    workflow_task_failures: Tolerance = Tolerance(floor_per_sec=0.2, share=0.05)
    activity_failures: Tolerance = Tolerance(floor_per_sec=0.5, share=0.15)
    burst_factor: Annotated[FiniteFloat, Field(gt=1)] = 2.5
    slots_low_share: Share = 0.10
    schedule_to_start_ms: Positive = 500.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.backlog_age_sec > self.falling_behind_age_sec:
            raise ValueError(
                f"backlog_age_sec ({self.backlog_age_sec:g}) must not exceed "
                f"falling_behind_age_sec ({self.falling_behind_age_sec:g})"
            )
        return self

    def digest(self) -> str:
        """A hash that names this set of thresholds in stored snapshots."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
