"""The clock of Temporal's servers, which dates the polls that its API lists."""

import math
from collections.abc import Iterable, Mapping

from temporalio.api.taskqueue.v1 import PollerInfo
from whenever import Instant

TOLERATED_SEC = 5.0
Polls = Mapping[tuple[str, str], Iterable[PollerInfo]]
"""The pollers of a task queue, by task type and worker version."""


class ServerClock:
    """How far the servers' clock is ahead of ours, as far as their lists of pollers tell.

    A poller whose last poll is later than when it was listed before, polled between the two calls: at some moment in
    between by our clock, at its `last_access_time` by the server's. Each such poll bounds the difference from both
    sides, each other one from below, for no poll is later than the answer that lists it. A bound that contradicts those
    before it shows that a clock was set, and replaces them. `_listed`: by queue, when the last list was requested, and
    the last polls on it."""

    def __init__(self) -> None:
        self._least, self._most = -math.inf, math.inf
        self._listed: dict[object, tuple[float, dict[tuple[str, str, str], float]]] = {}

    @property
    def ahead_sec(self) -> float:
        """How far it is ahead, in seconds; 0 where the difference may be below five."""
        if self._least <= TOLERATED_SEC and self._most >= -TOLERATED_SEC:
            return 0.0
        known = [bound for bound in (self._least, self._most) if math.isfinite(bound)]
        return sum(known) / len(known)

    def listed(self, queue: object, pollers: Polls, requested: Instant, answered: Instant) -> None:
        """The pollers of a queue, by the answer to a call that was made and answered then, by our clock."""
        began, polls = requested.timestamp(unit="nanosecond") / 1e9, dict[tuple[str, str, str], float]()
        before_began, before = self._listed.get(queue, (0.0, polls))
        for of, found in pollers.items():
            for poller in found:
                at = polls[(*of, poller.identity)] = poller.last_access_time.ToNanoseconds() / 1e9
                new = before.get((*of, poller.identity), math.inf) < at
                self._bound(at - answered.timestamp(unit="nanosecond") / 1e9, at - before_began if new else math.inf)
        self._listed[queue] = began, polls

    def _bound(self, least: float, most: float) -> None:
        narrowed = max(least, self._least), min(most, self._most)
        self._least, self._most = narrowed if narrowed[0] <= narrowed[1] else (least, most)
