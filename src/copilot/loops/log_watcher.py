"""LogWatcherWorkflow: reads one cluster's logs and signals what they show to the observing loop.

It decides nothing: a pattern that spikes has the observing loop's next verdict assessed, at its usual time.
"""

from temporalio import workflow

from copilot.loops import calls
from copilot.loops import definitions as d
from copilot.loops import messages as m
from copilot.loops.loop import Loop, next_tick, send_signal, tick_time

DEADLINE_SEC = 8.0


@workflow.defn(name=d.LOG_WATCHER)
class LogWatcherWorkflow(Loop[d.LogWatcherState]):
    """The loop. Ends when it is cancelled, or when the configuration has no logs of its cluster any more."""

    @workflow.init
    def __init__(self, given: d.LogWatcherInput) -> None:
        super().__init__(given, given.state or d.LogWatcherState())

    @workflow.run
    async def run(self, given: d.LogWatcherInput) -> None:  # noqa: ARG002
        while not self._run_ends():
            now = workflow.time()
            await self._wait_until(next_tick(self._state.last_tick, now, self._definition.interval_sec))
            if not self._redefined and not await self._read():
                return
        self._continue_as_new()

    @workflow.query
    def seen(self) -> m.Document | None:
        """The last LogsSeen; None before the first reading."""
        return self._state.seen

    async def _read(self) -> bool:
        """Read once and signal it; False if there are no logs to read any more. What a failed reading missed, the next
        one reads."""
        state, interval = self._state, self._definition.interval_sec
        state.last_tick = tick_time(state.last_tick, workflow.time(), interval)
        self._cycles_left -= 1
        deadline = min(DEADLINE_SEC, max(2.0, interval / 2))
        read = await self._try(
            calls.query_logs,
            m.QueryLogs(cluster=self._cluster, cursor=state.cursor, memory=state.memory, deadline_sec=deadline),
            schedule_to_start=max(3.0, interval),
            start_to_close=deadline + 10,
        )
        if read is None:
            return True
        if not read.watched:
            await self._signal(d.LogsUpdate())
            return False
        state.cursor, state.memory, state.seen = read.cursor, read.memory, read.seen
        state.cycles += 1
        await self._signal(d.LogsUpdate(logs=read.seen, spikes=read.spikes), (read.seen or {}).get("missing"))
        return True

    async def _signal(self, update: d.LogsUpdate, missing: m.Document | None = None) -> None:
        """An observing loop that does not run gets the next reading. `missing`: why the logs could not be read."""
        if undelivered := await send_signal(d.observe_id(self._cluster), d.LOGS_SEEN, update):
            self._record_error(f"the observing loop did not get the logs: {undelivered}")
        elif missing:
            self._record_error(f"the logs cannot be read completely: {missing.get('detail') or missing.get('code')}")
        else:
            self._succeeded()
