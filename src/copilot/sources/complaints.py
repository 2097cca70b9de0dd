"""Failures in the log, so that what goes on failing does not fill it."""

import logging
import time
from collections.abc import Callable

from copilot.redaction.redactor import redacted

EVERY_SEC = 60.0


class Complaints:
    """Of one thing that can fail: the first failure is logged, later ones at most once a minute. `clock` in seconds."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._last: float | None = None

    def say(self, message: str, *values: object) -> None:
        """Log a warning without secrets, unless one was logged within the last minute."""
        now = self._clock()
        if self._last is None or now - self._last >= EVERY_SEC:
            self._last = now
            self._log.warning("%s", redacted(message % values))
