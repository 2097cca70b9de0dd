"""The activity of the log watcher."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from pydantic import ValidationError
from temporalio import activity
from whenever import Instant

from copilot.logs.counting import LogMemory, Redact, count_lines, current_reading
from copilot.logs.patterns import PatternBook
from copilot.loops.messages import Document, LogsQueried, QueryLogs
from copilot.sources.logs import LogSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchedLogs:
    """The logs of one cluster: their source, the patterns to count, and the rate window in seconds."""

    source: LogSource
    book: PatternBook
    window_sec: float


@dataclass(frozen=True)
class LogDeps:
    """What the activity reads, by cluster that has logs. `redact` takes secrets out of what is counted."""

    redact: Redact
    logs: Mapping[str, WatchedLogs] = field(default_factory=dict)
    now: Callable[[], Instant] = Instant.now


class LogActivities:
    """The log watcher's activity, over injected clients."""

    def __init__(self, deps: LogDeps) -> None:
        self._deps = deps

    @activity.defn
    async def query_logs(self, ask: QueryLogs) -> LogsQueried:
        """Read from the cursor on and count. Logs that cannot be read are missing with a reason, not an error."""
        watched = self._deps.logs.get(ask.cluster)
        if watched is None:
            return LogsQueried(watched=False)
        now = self._deps.now()
        memory = _memory(ask.memory)
        batch = await watched.source.read(ask.cursor, now, ask.deadline_sec)
        if not batch.read or batch.span_sec is None:
            now_seen = current_reading(memory, now, watched.window_sec, batch.missing)
        else:
            count = partial(count_lines, span_sec=batch.span_sec, window_sec=watched.window_sec, missing=batch.missing)
            memory, now_seen = await asyncio.to_thread(
                count, memory, batch.lines, now, book=watched.book, redact=self._deps.redact
            )
        return LogsQueried(
            cursor=dict(batch.cursor),
            memory=memory.model_dump(mode="json"),
            seen=now_seen.model_dump(mode="json"),
            spikes=list(now_seen.spikes),
        )


def _memory(document: Document | None) -> LogMemory:
    """What was counted before; empty, with a log line, where another release counted it."""
    try:
        return LogMemory.model_validate(document or {})
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        log.warning("log counts of another release are ignored: %s", reason, extra={"event": "log_memory.incompatible"})
        return LogMemory()
