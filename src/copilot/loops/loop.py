"""The base of all loops: when a cycle is due, how a run ends, and what a loop remembers of failures.

Times are unix seconds. Ticks lie on multiples of the interval. The first tick, and one that starts late because its
worker was down, has the second in which it really starts, so no verdict claims to be older than it is.

A loop's time never goes back. When the clock is set back behind the last tick, the loop keeps evaluating at its
interval, and its time runs at half speed until the clock has caught up (docs/adr/0009).
"""

import asyncio
import contextlib
import math
import zlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Generic, NoReturn, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, WorkflowAlreadyStartedError, is_cancelled_exception

from copilot.loops import calls
from copilot.loops.calls import I, O
from copilot.loops.definitions import Definition, LastError, LoopInput, LoopState, LoopStatus, memo
from copilot.loops.messages import Message
from copilot.rules.early import early_after_sec

# No command of a workflow may depend on its clock: a workflow task that ran while Temporal was killed may be recorded
# with another start than it had (docs/adr/0015). So a tick that is already due also waits for a timer.
EVERY_WAIT_IS_A_TIMER = "every-wait-is-a-timer"
"""The patch that marks runs with it; runs without it go by their clock."""
SOONEST_SEC = 0.001

S = TypeVar("S", bound=LoopState)
T = TypeVar("T")


def slack(interval_sec: float) -> float:
    """Seconds by which a tick may be late and keep its planned time. Two planned ticks are never closer than that."""
    return max(1.0, interval_sec / 4)


def offset_of(cluster: str, interval_sec: float) -> int:
    """Seconds after a multiple of the interval at which the cluster's ticks lie, so that not all clusters tick in the
    same second."""
    return zlib.crc32(cluster.encode()) % max(1, math.floor(interval_sec))


def next_tick(last: int | None, now: float, interval_sec: float, *, early: bool = False, offset: int = 0) -> int:
    """When the next tick is due: at once without a last one; in one interval if the clock went back behind it. `early`:
    it does not wait for the interval. `offset`: seconds by which ticks lie after multiples of the interval."""
    if last is None:
        return math.floor(now)
    if _clock_went_back(last, now):
        return math.ceil(now + interval_sec)
    steps = math.ceil((last + slack(interval_sec) - offset) / interval_sec)
    planned = math.floor(steps * interval_sec + offset)
    return min(planned, last + math.ceil(early_after_sec(interval_sec))) if early else planned


def tick_time(last: int | None, now: float, interval_sec: float, offset: int = 0) -> int:
    """The time of a tick that starts at `now`: its planned one if it is on time, else now's second; always later than
    the last tick."""
    if last is not None and _clock_went_back(last, now):
        return last + max(1, math.floor(interval_sec / 2))
    due = next_tick(last, now, interval_sec, offset=offset)
    time = due if due <= now < due + slack(interval_sec) else math.floor(now)
    return time if last is None else max(time, last + 1)


def _clock_went_back(last: int, now: float) -> bool:
    """A tick never starts before its time, so a clock behind the last tick was set back."""
    return last > now + 1


class Loop(Generic[S]):
    """A loop of one cluster. A run ends after `ticks_per_run` cycles, or when the definition changes; the next run gets
    the state."""

    def __init__(self, given: LoopInput[S], state: S) -> None:
        self._input = given
        self._state = state
        self._cluster = given.cluster
        self._definition = given.definition
        self._cycles_left = given.definition.ticks_per_run
        self._redefined = False
        self._timed = workflow.patched(EVERY_WAIT_IS_A_TIMER)

    @workflow.query
    def status(self) -> LoopStatus:
        """How the loop is doing."""
        fields = {**dict(self._state), "definition": self._definition, "pending": self._pending()}
        return LoopStatus.model_validate({name: fields[name] for name in LoopStatus.model_fields if name in fields})

    @workflow.signal
    def define(self, definition: Definition) -> None:
        """Continue under another definition."""
        self._redefined = self._redefined or definition != self._definition
        self._definition = definition

    def _pending(self) -> int | None:
        """Snapshots that are not stored yet; None: this loop stores none."""
        return None

    def _run_ends(self) -> bool:
        return self._redefined or self._cycles_left <= 0 or workflow.info().is_continue_as_new_suggested()

    async def _wait_until(self, moment: float, wake: Callable[[], bool] = lambda: False) -> None:
        """Wait until then, or until `wake()` is true or the definition changes."""
        now = workflow.time()
        if self._timed or moment > now:
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._redefined or wake(), timeout=max(moment - now, SOONEST_SEC))

    def _continue_as_new(self, memo_too: Mapping[str, Any] | None = None) -> NoReturn:
        """Start the next run with the state."""
        self._state.runs += 1
        workflow.continue_as_new(
            self._input.model_copy(update={"definition": self._definition, "state": self._state}),
            memo={**memo(self._cluster, self._definition), **(memo_too or {})},
        )

    async def _try(self, call: calls.Call[I, O], given: I, **timeouts: float | None) -> O | None:
        """What the activity returns; None where it fails, which is recorded."""
        try:
            return await call(given, **timeouts)
        except ActivityError as error:
            self._failed(error)
            return None

    def _failed(self, error: ActivityError) -> str:
        """Record a failure and return it as one line."""
        return self._record_error(calls.in_one_line(error))

    def _record_error(self, what: str) -> str:
        workflow.logger.warning("%s: %s", self._cluster, what, extra={"event": "loop.cycle_failed"})
        self._state.last_error = LastError(time=int(workflow.time()), what=what)
        return what

    def _succeeded(self) -> None:
        """The last error is over."""
        if self._state.last_error is not None:
            self._state.last_error = self._state.last_error.model_copy(update={"over": True})


async def send_signal(workflow_id: str, signal: str, payload: Any) -> str:
    """Signal a workflow. Empty when it was delivered, else why not: it does not run, or no longer."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(signal, payload)
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        return str(error)
    return ""


async def start_child(run: Any, given: Message, child_id: str) -> None:
    """Start a workflow that outlives this one; one that already runs is left alone. If this workflow is cancelled
    before the child has started, the child never starts: where that matters, use `to_the_end`."""
    with contextlib.suppress(WorkflowAlreadyStartedError):
        await workflow.start_child_workflow(
            run, given, id=child_id, parent_close_policy=workflow.ParentClosePolicy.ABANDON
        )


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Finish the work even when cancelled meanwhile, and raise the cancellation after it."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await workflow.wait([task])
        raise
