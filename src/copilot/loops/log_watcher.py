"""LogWatcherWorkflow: reads one cluster's logs on and on, and tells the observing loop what they say.

It decides nothing: a pattern that spikes has the observer's next verdict kept as an assessment, at its usual time.
"""

import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from copilot.loops.definitions import (
    LOG_WATCHER,
    LOGS_SEEN,
    LogsKnown,
    LogsTold,
    LogWatcherStatus,
    WatchLogs,
    observe_id,
)
from copilot.loops.loop import EVERY_WAIT_IS_A_TIMER, Loop, next_tick, seconds_until, tick_time
from copilot.loops.messages import Document, LogsQueried, QueryLogs

DEADLINE_SEC = 8.0


@workflow.defn(name=LOG_WATCHER)
class LogWatcherWorkflow(Loop[LogsKnown]):
    """The loop. Ends when it is cancelled, or when the configuration knows no logs of its cluster any more."""

    @workflow.init
    def __init__(self, given: WatchLogs) -> None:
        super().__init__(given.cluster, given.definition, given.known or LogsKnown())

    @workflow.run
    async def run(self, given: WatchLogs) -> None:  # noqa: ARG002
        timed = workflow.patched(EVERY_WAIT_IS_A_TIMER)
        while not self._to_leave():
            now = workflow.time()
            due = next_tick(self._known.last_tick, now, self._definition.interval_sec)
            if timed or due > now:
                with contextlib.suppress(TimeoutError):
                    await workflow.wait_condition(lambda: self._redefined, timeout=seconds_until(due, now))
            if not self._redefined and not await self._tick():
                return
        self._begin_anew(WatchLogs)

    @workflow.query
    def seen(self) -> Document | None:
        """What the logs said last (LogsSeen)."""
        return self._known.seen

    @workflow.query
    def status(self) -> LogWatcherStatus:
        """How the loop itself is doing."""
        known = self._known
        return LogWatcherStatus(
            definition=self._definition,
            readings=known.readings,
            runs=known.runs,
            last_tick=known.last_tick,
            last_error=known.last_error,
        )

    async def _tick(self) -> bool:
        """Read once and tell; False if there is nothing to read any more."""
        known = self._known
        known.last_tick = tick_time(known.last_tick, workflow.time(), self._definition.interval_sec)
        self._left -= 1
        try:
            read = await self._query()
        except ActivityError as error:
            self._went_wrong(error)
            return True
        if not read.watched:
            await self._tell(LogsTold())
            return False
        known.cursor, known.memory, known.seen = read.cursor, read.memory, read.seen
        known.readings += 1
        if await self._tell(LogsTold(logs=read.seen, spikes=read.spikes)):
            self._all_is_well()
        return True

    async def _query(self) -> LogsQueried:
        """Asked again once if the worker died over it; a tick without an answer is read up with the next."""
        interval, known = self._definition.interval_sec, self._known
        deadline = min(DEADLINE_SEC, max(2.0, interval / 2))
        answer: LogsQueried = await workflow.execute_activity(
            "query_logs",
            QueryLogs(cluster=self._cluster, cursor=known.cursor, memory=known.memory, deadline_sec=deadline),
            result_type=LogsQueried,
            schedule_to_start_timeout=timedelta(seconds=max(3.0, interval)),
            start_to_close_timeout=timedelta(seconds=deadline + 10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=2),
        )
        return answer

    async def _tell(self, told: LogsTold) -> bool:
        """Whether it was told; an observer that does not run is told with the next reading."""
        observer = workflow.get_external_workflow_handle(observe_id(self._cluster))
        try:
            await observer.signal(LOGS_SEEN, told)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            self._remember(f"the observing loop was not told: {error}")
            return False
        return True
