"""Where readings come from: metrics pages, Prometheus, Temporal's API, logs, runbooks and recordings."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Protocol

from whenever import Instant

from copilot.errors import SourceError
from copilot.redaction.redactor import redacted
from copilot.rules.signals.readings import MissingCode, Signals

QUIET_SEC = 60.0


class Source(Protocol):
    """Something that reads signals of one cluster."""

    @property
    def name(self) -> str:
        """The kind of source: `metrics`, `prometheus`, `api`."""
        ...

    @property
    def expected(self) -> tuple[str, ...]:
        """The ids it should read: they are missing when it does not answer."""
        ...

    async def read(self, now: Instant) -> Signals:
        """The signals at `now`. A reading that failed is missing, with its reason; failures are not raised."""
        ...

    async def aclose(self) -> None:
        """Stop background tasks and close connections."""
        ...


@asynccontextmanager
async def time_limit(seconds: float, detail: str = "") -> AsyncIterator[None]:
    """SourceError (timeout) where the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise SourceError(MissingCode.TIMEOUT, detail or f"timed out after {seconds:g} s") from error


Versions = Callable[[], Awaitable[Collection[str]]]
"""The server's versions that one source knows and another does not; empty: unknown."""


async def no_versions() -> Collection[str]:
    """None is known."""
    return ()


class ThrottledLog:
    """Warnings about one thing that can fail: the first is logged, later ones at most once a minute. `event` is their
    key in the structured log, `clock` counts seconds."""

    def __init__(self, log: logging.Logger, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._event = event
        self._clock = clock
        self._last: float | None = None

    def warning(self, message: str, *values: object) -> None:
        """Log a redacted warning, unless one was logged within the last minute."""
        now = self._clock()
        if self._last is None or now - self._last >= QUIET_SEC:
            self._last = now
            self._log.warning("%s", redacted(message % values), extra={"event": self._event})
