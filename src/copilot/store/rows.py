"""Models and rows: the columns of a model, the model of a row, and asyncpg's types."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from uuid import UUID, uuid5

import asyncpg
from pydantic import BaseModel, ValidationError
from whenever import Instant

from copilot.errors import StoreError
from copilot.rules.model import Evaluation, Snapshot

# asyncpg's classes are generic for the type checker only.
if TYPE_CHECKING:
    RawConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    RawConnection = asyncpg.Connection
    Connection = asyncpg.pool.PoolConnectionProxy
    Pool = asyncpg.Pool

ROW_IDS = UUID("0d2a7c1e-6a53-5c2f-8b5f-2f6f2c6b7a10")
M = TypeVar("M", bound=BaseModel)


def row_id(*parts: str) -> UUID:
    """A row's key, derived from what makes the row unique."""
    return uuid5(ROW_IDS, "\n".join(parts))


def to_column(time: Instant) -> datetime:
    """An instant for a TIMESTAMPTZ column, floored to the microsecond."""
    return micros(time).to_stdlib()


def micros(time: Instant) -> Instant:
    """The instant floored to the microsecond: the store compares instants so."""
    return time.round("microsecond", mode="floor")


def to_jsonb(value: BaseModel | Mapping[str, Any]) -> str:
    """JSON text for a jsonb column. NUL and lone surrogates, which jsonb rejects, become U+FFFD."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text = json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    if "\\u0000" in text or "\\ud" in text:
        text = json.dumps(_storable(plain), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text


def to_text(value: str) -> str:
    """Text for a text column, with the same replacements."""
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return to_text(value)
    if isinstance(value, dict):
        return {to_text(k): _storable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(v) for v in value]
    return value


def split_evaluation(evaluation: Evaluation) -> tuple[str, str]:
    """An evaluation as two jsonb columns: everything but the readings, and the readings."""
    plain = evaluation.model_dump(mode="json")
    readings = plain["signals"].pop("readings")
    return to_jsonb(plain), to_jsonb(readings)


def join_snapshot(row: asyncpg.Record | Mapping[str, Any]) -> Snapshot:
    """The snapshot of a row of metrics_snapshots. StoreError as in `from_jsonb`."""
    evaluation = json.loads(row["evaluation"])
    evaluation.setdefault("signals", {})["readings"] = json.loads(row["readings"])
    columns = {name: row[name] for name in ("thresholds_hash", "taxonomy_version", "rules_version")}
    memory_before = json.loads(row["memory_before"])
    return from_jsonb(Snapshot, {"evaluation": evaluation, "memory_before": memory_before, **columns})


def from_jsonb(model: type[M], found: str | dict[str, Any]) -> M:
    """The model in a jsonb column. StoreError: another version wrote what this one does not know."""
    try:
        return model.model_validate_json(found) if isinstance(found, str) else model.model_validate(found)
    except ValidationError as error:
        raise StoreError(
            f"a document in the state store ({model.__name__}) was written by another version and cannot be read: "
            "use the newer version"
        ) from error
