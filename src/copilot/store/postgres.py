"""The state store in PostgreSQL or Aurora DSQL, in the subset of SQL that both have."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from whenever import Instant

from copilot.errors import StoreError
from copilot.explain.model.answer import Explanation
from copilot.explain.model.usage import SETTLED, UNSERVED, ModelCall, Spent
from copilot.rules import model
from copilot.rules.signals.change import Change
from copilot.store import sql
from copilot.store.base import PRUNE_BATCH, OnDeleted, SeriesPoint, TimelinePoint, newer_of
from copilot.store.cloud_pages import StoredPages
from copilot.store.connections import Connections
from copilot.store.downsample import thin_series, thin_timeline
from copilot.store.incident_log import StoredIncidentLog
from copilot.store.issue_life import advance
from copilot.store.migrate import migrate
from copilot.store.mutes import StoredMutes
from copilot.store.rows import (
    Connection,
    from_jsonb,
    join_snapshot,
    row_id,
    split_evaluation,
    to_column,
    to_jsonb,
    to_text,
)

ROWS_PER_TRANSACTION = 3_000
BYTES_PER_TRANSACTION = 8 * 2**20
TOO_MUCH = "54000"


class PostgresStore(StoredMutes, StoredIncidentLog):
    """A Store at a postgresql:// or dsql:// URL. It connects when it is first used."""

    def __init__(self, url: str, *, now: Callable[[], Instant] = Instant.now) -> None:
        super().__init__(Connections(url))
        self._now = now
        self.cloud_pages = StoredPages(self._db)

    async def setup_schema(self) -> int:
        return await migrate(self._db, self._now())

    async def save_snapshots(self, snapshots: Sequence[model.Snapshot]) -> int:
        batches = _batches([_snapshot_row(s) for s in snapshots])
        return sum([await self._db.transaction(partial(_insert_snapshots, batch)) for batch in batches])

    async def save_thresholds(self, thresholds_hash: str, thresholds: dict[str, Any]) -> None:
        await self._db.execute(sql.INSERT_THRESHOLDS, thresholds_hash, to_jsonb(thresholds))

    async def thresholds(self, thresholds_hash: str) -> dict[str, Any] | None:
        text = await self._db.value(sql.THRESHOLDS, thresholds_hash)
        return None if text is None else dict(json.loads(text))

    async def save_assessment(self, assessment: model.HealthAssessment) -> bool:
        row = _assessment_row(assessment)

        async def write(connection: Connection) -> bool:
            await connection.execute(sql.KNOW_CLUSTER, assessment.cluster)
            await connection.execute(sql.TOUCH_CLUSTER, assessment.cluster, to_column(assessment.time))
            if await connection.execute(sql.INSERT_ASSESSMENT, *row) == "INSERT 0 0":
                return False
            await _advance_issues(connection, assessment)
            return True

        return await self._db.transaction(write)

    async def improve_explanation(self, evaluation_id: str, trigger: model.Trigger, explanation: Explanation) -> bool:
        key = row_id(evaluation_id, trigger)

        async def write(connection: Connection) -> bool:
            text = await connection.fetchval(sql.STORED_ASSESSMENT, key)
            if text is None:
                return False
            stored = from_jsonb(model.HealthAssessment, text)
            changed = stored.model_copy(update={"explanation": explanation.model_dump(mode="json")})
            if changed != stored:
                await connection.execute(sql.REWORD_ASSESSMENT, key, explanation.explained_by, to_jsonb(changed))
            return True

        return await self._db.transaction(write)

    async def save_model_call(self, call: ModelCall) -> None:
        await self._db.execute(
            sql.SAVE_MODEL_CALL,
            row_id(*call.key), to_text(call.cluster), to_text(call.evaluation_id), to_column(call.time), call.agent,
            to_text(call.model), call.fingerprint, call.outcome.value, call.input_tokens, call.output_tokens,
            call.cost_usd, int(call.outcome in UNSERVED), to_jsonb(call),
        )  # fmt: skip

    async def model_spend(self, since: Instant) -> Spent:
        return Spent.model_validate(dict(await self._db.row(sql.MODEL_SPEND, to_column(since)) or {}))

    async def settled_call(self, cluster: str, fingerprint: str) -> ModelCall | None:
        row = await self._db.row(sql.SETTLED_CALL, to_text(cluster), fingerprint, sorted(SETTLED))
        return None if row is None else from_jsonb(ModelCall, row["call"])

    async def save_inspection(self, cluster: str, kind: str, time: Instant, document: Mapping[str, Any]) -> None:
        key = row_id("inspection", cluster, kind)
        row = (to_text(cluster), kind, to_column(time), to_jsonb(document))
        await self._db.execute(sql.SAVE_INSPECTION, key, *row)

    async def inspection(self, cluster: str, kind: str, since: Instant | None = None) -> dict[str, Any] | None:
        text = await self._db.value(
            sql.INSPECTION, row_id("inspection", cluster, kind), to_column(since or Instant.MIN)
        )
        return None if text is None else dict(json.loads(text))

    async def latest_snapshot(self, cluster: str) -> model.Snapshot | None:
        return await self._snapshot(cluster, Instant.MAX)

    async def latest_evaluation(self, cluster: str) -> model.Evaluation | None:
        return await self.evaluation_at(cluster, Instant.MAX)

    async def evaluation_at(self, cluster: str, at: Instant) -> model.Evaluation | None:
        snapshot = await self._snapshot(cluster, at)
        return newer_of(snapshot.evaluation if snapshot else None, await self._assessment(cluster, at))

    async def latest_assessment(self, cluster: str) -> model.HealthAssessment | None:
        return await self._assessment(cluster, Instant.MAX)

    async def assessments_in_range(
        self, cluster: str, start: Instant, end: Instant, limit: int = 1000
    ) -> list[model.HealthAssessment]:
        rows = await self._db.rows(sql.ASSESSMENTS, cluster, to_column(start), to_column(end), limit)
        return [from_jsonb(model.HealthAssessment, r["assessment"]) for r in reversed(rows)]

    async def timeline(
        self, cluster: str, start: Instant, end: Instant, max_points: int, *, signals: bool = False
    ) -> list[TimelinePoint]:
        rows = await self._db.rows(sql.TIMELINE, cluster, to_column(start), to_column(end), max_points)
        kept = thin_timeline([_point(r) for r in rows], max_points)
        if not signals:
            return kept
        ids = {Instant(r["time"]): r["id"] for r in rows}
        found = await self._db.rows(sql.READINGS, [ids[p.time] for p in kept])
        readings = {r["id"]: json.loads(r["readings"]) for r in found}
        return [replace(p, signals=readings.get(ids[p.time])) for p in kept]

    async def signal_series(
        self, cluster: str, signal_id: str, start: Instant, end: Instant, max_points: int
    ) -> list[SeriesPoint]:
        rows = await self._db.rows(
            sql.SERIES, cluster, to_text(signal_id), to_column(start), to_column(end), max_points
        )
        return thin_series([SeriesPoint(time=Instant(r["time"]), value=r["value"]) for r in rows], max_points)

    async def issues(self, cluster: str, limit: int = 100) -> list[model.DetectedIssue]:
        return await self._issues(sql.ISSUES, cluster, limit)

    async def resolved_issues(
        self, cluster: str, *, severity: model.Severity | None = None, limit: int = 100
    ) -> list[model.DetectedIssue]:
        return await self._issues(sql.RESOLVED_ISSUES, cluster, severity.value if severity else None, limit)

    async def save_changes(self, changes: Sequence[Change]) -> int:
        return sum([await self._db.transaction(partial(_save_changes, b)) for b in _batches(_change_rows(changes))])

    async def changes(self, cluster: str, start: Instant, end: Instant, limit: int = 500) -> list[Change]:
        rows = await self._db.rows(sql.CHANGES, cluster, to_column(start), to_column(end), limit)
        return [from_jsonb(Change, r["change"]) for r in rows]

    async def clusters(self) -> list[str]:
        return [r["cluster"] for r in await self._db.rows(sql.CLUSTERS)]

    async def prunable(self, before: Instant) -> dict[str, int]:
        found = dict.fromkeys(sql.COUNT_OLD, 0)
        for cluster in await self.clusters():
            for table, statement in sql.COUNT_OLD.items():
                row = await self._db.row(statement, cluster, to_column(before))
                found[table] += 0 if row is None else row["count"]
        return found

    async def prune(
        self, before: Instant, batch: int = PRUNE_BATCH, on_deleted: OnDeleted | None = None, cluster: str | None = None
    ) -> int:
        deleted = 0
        room = max(1, min(batch, ROWS_PER_TRANSACTION))
        for name in await self.clusters() if cluster is None else [cluster]:
            for table, statement in sql.PRUNE.items():
                count = -1
                while count:
                    try:
                        status = await self._db.execute(statement, name, to_column(before), room)
                    except StoreError as error:
                        if room == 1 or getattr(error.__cause__, "sqlstate", None) != TOO_MUCH:
                            raise
                        room //= 2
                        continue
                    count = int(status.rpartition(" ")[2])
                    deleted += count
                    if count and on_deleted:
                        on_deleted(table, count)
        return deleted

    async def close(self) -> None:
        await self._db.close()

    async def _snapshot(self, cluster: str, at: Instant) -> model.Snapshot | None:
        row = await self._db.row(sql.SNAPSHOT_AT, cluster, to_column(at))
        return None if row is None else join_snapshot(row)

    async def _assessment(self, cluster: str, at: Instant) -> model.HealthAssessment | None:
        text = await self._db.value(sql.ASSESSMENT_AT, cluster, to_column(at))
        return None if text is None else from_jsonb(model.HealthAssessment, text)

    async def _issues(self, statement: str, *values: Any) -> list[model.DetectedIssue]:
        return [from_jsonb(model.DetectedIssue, r["issue"]) for r in await self._db.rows(statement, *values)]


