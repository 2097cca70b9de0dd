"""The activity of the log watcher."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from pydantic import ValidationError
from temporalio import activity
from whenever import Instant

from copilot.logs.counting import LogMemory, Redact, counted, seen
from copilot.logs.patterns import PatternBook
from copilot.loops.messages import Document, LogsQueried, QueryLogs
from copilot.sources.logs.base import LogSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchedLogs:
    """The logs of one cluster: where they come from, what is looked for in them, and the rate window in seconds."""

    source: LogSource
    book: PatternBook
    window_sec: float


@dataclass(frozen=True)
class LogDeps:
    """What the activity works with, per cluster that has logs. `redact` takes secrets out of what is kept."""

    redact: Redact
    logs: Mapping[str, WatchedLogs] = field(default_factory=dict)
    now: Callable[[], Instant] = Instant.now


class LogActivities:
    """The log watcher's activities, over injected clients."""

    def __init__(self, deps: LogDeps) -> None:
        self._deps = deps

    @activity.defn
    async def query_logs(self, ask: QueryLogs) -> LogsQueried:
        """Read on, count, and say what is seen. Logs that cannot be read are missing with a reason, not an error."""
        watched = self._deps.logs.get(ask.cluster)
        if watched is None:
            return LogsQueried(watched=False)
        now = self._deps.now()
        memory = _remembered(ask.memory)
        batch = await watched.source.read(ask.cursor, now, ask.deadline_sec)
        if not batch.read or batch.span_sec is None:
            said = seen(memory, now, watched.window_sec, batch.missing)
        else:
            count = partial(counted, span_sec=batch.span_sec, window_sec=watched.window_sec, missing=batch.missing)
            memory, said = await asyncio.to_thread(
                count, memory, batch.lines, now, book=watched.book, redact=self._deps.redact
            )
        return LogsQueried(
            cursor=dict(batch.cursor),
            memory=memory.model_dump(mode="json"),
            seen=said.model_dump(mode="json"),
            spikes=list(said.spikes),
        )


def _remembered(document: Document | None) -> LogMemory:
    """What was counted before; what another release remembered and does not fit is forgotten, and said."""
    try:
        return LogMemory.model_validate(document or {})
    except ValidationError as error:
        log.warning("what another release counted does not fit and is forgotten: %s", error.errors()[0]["msg"])
        return LogMemory()
