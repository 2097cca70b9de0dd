"""Where log lines come from: one interface over files and Loki."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from whenever import Instant

from copilot.logs.lines import LogLine
from copilot.rules.signals.readings import Missing

Cursor: TypeAlias = Mapping[str, Any]
"""How far was read, as JSON. Only the source that wrote it looks inside; no cursor: nothing was read yet."""


@dataclass(frozen=True)
class LogBatch:
    """The lines since the cursor, and the next cursor. `span_sec`: over how many seconds they were written; None: from
    now on they are read. `missing`: why not all lines could be read; with `read` False none could, and the cursor stays
    where it was."""

    cursor: Cursor
    lines: Sequence[LogLine] = field(default=())
    span_sec: float | None = None
    missing: Missing | None = None
    read: bool = True


class LogSource(Protocol):
    """Something that reads the log of one cluster's servers."""

    async def read(self, cursor: Cursor | None, now: Instant, deadline_sec: float) -> LogBatch:
        """What was logged since `cursor`; without one, nothing yet. What cannot be read is said in the answer, not
        raised. A line is given once, whichever process reads on with the cursor."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