async def _advance_issues(connection: Connection, assessment: model.HealthAssessment) -> None:
    cluster, time = to_text(assessment.cluster), to_column(assessment.time)
    rows = await connection.fetch(sql.ISSUES_UNRESOLVED_AT, cluster, time)
    known = [from_jsonb(model.DetectedIssue, r["issue"]) for r in rows]
    newer = await connection.fetchval(sql.NEXT_ASSESSMENT, cluster, time)
    for issue in advance(assessment, known, None if newer is None else from_jsonb(model.HealthAssessment, newer)):
        resolved_at = None if issue.resolved_at is None else to_column(issue.resolved_at)
        await connection.execute(
            sql.UPSERT_ISSUE,
            UUID(issue.id), cluster, to_text(issue.finding), to_text(issue.subject), issue.severity.value,
            to_text(issue.finding), to_column(issue.first_seen), to_column(issue.last_seen), resolved_at,
            to_jsonb(issue),
        )  # fmt: skip


async def _insert_snapshots(batch: list[tuple[Any, ...]], connection: Connection) -> int:
    for cluster in sorted({row[1] for row in batch}):
        await connection.execute(sql.KNOW_CLUSTER, cluster)
    ids = [row[0] for row in batch]
    kept = await connection.fetchval(sql.COUNT_SNAPSHOTS, ids)
    await connection.executemany(sql.INSERT_SNAPSHOT, batch)
    return len(set(ids)) - int(kept)


