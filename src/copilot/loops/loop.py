"""When a loop evaluates. All times are unix seconds.

Ticks lie on multiples of the interval. The first one, and one the loop comes to late (its worker was away), bear the
second in which they really happen, so that no verdict claims to be older than it is.

The loop's time never goes back. When the clock is set back behind the last tick, the loop goes on evaluating at its
interval and its time runs at half speed until the clock has caught up (docs/adr/0009).
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, Generic, NoReturn, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from copilot.loops import calls
from copilot.loops.definitions import Definition, LastError, LoopKnown, memo
from copilot.loops.messages import Message
from copilot.telemetry.spans import ROOT, span

# No command of a workflow may depend on its clock: a workflow task that ran while Temporal was killed may be recorded
# with another start than it had (docs/adr/0015). So a tick that is due already is waited for by a timer as well.
EVERY_WAIT_IS_A_TIMER = "every-wait-is-a-timer"
"""The patch by which runs that were begun without it are known."""
SOONEST_SEC = 0.001


def slack(interval_sec: float) -> float:
    """Seconds by which a tick may be late and still bear its planned time. Two planned ticks are never closer
    than that."""
    return max(1.0, interval_sec / 4)


def next_tick(last: int | None, now: float, interval_sec: float) -> int:
    """The next moment to evaluate: at once if there was no tick yet; one interval on if the clock went back behind
    the last one."""
    if last is None:
        return math.floor(now)
    if _clock_went_back(last, now):
        return math.ceil(now + interval_sec)
    steps = math.ceil((last + slack(interval_sec)) / interval_sec)
    return math.floor(steps * interval_sec)


def seconds_until(moment: float, now: float) -> float:
    """How long to wait for it: never no time, for which no timer would be started."""
    return max(moment - now, SOONEST_SEC)


def tick_time(last: int | None, now: float, interval_sec: float) -> int:
    """The time a tick bears that begins at `now`: the planned one if it is on time, else now's second, and always a
    later one than the last tick's."""
    if last is not None and _clock_went_back(last, now):
        return last + max(1, math.floor(interval_sec / 2))
    due = next_tick(last, now, interval_sec)
    time = due if due <= now < due + slack(interval_sec) else math.floor(now)
    return time if last is None else max(time, last + 1)


def _clock_went_back(last: int, now: float) -> bool:
    """A tick is never begun before its time, so a clock that is behind the last one was set back."""
    return last > now + 1


@contextlib.contextmanager
def cycle(cluster: str, tick: int) -> Iterator[None]:
    """One cycle, from its beginning until its verdict is published or given up."""
    began = workflow.now()
    with span("cycle", {"cluster": cluster, "tick": tick}, carrier=ROOT):
        yield
    duration = workflow.metric_meter().create_histogram_timedelta(
        "copilot_worker_cycle", "From the beginning of a cycle until its verdict is published", "duration"
    )
    duration.record(workflow.now() - began, {"cluster": cluster})


@contextlib.contextmanager
def storing(cluster: str, pending: int, batch: int) -> Iterator[None]:
    """One write of a batch; `pending` snapshots wait, it among them."""
    waiting(cluster, pending)
    with span("store", {"cluster": cluster, "snapshots": batch}, carrier=ROOT):
        yield


def waiting(cluster: str, pending: int) -> None:
    """So many snapshots wait to be stored."""
    gauge = workflow.metric_meter().create_gauge("copilot_pending_writes", "Snapshots that wait to be stored")
    gauge.set(pending, {"cluster": cluster})


LOOK_AGAIN_MOST_SEC = 60.0
EVALUATED_WITHIN_SEC = 3.0


def due(evaluated: int, assessed: int | None, window_sec: float) -> bool:
    """Whether the evaluation of that time lies outside the window of the newest assessment."""
    return assessed is None or evaluated - assessed >= window_sec


def newest(*times: int | None) -> int | None:
    """The latest of those known."""
    return max((t for t in times if t is not None), default=None)


def next_look(assessed: int | None, now: float, window_sec: float) -> float:
    """Seconds until it is worth looking again: when the tick that ends the newest assessment's window has been
    evaluated; soon, where that is over and nothing was there to be assessed; never later than in a window."""
    again = min(LOOK_AGAIN_MOST_SEC, window_sec / 10)
    left = 0.0 if assessed is None else assessed + window_sec + min(EVALUATED_WITHIN_SEC, again) - now
    return min(max(left, again), window_sec)


K = TypeVar("K", bound=LoopKnown)


class Loop(Generic[K]):
    """A loop of a cluster. A run ends when it is long, or when the loop is told another definition; the next one has
    `_known` from it."""

    def __init__(self, cluster: str, definition: Definition, known: K) -> None:
        self._cluster = cluster
        self._definition = definition
        self._known = known
        self._left = definition.ticks_per_run
        self._redefined = False

    @workflow.query
    def last_error(self) -> LastError | None:
        """What last went wrong."""
        return self._known.last_error

    @workflow.signal
    def define(self, definition: Definition) -> None:
        """Carry on under another definition."""
        self._redefined = self._redefined or definition != self._definition
        self._definition = definition

    def _run_is_long(self) -> bool:
        return self._left <= 0 or workflow.info().is_continue_as_new_suggested()

    def _to_leave(self) -> bool:
        return self._redefined or self._run_is_long()

    def _begin_anew(self, start: type[Message], more: Mapping[str, Any] | None = None) -> NoReturn:
        """End this run and begin the next one with `start`; `more` is kept in its memo."""
        self._known.runs += 1
        workflow.continue_as_new(
            start.model_validate({"cluster": self._cluster, "definition": self._definition, "known": self._known}),
            memo={**memo(self._cluster, self._definition), **(more or {})},
        )

    def _went_wrong(self, error: ActivityError) -> str:
        """Remember what went wrong and give it as a line; a cancellation is not an error and passes through."""
        if is_cancelled_exception(error):
            raise error
        return self._remember(calls.in_one_line(error))

    def _remember(self, what: str) -> str:
        workflow.logger.warning("%s: %s", self._cluster, what)
        self._known.last_error = LastError(time=int(workflow.time()), what=what)
        return what

    def _all_is_well(self) -> None:
        """What went wrong is over."""
        if self._known.last_error is not None:
            self._known.last_error = self._known.last_error.model_copy(update={"over": True})
