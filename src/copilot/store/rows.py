"""The driver's types, which are generic for the type checker and not when they run."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from uuid import UUID, uuid5

import asyncpg
from pydantic import BaseModel, ValidationError
from whenever import Instant

from copilot.errors import StoreError
from copilot.explain.model.usage import SETTLED, UNSERVED, ModelCall, Spent
from copilot.rules.model import DetectedIssue, Evaluation, HealthAssessment, Snapshot
from copilot.store import sql
from copilot.store.issue_life import live_on

if TYPE_CHECKING:
    RawConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    RawConnection = asyncpg.Connection
    Connection = asyncpg.pool.PoolConnectionProxy
    Pool = asyncpg.Pool


ROWS = UUID("0d2a7c1e-6a53-5c2f-8b5f-2f6f2c6b7a10")


class Row(Protocol):
    """What is needed of a driver's row."""

    def __getitem__(self, column: str) -> Any: ...


def row_id(*parts: str) -> UUID:
    """A row's key, made of what makes the row unique."""
    return uuid5(ROWS, "\n".join(parts))


def to_column(time: Instant) -> datetime:
    """An instant for a TIMESTAMPTZ column, floored to the microsecond."""
    return micros(time).to_stdlib()


def from_column(value: datetime) -> Instant:
    """An instant from a TIMESTAMPTZ column."""
    return Instant(value)


def micros(time: Instant) -> Instant:
    """The instant floored to the microsecond, as the store compares instants."""
    return time.round("microsecond", mode="floor")


def to_jsonb(value: BaseModel | Mapping[str, Any]) -> str:
    """JSON text for a jsonb column. NUL and lone surrogates, which jsonb refuses, become U+FFFD."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text = json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    if "\\u0000" in text or "\\ud" in text:
        text = json.dumps(_storable(plain), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text


def to_text(value: str) -> str:
    """Text for a text column, under the same rule."""
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def split_evaluation(evaluation: Evaluation) -> tuple[str, str]:
    """An evaluation as two jsonb columns: all but the readings, and the readings."""
    plain = evaluation.model_dump(mode="json")
    readings = plain["signals"].pop("readings")
    return to_jsonb(plain), to_jsonb(readings)


def join_snapshot(row: Row) -> Snapshot:
    """A snapshot from a row of metrics_snapshots. StoreError if this version cannot read it."""
    with _understood("a snapshot"):
        evaluation = json.loads(row["evaluation"])
        evaluation["signals"]["readings"] = json.loads(row["readings"])
        return Snapshot.model_validate(
            {
                "evaluation": evaluation,
                "memory_before": json.loads(row["memory_before"]),
                "thresholds_hash": row["thresholds_hash"],
                "taxonomy_version": row["taxonomy_version"],
                "rules_version": row["rules_version"],
            }
        )


def join_assessment(row: Row) -> HealthAssessment:
    """An assessment from a row of health_assessments. StoreError as above."""
    with _understood("an assessment"):
        return HealthAssessment.model_validate_json(row["assessment"])


def join_issue(row: Row) -> DetectedIssue:
    """An issue from a row of issues. StoreError as above."""
    with _understood("an issue"):
        return DetectedIssue.model_validate_json(row["issue"])


def join_call(row: Row) -> ModelCall:
    """A model's call from a row of model_calls. StoreError as above."""
    with _understood("a model's call"):
        return ModelCall.model_validate_json(row["call"])


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """Another version's rows may hold what this one does not know: then the store cannot be used, not the program."""
    try:
        yield
    except (ValidationError, KeyError) as error:
        why = type(error).__name__
        raise StoreError(
            f"{what} in the state store was written by another version and cannot be read ({why}): use the newer one"
        ) from error


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return to_text(value)
    if isinstance(value, dict):
        return {to_text(k): _storable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(v) for v in value]
    return value


async def live_on_in(connection: Connection, assessment: HealthAssessment) -> None:
    """Open, renew and resolve the issues that an assessment says (issue_life.py)."""
    cluster, time = to_text(assessment.cluster), to_column(assessment.time)
    known = [join_issue(r) for r in await connection.fetch(sql.ISSUES_UNRESOLVED_AT, cluster, time)]
    later = await connection.fetchrow(sql.NEXT_ASSESSMENT, cluster, time)
    for issue in live_on(assessment, known, None if later is None else join_assessment(later)):
        await connection.execute(
            sql.UPSERT_ISSUE,
            UUID(issue.id),
            cluster,
            to_text(issue.finding),
            to_text(issue.subject),
            issue.severity.value,
            to_text(issue.finding),
            to_column(issue.first_seen),
            to_column(issue.last_seen),
            None if issue.resolved_at is None else to_column(issue.resolved_at),
            to_jsonb(issue),
        )


async def save(connection: Connection, call: ModelCall) -> None:
    """Keep a call, or what has become of it."""
    await connection.execute(
        sql.SAVE_MODEL_CALL,
        row_id(*call.key), to_text(call.cluster), to_text(call.evaluation_id), to_column(call.time), call.agent,
        to_text(call.model), call.fingerprint, call.outcome.value, call.input_tokens, call.output_tokens,
        call.cost_usd, int(call.outcome in UNSERVED), to_jsonb(call),
    )  # fmt: skip


async def spend(connection: Connection, since: Instant) -> Spent:
    """What all calls since then took."""
    row = await connection.fetchrow(sql.MODEL_SPEND, to_column(since))
    return Spent() if row is None else Spent.model_validate(dict(row))


async def settled(connection: Connection, cluster: str, fingerprint: str) -> ModelCall | None:
    """The newest call that settled a situation."""
    row = await connection.fetchrow(sql.SETTLED_CALL, to_text(cluster), fingerprint, sorted(SETTLED))
    return None if row is None else join_call(row)


async def listed(connection: Connection, cluster: str, start: Instant, end: Instant, limit: int) -> list[ModelCall]:
    """The newest calls of a range, oldest first."""
    rows = await connection.fetch(sql.MODEL_CALLS, to_text(cluster), to_column(start), to_column(end), limit)
    return [join_call(row) for row in reversed(rows)]