async def _save_changes(batch: list[tuple[Any, ...]], connection: Connection) -> int:
    for cluster in sorted({row[1] for row in batch}):
        await connection.execute(sql.KNOW_CLUSTER, cluster)
    ids = [row[0] for row in batch]
    kept = await connection.fetchval(sql.COUNT_CHANGES, ids)
    await connection.executemany(sql.SAVE_CHANGE, batch)
    return len(ids) - int(kept)


def _change_rows(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """One row an id, in the order of ids: two writers lock them in the same order."""
    rows = {UUID(c.digest): c for c in changes}
    return [
        (key, to_text(c.cluster), to_column(c.at), c.kind, c.source, to_jsonb(c)) for key, c in sorted(rows.items())
    ]


def _batches(rows: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in order, cut under DSQL's limits of rows and bytes in a transaction."""
    batch: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        weight = sum(len(v) for v in row if isinstance(v, str))
        if batch and (len(batch) == ROWS_PER_TRANSACTION - 100 or size + weight > BYTES_PER_TRANSACTION):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += weight
    if batch:
        yield batch


def _snapshot_row(snapshot: model.Snapshot) -> tuple[Any, ...]:
    evaluation = snapshot.evaluation
    document, readings = split_evaluation(evaluation)
    return (
        row_id(evaluation.evaluation_id), to_text(evaluation.cluster), to_text(evaluation.evaluation_id),
        to_column(evaluation.time), *_verdict_columns(evaluation),
        to_text(snapshot.thresholds_hash), to_text(snapshot.taxonomy_version), to_text(snapshot.rules_version),
        readings, to_jsonb(snapshot.memory_before), document,
    )  # fmt: skip


def _assessment_row(assessment: model.HealthAssessment) -> tuple[Any, ...]:
    """The column `summary` has the name of the first finding: sentences are made when an assessment is read."""
    return (
        row_id(assessment.evaluation_id, assessment.trigger), to_text(assessment.cluster),
        to_text(assessment.evaluation_id), assessment.trigger.value, to_column(assessment.time),
        *(columns := _verdict_columns(assessment)), "rules", columns[-1] or "", to_jsonb(assessment),
    )  # fmt: skip


def _verdict_columns(evaluation: model.Evaluation) -> tuple[str, bool, str, str | None]:
    top = None if evaluation.top_factor is None else to_text(evaluation.top_factor)
    return evaluation.verdict.health_state.value, evaluation.verdict.stale, evaluation.bottleneck.value, top


def _point(row: asyncpg.Record) -> TimelinePoint:
    time, state, bottleneck = Instant(row["time"]), model.ReportedState(row["health_state"]), row["bottleneck"]
    return TimelinePoint(time, state, row["stale"], model.BottleneckClassification(bottleneck), row["top_factor"])
