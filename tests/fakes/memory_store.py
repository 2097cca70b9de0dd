"""A state store in memory, for tests of what uses one."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from whenever import Instant

from copilot.errors import StoreError
from copilot.explain.model.answer import Explanation
from copilot.explain.model.usage import SETTLED, UNSERVED, ModelCall, Spent
from copilot.rules.changes import newest_first
from copilot.rules.incident_log import IncidentEntry
from copilot.rules.model import DetectedIssue, Evaluation, HealthAssessment, Severity, Snapshot, Trigger
from copilot.rules.mutes import Mute, MuteEvent, MuteLife, lives
from copilot.rules.signals.change import Change
from copilot.store.base import PRUNE_BATCH, OnDeleted, SeriesPoint, TimelinePoint, newer_of
from copilot.store.downsample import thin_series, thin_timeline
from copilot.store.issue_life import advance
from copilot.store.rows import micros


class MemoryStore:
    """A Store in memory."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._assessments: dict[tuple[str, Trigger], HealthAssessment] = {}
        self._issues: dict[str, tuple[str, DetectedIssue]] = {}
        self._thresholds: dict[str, dict[str, Any]] = {}
        self._clusters: set[str] = set()
        self._changes: dict[str, Change] = {}
        self._calls: dict[tuple[str, ...], ModelCall] = {}
        self._inspections: dict[tuple[str, str], tuple[Instant, dict[str, Any]]] = {}
        self._entries: dict[tuple[str, ...], IncidentEntry] = {}
        self._mutes: dict[tuple[str, ...], tuple[Mute, MuteEvent]] = {}

    async def setup_schema(self) -> int:
        return 0

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> int:
        before = len(self._snapshots)
        for snapshot in snapshots:
            self._clusters.add(snapshot.evaluation.cluster)
            self._snapshots.setdefault(snapshot.evaluation.evaluation_id, snapshot)
        return len(self._snapshots) - before

    async def save_thresholds(self, thresholds_hash: str, thresholds: dict[str, Any]) -> None:
        self._thresholds.setdefault(thresholds_hash, dict(thresholds))

    async def thresholds(self, thresholds_hash: str) -> dict[str, Any] | None:
        return self._thresholds.get(thresholds_hash)

    async def save_assessment(self, assessment: HealthAssessment) -> bool:
        self._clusters.add(assessment.cluster)
        kept_as = (assessment.evaluation_id, assessment.trigger)
        if kept_as in self._assessments:
            return False
        time = micros(assessment.time)
        later = [a for a in self._assessed(assessment.cluster) if micros(a.time) > time]
        known = [
            i
            for cluster, i in self._issues.values()
            if cluster == assessment.cluster and (i.resolved_at is None or micros(i.resolved_at) > time)
        ]
        for issue in advance(assessment, known, later[0] if later else None):
            self._issues[issue.id] = (assessment.cluster, issue)
        self._assessments[kept_as] = assessment
        return True

    async def improve_explanation(self, evaluation_id: str, trigger: Trigger, explanation: Explanation) -> bool:
        kept = self._assessments.get((evaluation_id, trigger))
        if kept is None:
            return False
        words = explanation.model_dump(mode="json")
        self._assessments[evaluation_id, trigger] = kept.model_copy(update={"explanation": words})
        return True

    async def save_model_call(self, call: ModelCall) -> None:
        self._calls[call.key] = call

    async def model_spend(self, since: Instant) -> Spent:
        calls = [c for c in self._calls.values() if micros(c.time) >= micros(since)]
        return Spent(
            calls=len(calls),
            input_tokens=sum(c.input_tokens for c in calls),
            output_tokens=sum(c.output_tokens for c in calls),
            cost_usd=sum(c.cost_usd for c in calls),
            unserved=sum(c.outcome in UNSERVED for c in calls),
        )

    async def settled_call(self, cluster: str, fingerprint: str) -> ModelCall | None:
        about = (c for c in self._calls.values() if c.cluster == cluster and c.fingerprint == fingerprint)
        return max((c for c in about if c.outcome in SETTLED), key=lambda c: c.time, default=None)

    async def save_inspection(self, cluster: str, kind: str, time: Instant, document: Mapping[str, Any]) -> None:
        self._inspections[cluster, kind] = time, dict(document)

    async def inspection(self, cluster: str, kind: str, since: Instant | None = None) -> dict[str, Any] | None:
        time, document = self._inspections.get((cluster, kind), (Instant.MIN, None))
        return document if micros(time) > micros(since or Instant.MIN) else None

    # Not of the protocol: for tests to look at.
    async def model_calls(self, cluster: str, start: Instant, end: Instant, limit: int = 100) -> list[ModelCall]:
        inside = [c for c in self._calls.values() if c.cluster == cluster and _inside(c.time, start, end)]
        return sorted(inside, key=lambda c: c.time)[-limit:]

    async def latest_snapshot(self, cluster: str) -> Snapshot | None:
        return max(self._stored(cluster), key=lambda s: s.evaluation.time, default=None)

    async def latest_evaluation(self, cluster: str) -> Evaluation | None:
        snapshot = await self.latest_snapshot(cluster)
        return newer_of(snapshot.evaluation if snapshot else None, await self.latest_assessment(cluster))

    async def evaluation_at(self, cluster: str, at: Instant) -> Evaluation | None:
        limit = micros(at)
        ticks = [s.evaluation for s in self._stored(cluster) if micros(s.evaluation.time) <= limit]
        assessed = [a for a in self._assessed(cluster) if micros(a.time) <= limit]
        return newer_of(max(ticks, key=lambda e: e.time, default=None), assessed[-1] if assessed else None)

    async def latest_assessment(self, cluster: str) -> HealthAssessment | None:
        return next(reversed(self._assessed(cluster)), None)

    async def assessments_in_range(
        self, cluster: str, start: Instant, end: Instant, limit: int = 1000
    ) -> list[HealthAssessment]:
        inside = [a for a in self._assessed(cluster) if _inside(a.time, start, end)]
        return inside[-limit:]

    async def timeline(
        self, cluster: str, start: Instant, end: Instant, max_points: int, *, signals: bool = False
    ) -> list[TimelinePoint]:
        points = [
            TimelinePoint(
                time=micros(e.time),
                health_state=e.verdict.health_state,
                stale=e.verdict.stale,
                bottleneck=e.bottleneck,
                top_factor=e.top_factor,
                signals=dict(e.signals.readings) if signals else None,
            )
            for e in self._ticks(cluster, start, end)
        ]
        return thin_timeline(points, max_points)

    async def signal_series(
        self, cluster: str, signal_id: str, start: Instant, end: Instant, max_points: int
    ) -> list[SeriesPoint]:
        points = [
            SeriesPoint(time=micros(e.time), value=e.signals.value(signal_id)) for e in self._ticks(cluster, start, end)
        ]
        return thin_series(points, max_points)

    async def issues(self, cluster: str, limit: int = 100) -> list[DetectedIssue]:
        return [i for i in self._worst_first(cluster) if i.resolved_at is None][:limit]

    async def resolved_issues(
        self, cluster: str, *, severity: Severity | None = None, limit: int = 100
    ) -> list[DetectedIssue]:
        over = [(micros(i.resolved_at), i) for i in self._worst_first(cluster, severity) if i.resolved_at is not None]
        over.sort(key=itemgetter(0), reverse=True)
        return [i for _, i in over[:limit]]

    async def save_changes(self, changes: Sequence[Change]) -> int:
        before = len(self._changes)
        self._clusters.update(c.cluster for c in changes)
        self._changes.update({c.digest: c for c in changes})
        return len(self._changes) - before

    async def changes(self, cluster: str, start: Instant, end: Instant, limit: int = 500) -> list[Change]:
        return newest_first(
            [c for c in self._changes.values() if c.cluster == cluster and _inside(c.at, start, end)], limit
        )

    async def save_mute_events(self, mute: Mute, events: Sequence[MuteEvent]) -> None:
        self._clusters.add(mute.matcher.cluster)
        for event in events:
            self._mutes.setdefault(event.key, (mute, event))

    async def mutes(self, cluster: str, since: Instant) -> list[MuteLife]:
        return lives(e for m, e in self._mutes.values() if m.matcher.cluster == cluster and m.until >= since)

    async def save_incident_entry(self, cluster: str, entry: IncidentEntry) -> None:
        self._clusters.add(cluster)
        self._entries.setdefault((cluster, *entry.key), entry)

    async def incident_entries(self, cluster: str, start: Instant, end: Instant) -> list[IncidentEntry]:
        own = [e for k, e in self._entries.items() if k[0] == cluster and _inside(e.at, start, end)]
        return sorted(own, key=lambda e: e.at)

    async def clusters(self) -> list[str]:
        return sorted(self._clusters)

    async def prunable(self, before: Instant) -> dict[str, int]:
        limit = micros(before)
        ended = [i.resolved_at for _, i in self._issues.values() if i.resolved_at is not None]
        return {
            "metrics_snapshots": sum(micros(s.evaluation.time) < limit for s in self._snapshots.values()),
            "health_assessments": sum(micros(a.time) < limit for a in self._assessments.values()),
            "issues": sum(micros(time) < limit for time in ended),
            "changes": sum(micros(c.at) < limit for c in self._changes.values()),
            "model_calls": sum(micros(c.time.add(hours=24)) < limit for c in self._calls.values()),
            "inspections": sum(micros(time) < limit for time, _ in self._inspections.values()),
            "mute_events": sum(micros(m.until) < limit for m, _ in self._mutes.values()),
            "incident_entries": sum(micros(e.at) < limit for e in self._entries.values()),
        }

    async def prune(
        self,
        before: Instant,
        batch: int = PRUNE_BATCH,  # noqa: ARG002
        on_deleted: OnDeleted | None = None,
        cluster: str | None = None,
    ) -> int:
        limit = micros(before)

        def old(name: str, time: Instant | None) -> bool:
            return cluster in (None, name) and time is not None and micros(time) < limit

        snapshots = [k for k, s in self._snapshots.items() if old(s.evaluation.cluster, s.evaluation.time)]
        assessments = [k for k, a in self._assessments.items() if old(a.cluster, a.time)]
        issues = [k for k, (name, i) in self._issues.items() if old(name, i.resolved_at)]
        calls = [k for k, c in self._calls.items() if old(c.cluster, c.time.add(hours=24))]
        inspections = [k for k, (time, _) in self._inspections.items() if old(k[0], time)]
        changes = [k for k, c in self._changes.items() if old(c.cluster, c.at)]
        mutes = [k for k, (m, _) in self._mutes.items() if old(m.matcher.cluster, m.until)]
        gone: dict[str, tuple[dict[Any, Any], list[Any]]] = {
            "metrics_snapshots": (self._snapshots, snapshots),
            "health_assessments": (self._assessments, assessments),
            "issues": (self._issues, issues),
            "changes": (self._changes, changes),
            "model_calls": (self._calls, calls),
            "inspections": (self._inspections, inspections),
            "mute_events": (self._mutes, mutes),
            "incident_entries": (self._entries, [k for k, e in self._entries.items() if old(k[0], e.at)]),
        }
        for table, (rows, keys) in gone.items():
            for key in keys:
                del rows[key]
            if on_deleted and keys:
                on_deleted(table, len(keys))
        return sum(len(keys) for _, keys in gone.values())

    async def close(self) -> None:
        return None

    def _worst_first(self, cluster: str, severity: Severity | None = None) -> list[DetectedIssue]:
        found = [i for c, i in self._issues.values() if c == cluster and (severity is None or i.severity is severity)]
        found.sort(key=lambda i: (i.first_seen, i.finding, i.subject))
        found.sort(key=lambda i: i.last_seen, reverse=True)
        found.sort(key=lambda i: i.severity.value)
        return found

    def _stored(self, cluster: str) -> list[Snapshot]:
        return [s for s in self._snapshots.values() if s.evaluation.cluster == cluster]

    def _ticks(self, cluster: str, start: Instant, end: Instant) -> list[Evaluation]:
        inside = [s.evaluation for s in self._stored(cluster) if _inside(s.evaluation.time, start, end)]
        return sorted(inside, key=lambda e: e.time)

    def _assessed(self, cluster: str) -> list[HealthAssessment]:
        return sorted((a for a in self._assessments.values() if a.cluster == cluster), key=lambda a: a.time)


class NoLedger(MemoryStore):
    """A store that does not know what was spent."""

    async def model_spend(self, since: Instant) -> Spent:  # noqa: ARG002
        raise StoreError("the state store is away")


def _inside(time: Instant, start: Instant, end: Instant) -> bool:
    return micros(start) <= micros(time) <= micros(end)
