"""Whose turn it is to be described: the largest task queues every cycle, the rest in turn."""

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from whenever import Instant

from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode
from copilot.sources.queue_calls import Clock
from copilot.sources.task_queues import Description, QueueKey

MAX_QUEUES = 50
SPARE_INTERVALS = 1.5
GOOD_FOR_AT_MOST_SEC = 600.0
Versions = Callable[[QueueKey], Sequence[str] | None]


class Describes(Protocol):
    """What describes queues: `QueueCalls`."""

    def cost(self, versions: Sequence[str] | None, /) -> int:
        """How many calls a description takes."""
        ...

    async def describe(self, key: QueueKey, versions: Sequence[str] | None, now: Clock, /) -> Description:
        """A queue. Raises SourceError."""
        ...


class QueueTurns:
    """The newest description of each queue. With more than 50 of them one is as old as its turn is long, ten minutes at
    most. `now` is the clock."""

    def __init__(self, calls: Describes, interval_sec: float, now: Clock) -> None:
        self._calls = calls
        self._interval = interval_sec
        self._now = now
        self._last: dict[QueueKey, Description] = {}

    async def describe(
        self, keys: Collection[QueueKey], versions: Versions, calls: int, within_sec: float
    ) -> dict[QueueKey, Description]:
        """All of the queues, described now by up to so many calls within so many seconds, or when it was their turn.
        Raises SourceError if that is not all of them: a part of the work that waits is not the work that waits."""
        self._last = {key: found for key, found in self._last.items() if key in set(keys)}
        turn = self._turn(keys, versions, calls)
        failures: dict[QueueKey, SourceError] = {}
        began = self._now()
        try:
            async with asyncio.timeout(within_sec):
                await asyncio.gather(*(self._one(key, versions(key), failures) for key in turn))
        except TimeoutError:
            late = SourceError(MissingCode.TIMEOUT, f"task queues not described within {within_sec:.1f} s")
            before = [k for k in turn if k not in self._last or self._last[k].time < began]
            failures = {**dict.fromkeys(before, late), **failures}
        if failures and len(failures) == len(turn):
            raise next(iter(failures.values()))
        fresh = self._fresh(len(keys), len(turn))
        if len(fresh) < len(keys):
            if lacking := [error for key, error in failures.items() if key not in fresh]:
                raise lacking[0]
            raise SourceError(
                MissingCode.DROPPED,
                f"{len(fresh)} of {len(keys)} task queues described so far: {len(turn)} a cycle are, in turn",
            )
        return fresh

    async def _one(self, key: QueueKey, versions: Sequence[str] | None, failures: dict[QueueKey, SourceError]) -> None:
        try:
            self._last[key] = await self._calls.describe(key, versions, self._now)
        except SourceError as error:
            failures[key] = error

    def _fresh(self, queues: int, at_a_time: int) -> dict[QueueKey, Description]:
        """The descriptions that are good still: those of the last turn of everybody."""
        cycles = SPARE_INTERVALS + math.ceil(queues / max(1, at_a_time // 2))
        limit = min(max(GOOD_FOR_AT_MOST_SEC, 4 * self._interval), cycles * self._interval)
        now = self._now()
        return {k: d for k, d in self._last.items() if (now - d.time).total("seconds") <= limit}

    def _turn(self, keys: Collection[QueueKey], versions: Versions, calls: int) -> list[QueueKey]:
        """Whom to describe now: up to half for the largest, the rest in turn."""
        last, never = self._last, Instant.MIN
        chosen: dict[QueueKey, int] = {}

        def choose(keys: list[QueueKey], most: int, calls: int) -> None:
            for key in keys:
                cost = self._calls.cost(versions(key))
                if len(chosen) >= most or sum(chosen.values()) + cost > calls:
                    return
                chosen[key] = cost

        large = [k for k in keys if k in last and any(last[k].size)]
        choose(sorted(large, key=lambda k: last[k].size, reverse=True), MAX_QUEUES // 2, calls // 2)
        rest = [k for k in keys if k not in chosen]
        choose(sorted(rest, key=lambda k: (last[k].time if k in last else never, k)), MAX_QUEUES, calls)
        return list(chosen)
