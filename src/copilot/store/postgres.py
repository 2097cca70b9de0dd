"""The state store in PostgreSQL, in the subset of SQL that Aurora DSQL speaks too."""

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
from whenever import Instant

from copilot.errors import StoreError
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
from copilot.store import rows as issue_rows
from copilot.store import rows as model_rows
from copilot.store import sql
from copilot.store.base import PRUNE_BATCH, SeriesPoint, TimelinePoint, Told, newest_told
from copilot.store.connections import Connections
from copilot.store.downsample import thin_series, thin_timeline
from copilot.store.migrate import migrate
from copilot.store.rows import (
    Connection,
    from_column,
    join_assessment,
    join_issue,
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


class PostgresStore:
    """A Store at a postgresql:// or dsql:// address. Nothing is connected before it is used, so a database that is away
    delays nobody who does not ask it."""

    def __init__(self, url: str, *, now: Callable[[], Instant] = Instant.now) -> None:
        self._connections = Connections(url)
        self._now = now

    async def setup_schema(self) -> int:
        return await migrate(self._connections, self._now())

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> int:
        new = 0
        for batch in _batches([_snapshot_row(s) for s in snapshots]):
            new += await self._connections.transaction(_insert_snapshots(batch))
        return new

    async def save_thresholds(self, thresholds_hash: str, thresholds: dict[str, Any]) -> None:
        await self._connections.transaction(
            lambda c: c.execute(sql.INSERT_THRESHOLDS, thresholds_hash, to_jsonb(thresholds))
        )

    async def thresholds(self, thresholds_hash: str) -> dict[str, Any] | None:
        text = await self._connections.transaction(lambda c: c.fetchval(sql.THRESHOLDS, thresholds_hash))
        return None if text is None else dict(json.loads(text))

    async def save_assessment(self, assessment: HealthAssessment) -> bool:
        row = _assessment_row(assessment)

        async def write(connection: Connection) -> bool:
            await connection.execute(sql.KNOW_CLUSTER, assessment.cluster)
            await connection.execute(sql.TOUCH_CLUSTER, assessment.cluster, to_column(assessment.time))
            if await connection.execute(sql.INSERT_ASSESSMENT, *row) == "INSERT 0 0":
                return False
            await issue_rows.live_on_in(connection, assessment)
            return True

        return await self._connections.transaction(write)

    async def improve_explanation(self, evaluation_id: str, trigger: Trigger, explanation: Explanation) -> bool:
        key = row_id(evaluation_id, trigger)

        async def write(connection: Connection) -> bool:
            row = await connection.fetchrow(sql.KEPT_ASSESSMENT, key)
            if row is None:
                return False
            kept = join_assessment(row)
            improved = kept.model_copy(update={"explanation": explanation.model_dump(mode="json")})
            if improved != kept:
                await connection.execute(
                    sql.REWORD_ASSESSMENT, key, explanation.explained_by, _summary(improved), to_jsonb(improved)
                )
            return True

        return await self._connections.transaction(write)

    async def save_model_call(self, call: ModelCall) -> None:
        await self._connections.transaction(lambda c: model_rows.save(c, call))

    async def model_spend(self, since: Instant) -> Spent:
        return await self._connections.transaction(lambda c: model_rows.spend(c, since))

    async def settled_call(self, cluster: str, fingerprint: str) -> ModelCall | None:
        return await self._connections.transaction(lambda c: model_rows.settled(c, cluster, fingerprint))

    async def model_calls(self, cluster: str, start: Instant, end: Instant, limit: int = 100) -> list[ModelCall]:
        return await self._connections.transaction(lambda c: model_rows.listed(c, cluster, start, end, limit))

    async def latest_snapshot(self, cluster: str) -> Snapshot | None:
        row = await self._row(sql.LATEST_SNAPSHOT, cluster)
        return None if row is None else join_snapshot(row)

    async def latest_evaluation(self, cluster: str) -> Evaluation | None:
        snapshot = await self.latest_snapshot(cluster)
        return newest_told(snapshot.evaluation if snapshot else None, await self.latest_assessment(cluster))

    async def evaluation_at(self, cluster: str, at: Instant) -> Evaluation | None:
        snapshot = await self._row(sql.SNAPSHOT_AT, cluster, to_column(at))
        assessment = await self._row(sql.ASSESSMENT_AT, cluster, to_column(at))
        return newest_told(
            join_snapshot(snapshot).evaluation if snapshot else None,
            join_assessment(assessment) if assessment else None,
        )

    async def latest_assessment(self, cluster: str) -> HealthAssessment | None:
        row = await self._row(sql.LATEST_ASSESSMENT, cluster)
        return None if row is None else join_assessment(row)

    async def assessments_in_range(
        self, cluster: str, start: Instant, end: Instant, limit: int = 1000
    ) -> list[HealthAssessment]:
        rows = await self._rows(sql.ASSESSMENTS, cluster, to_column(start), to_column(end), limit)
        return [join_assessment(r) for r in reversed(rows)]

    async def recent_assessment(self, cluster: str, now: Instant, within_sec: float) -> Instant | None:
        after = now.subtract(seconds=within_sec)
        row = await self._row(sql.RECENT_ASSESSMENT, cluster, to_column(after), to_column(now))
        return None if row is None else from_column(row["time"])

    async def timeline(
        self, cluster: str, start: Instant, end: Instant, max_points: int, *, signals: bool = False
    ) -> list[TimelinePoint]:
        rows = await self._rows(sql.TIMELINE, cluster, to_column(start), to_column(end), max_points)
        kept = thin_timeline([_point(r) for r in rows], max_points)
        if not signals:
            return kept
        ids = {from_column(r["time"]): r["id"] for r in rows}
        found = await self._rows(sql.READINGS, [ids[p.time] for p in kept])
        readings = {r["id"]: json.loads(r["readings"]) for r in found}
        return [replace(p, signals=readings.get(ids[p.time])) for p in kept]

    async def signal_series(
        self, cluster: str, signal_id: str, start: Instant, end: Instant, max_points: int
    ) -> list[SeriesPoint]:
        rows = await self._rows(sql.SERIES, cluster, to_text(signal_id), to_column(start), to_column(end), max_points)
        points = [SeriesPoint(time=from_column(r["time"]), value=r["value"]) for r in rows]
        return thin_series(points, max_points)

    async def issues(self, cluster: str, *, severity: Severity | None = None, limit: int = 100) -> list[DetectedIssue]:
        rows = await self._rows(sql.ISSUES, cluster, severity.value if severity else None, limit)
        return [join_issue(r) for r in rows]

    async def resolved_issues(
        self, cluster: str, *, severity: Severity | None = None, limit: int = 100
    ) -> list[DetectedIssue]:
        rows = await self._rows(sql.RESOLVED_ISSUES, cluster, severity.value if severity else None, limit)
        return [join_issue(r) for r in rows]

    async def clusters(self) -> list[str]:
        return [r["cluster"] for r in await self._rows(sql.CLUSTERS)]

    async def prunable(self, before: Instant) -> dict[str, int]:
        found = dict.fromkeys(sql.COUNT_OLD, 0)
        for cluster in await self.clusters():
            for table, statement in sql.COUNT_OLD.items():
                row = await self._row(statement, cluster, to_column(before))
                found[table] += 0 if row is None else row["count"]
        return found

    async def prune(
        self, before: Instant, batch: int = PRUNE_BATCH, told: Told | None = None, cluster: str | None = None
    ) -> int:
        deleted = 0
        room = max(1, min(batch, ROWS_PER_TRANSACTION))
        for name in await self.clusters() if cluster is None else [cluster]:
            for table, statement in sql.PRUNE.items():
                while True:
                    count, room = await self._delete(statement, name, before, room)
                    if not count:
                        break
                    deleted += count
                    if told:
                        told(table, count)
        return deleted

    async def close(self) -> None:
        await self._connections.close()

    async def _delete(self, statement: str, cluster: str, before: Instant, room: int) -> tuple[int, int]:
        """Delete one batch, a smaller one where this is too much; the rows deleted, and how many may be next time."""
        while True:
            try:
                status = await self._connections.transaction(
                    lambda c, room=room: c.execute(statement, cluster, to_column(before), room)  # type: ignore[misc]
                )
            except StoreError as error:
                if room == 1 or getattr(error.__cause__, "sqlstate", None) != TOO_MUCH:
                    raise
                room //= 2
            else:
                return int(status.rpartition(" ")[2]), room

    async def _row(self, statement: str, *args: Any) -> asyncpg.Record | None:
        return await self._connections.transaction(lambda c: c.fetchrow(statement, *args))

    async def _rows(self, statement: str, *args: Any) -> list[asyncpg.Record]:
        return await self._connections.transaction(lambda c: c.fetch(statement, *args))


def _insert_snapshots(batch: list[tuple[Any, ...]]) -> Callable[[Connection], Awaitable[int]]:
    async def write(connection: Connection) -> int:
        for cluster in sorted({row[1] for row in batch}):
            await connection.execute(sql.KNOW_CLUSTER, cluster)
        ids = [row[0] for row in batch]
        kept = await connection.fetchval(sql.COUNT_SNAPSHOTS, ids)
        await connection.executemany(sql.INSERT_SNAPSHOT, batch)
        return len(set(ids)) - int(kept)

    return write


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


def _snapshot_row(snapshot: Snapshot) -> tuple[Any, ...]:
    said = snapshot.evaluation
    evaluation, readings = split_evaluation(said)
    return (
        row_id(said.evaluation_id), to_text(said.cluster), to_text(said.evaluation_id), to_column(said.time),
        *_said_columns(said),
        to_text(snapshot.thresholds_hash), to_text(snapshot.taxonomy_version), to_text(snapshot.rules_version),
        readings, to_jsonb(snapshot.memory_before), evaluation,
    )  # fmt: skip


def _assessment_row(said: HealthAssessment) -> tuple[Any, ...]:
    return (
        row_id(said.evaluation_id, said.trigger), to_text(said.cluster), to_text(said.evaluation_id),
        said.trigger.value, to_column(said.time), *_said_columns(said), "rules", _summary(said),
        to_jsonb(said),
    )  # fmt: skip


def _summary(assessment: HealthAssessment) -> str:
    """What the summary column holds: the first finding's name, and no sentence (those are made when it is read)."""
    return to_text(assessment.top_factor or "")


def _said_columns(said: Evaluation) -> tuple[str, bool, str, str | None]:
    top = None if said.top_factor is None else to_text(said.top_factor)
    return said.verdict.health_state.value, said.verdict.stale, said.bottleneck.value, top


def _point(row: asyncpg.Record) -> TimelinePoint:
    return TimelinePoint(
        time=from_column(row["time"]),
        health_state=ReportedState(row["health_state"]),
        stale=row["stale"],
        bottleneck=BottleneckClassification(row["bottleneck"]),
        top_factor=row["top_factor"],
    )
