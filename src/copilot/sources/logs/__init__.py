"""Log lines of a cluster's servers, from files or Loki, behind one protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from whenever import Instant

from copilot.logs.counting import StoreCounts
from copilot.logs.lines import LogLine
from copilot.rules.signals.readings import Missing

Cursor: TypeAlias = Mapping[str, Any]
"""The position of a reader, as JSON. Only the source that wrote it understands it; without one nothing was read yet."""

C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True)
class LogBatch:
    """The lines since the cursor, and the next cursor. `span_sec`: the seconds over which they were written; None at
    the first read, which gives no lines. `missing`: why some lines could not be read; with `read` False none could, and
    the cursor did not move. `note`: how far they were read where some were left for the next reading. `counted`: the
    store counted them, because they were too many to read; there are no `lines` then."""

    cursor: Cursor
    lines: Sequence[LogLine] = field(default=())
    span_sec: float | None = None
    missing: Missing | None = None
    read: bool = True
    note: str = ""
    counted: StoreCounts | None = None


class LogSource(Protocol):
    """Something that reads the log of one cluster's servers."""

    async def read(self, cursor: Cursor | None, now: Instant, deadline_sec: float) -> LogBatch:
        """The lines since `cursor`; without one, none yet. Failures are in the batch, not raised. Each line is read
        once, also when another process continues with the cursor."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


def cursor_as(model: type[C], cursor: Cursor | None) -> C | None:
    """The cursor as a source's own model; None for one of another kind, from another release or source."""
    try:
        return model.model_validate(cursor) if cursor is not None else None
    except ValidationError:
        return None
