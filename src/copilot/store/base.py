"""The interface of a state store.

Every method raises StoreError (one line of text) if the store rejects a statement or cannot be reached. Writes are
idempotent. Instants are stored and compared to the microsecond.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import FiniteFloat
from whenever import Instant

from copilot.explain.model.answer import Explanation
from copilot.explain.model.usage import ModelCall, Spent
from copilot.rules import model
from copilot.rules.signals.change import Change
from copilot.rules.signals.readings import Frozen
from copilot.store.incident_log import IncidentLogStore
from copilot.store.mutes import MuteStore


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """The verdict of one evaluation. `signals`: its readings (id → value, None without one) if requested.

    Not a pydantic model: a timeline has thousands, from rows that were validated when they were written."""

    time: Instant
    health_state: model.ReportedState
    stale: bool
    bottleneck: model.BottleneckClassification
    top_factor: str | None
    signals: dict[str, float | None] | None = None


class SeriesPoint(Frozen):
    """One reading of a signal; None where it was missing or had no traffic."""

    time: Instant
    value: FiniteFloat | None


def newer_of(tick: model.Evaluation | None, assessment: model.HealthAssessment | None) -> model.Evaluation | None:
    """The newer of the two; the assessment, which holds more, if both are of one tick."""
    if tick is None or (assessment is not None and assessment.time >= tick.time):
        return assessment
    return tick


OnDeleted = Callable[[str, int], None]
"""Called for each deleted batch: the table and the number of rows."""

PRUNE_BATCH = 200
"""Rows deleted in a transaction. DSQL allows 3,000 rows and 10 MiB; a snapshot can have 40 KB."""


class Store(MuteStore, IncidentLogStore, Protocol):
    """A state store. Ranges include both ends; `max_points` bounds a result (downsample.py says what is kept)."""

    async def setup_schema(self) -> int:
        """Create or migrate the tables; returns the version of the schema. Does nothing if it is up to date."""

    async def save_snapshots(self, snapshots: Sequence[model.Snapshot]) -> int:
        """Store snapshots, in order; one that is stored already (by evaluation_id) is unchanged. Returns the number of
        new ones."""

    async def save_thresholds(self, thresholds_hash: str, thresholds: dict[str, Any]) -> None:
        """Store a threshold set under its hash."""

    async def thresholds(self, thresholds_hash: str) -> dict[str, Any] | None:
        """The threshold set of a hash; None if it is not stored."""

    async def save_assessment(self, assessment: model.HealthAssessment) -> bool:
        """Store an assessment and advance its issues (issue_life.py) in one transaction. False if it was stored already
        (same evaluation_id and trigger)."""

    async def improve_explanation(self, evaluation_id: str, trigger: model.Trigger, explanation: Explanation) -> bool:
        """Give a stored assessment another explanation; its evaluation and its issues do not change. False: there is no
        such assessment."""

    async def save_model_call(self, call: ModelCall) -> None:
        """Store a call of a model, or its new state."""

    async def model_spend(self, since: Instant) -> Spent:
        """Tokens and cost of the calls begun at or after `since`, over all clusters."""

    async def settled_call(self, cluster: str, fingerprint: str) -> ModelCall | None:
        """The newest call about that situation with an outcome that settles it (SETTLED); None if there is none."""

    async def save_inspection(self, cluster: str, kind: str, time: Instant, document: Mapping[str, Any]) -> None:
        """Store a document read beside the verdict, in place of the last one of its kind (`executions`, `workers`)."""

    async def inspection(self, cluster: str, kind: str, since: Instant | None = None) -> dict[str, Any] | None:
        """The last document of that kind; None without one, or if it is no later than `since`."""

    async def latest_snapshot(self, cluster: str) -> model.Snapshot | None:
        """The newest snapshot; None if there is none."""

    async def latest_evaluation(self, cluster: str) -> model.Evaluation | None:
        """The newest evaluation, as a HealthAssessment if that tick was assessed; None if there is none."""

    async def evaluation_at(self, cluster: str, at: Instant) -> model.Evaluation | None:
        """The newest evaluation no later than `at`, as `latest_evaluation`."""

    async def latest_assessment(self, cluster: str) -> model.HealthAssessment | None:
        """The newest assessment; None if there is none."""

    async def assessments_in_range(
        self, cluster: str, start: Instant, end: Instant, limit: int = 1000
    ) -> list[model.HealthAssessment]:
        """Assessments with start ≤ time ≤ end, oldest first; the newest `limit` of them."""

    async def timeline(
        self, cluster: str, start: Instant, end: Instant, max_points: int, *, signals: bool = False
    ) -> list[TimelinePoint]:
        """The verdicts of a range, oldest first: at most `max_points`, with every change of state."""

    async def signal_series(
        self, cluster: str, signal_id: str, start: Instant, end: Instant, max_points: int
    ) -> list[SeriesPoint]:
        """The readings of a signal in a range, oldest first: at most `max_points`, with peaks and gaps."""

    async def issues(self, cluster: str, limit: int = 100) -> list[model.DetectedIssue]:
        """Open issues: critical before warning, then the most recently seen first."""

    async def resolved_issues(
        self, cluster: str, *, severity: model.Severity | None = None, limit: int = 100
    ) -> list[model.DetectedIssue]:
        """Resolved issues: the most recently resolved first, then critical before warning."""

    async def save_changes(self, changes: Sequence[Change]) -> int:
        """Store changes; one that is stored already (by its digest) gets the new text. Returns how many were new."""

    async def changes(self, cluster: str, start: Instant, end: Instant, limit: int = 500) -> list[Change]:
        """Changes with start ≤ at ≤ end, the newest first; the newest `limit` of them."""

    async def clusters(self) -> list[str]:
        """The names of all clusters with data, sorted."""

    async def prunable(self, before: Instant) -> dict[str, int]:
        """The number of rows that `prune` would delete, by table."""

    async def prune(
        self, before: Instant, batch: int = PRUNE_BATCH, on_deleted: OnDeleted | None = None, cluster: str | None = None
    ) -> int:
        """Delete snapshots, assessments, changes, inspections and entries of incidents older than `before`, issues
        resolved and mutes ended before it, and calls of models a day older (so that a day's spending stays complete),
        of one cluster or all. A transaction deletes at most `batch` rows, fewer if the database rejects that. Returns
        the number. May be interrupted and repeated."""

    async def close(self) -> None:
        """Close all connections. The store cannot be used afterwards."""
