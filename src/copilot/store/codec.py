"""Models to columns and back. The only place of the store where datetime appears, for the driver's sake."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid5

from pydantic import BaseModel, ValidationError
from whenever import Instant

from copilot.core.assessment import Evaluation, HealthAssessment, StoredIssue
from copilot.core.errors import StoreError
from copilot.core.model_call import ModelCall
from copilot.core.snapshot import Snapshot

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


def join_issue(row: Row) -> StoredIssue:
    """An issue from a row of issues. StoreError as above."""
    with _understood("an issue"):
        return StoredIssue.model_validate_json(row["issue"])


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
