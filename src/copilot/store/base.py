"""What a state store does. postgres.py keeps it in PostgreSQL, memory.py in memory; both behave the same.

Every method raises StoreError (one line of text) when the store refuses or is away. Writes are idempotent: the same
thing written twice is there once. Instants are kept and compared to the microsecond.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import FiniteFloat
from whenever import Instant

from copilot.explain.model.answer import Explanation
from copilot.explain.model.usage import ModelCall, Spent
from copilot.rules.model import (
    BottleneckClassification,
    DetectedIssue,
    Evaluation,
    HealthAssessment,
    ReportedState,
    Severity,
    Snapshot,
    Trigger,
)
from copilot.rules.signals.readings import Frozen


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """What was said at one tick. `signals` are its readings (id → value, None where there was none) when asked for.

    No pydantic model because an answer holds some thousand, read from rows that were checked when they were written."""

    time: Instant
    health_state: ReportedState
    stale: bool
    bottleneck: BottleneckClassification
    top_factor: str | None
    signals: dict[str, float | None] | None = None


class SeriesPoint(Frozen):
    """One reading of one signal; None where it was missing or had no traffic."""

    time: Instant
    value: FiniteFloat | None


def newest_told(tick: Evaluation | None, assessment: HealthAssessment | None) -> Evaluation | None:
    """The newer of the two; of one tick the assessment, which knows more."""
    if tick is None or (assessment is not None and assessment.time >= tick.time):
        return assessment
    return tick


Told = Callable[[str, int], None]
"""Hears of each batch that was deleted: the table and the number of rows."""

PRUNE_BATCH = 200
"""Rows deleted in a transaction. DSQL allows 3,000 rows and 10 MiB; a snapshot can be some 40 KB."""


class Store(Protocol):
    """A state store. Ranges include both ends; `max_points` bounds an answer (see downsample.py for what is kept)."""

    async def setup_schema(self) -> int:
        """Make or migrate the tables; returns the schema's version. Does nothing when they are up to date."""

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> int:
        """Keep snapshots, in order; one that is kept already (by evaluation_id) is left as it is. Returns how many were
        new."""

    async def save_thresholds(self, thresholds_hash: str, thresholds: dict[str, Any]) -> None:
        """Keep a threshold set under its hash."""

    async def thresholds(self, thresholds_hash: str) -> dict[str, Any] | None:
        """The threshold set kept under a hash."""

    async def save_assessment(self, assessment: HealthAssessment) -> bool:
        """Keep an assessment and live its issues on (issue_life.py), both or neither. False if it was kept already
        (same evaluation_id and trigger)."""

    async def improve_explanation(self, evaluation_id: str, trigger: Trigger, explanation: Explanation) -> bool:
        """Put a kept assessment, and the issues it was the last to see, into other words; never its state, gates,
        readings or the life of its issues. The same again changes nothing. False: there is no such assessment."""

    async def save_model_call(self, call: ModelCall) -> None:
        """Keep a call of a model, or what has become of it since."""

    async def model_spend(self, since: Instant) -> Spent:
        """What the calls begun at or after `since` took, of all clusters."""

    async def settled_call(self, cluster: str, fingerprint: str) -> ModelCall | None:
        """The newest call about that situation after which it is not asked about again (SETTLED)."""

    async def model_calls(self, cluster: str, start: Instant, end: Instant, limit: int = 100) -> list[ModelCall]:
        """The calls with start ≤ time ≤ end, oldest first; the newest `limit` of them."""

    async def latest_snapshot(self, cluster: str) -> Snapshot | None:
        """The newest tick's snapshot."""

    async def latest_evaluation(self, cluster: str) -> Evaluation | None:
        """The newest tick's evaluation; as a HealthAssessment if that tick was assessed."""

    async def evaluation_at(self, cluster: str, at: Instant) -> Evaluation | None:
        """What was said at a moment: the newest tick no later than it, as a HealthAssessment if that was assessed."""

    async def latest_assessment(self, cluster: str) -> HealthAssessment | None:
        """The newest assessment."""

    async def assessments_in_range(
        self, cluster: str, start: Instant, end: Instant, limit: int = 1000
    ) -> list[HealthAssessment]:
        """Assessments with start ≤ time ≤ end, oldest first; the newest `limit` of them."""

    async def recent_assessment(self, cluster: str, now: Instant, within_sec: float) -> Instant | None:
        """When the newest assessment of the last `within_sec` seconds was made (now − within_sec < time ≤ now); None:
        there is none. What bears a later time than `now`, after a step of the clock, does not count."""

    async def timeline(
        self, cluster: str, start: Instant, end: Instant, max_points: int, *, signals: bool = False
    ) -> list[TimelinePoint]:
        """What was said at the ticks of a range, oldest first, at most `max_points` with every change of state kept."""

    async def signal_series(
        self, cluster: str, signal_id: str, start: Instant, end: Instant, max_points: int
    ) -> list[SeriesPoint]:
        """One signal's readings in a range, oldest first, at most `max_points` with peaks and gaps kept."""

    async def issues(self, cluster: str, *, severity: Severity | None = None, limit: int = 100) -> list[DetectedIssue]:
        """Open issues: critical before warning, then the last seen first."""

    async def resolved_issues(
        self, cluster: str, *, severity: Severity | None = None, limit: int = 100
    ) -> list[DetectedIssue]:
        """Resolved issues: the last resolved first; of those resolved at once, critical before warning."""

    async def clusters(self) -> list[str]:
        """Names of all clusters something is kept of, sorted."""

    async def prunable(self, before: Instant) -> dict[str, int]:
        """What `prune` would delete: rows by table."""

    async def prune(
        self, before: Instant, batch: int = PRUNE_BATCH, told: Told | None = None, cluster: str | None = None
    ) -> int:
        """Delete snapshots and assessments older than `before`, issues resolved before it, and calls of models a day
        older than it (so that a day's spending stays whole), of one cluster or of all, at most `batch` rows a
        transaction, fewer where the database says that this is too much. `told` hears of each batch. Returns the
        number of rows deleted. May be cut off anywhere and begun again."""

    async def close(self) -> None:
        """Give back what is held. The store may not be used afterwards."""
