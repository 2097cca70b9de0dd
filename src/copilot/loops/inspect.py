"""InspectExecutionsWorkflow: once a minute, which executions of one cluster are in trouble.

It stands apart from the verdict: nothing it reads changes a state, and no evaluation waits for it.
"""

from temporalio import workflow

from copilot.loops import calls
from copilot.loops import definitions as d
from copilot.loops import messages as m
from copilot.loops.loop import Loop, next_tick, tick_time


@workflow.defn(name=d.INSPECT)
class InspectExecutionsWorkflow(Loop[d.InspectState]):
    """The loop. Ends when it is cancelled, or when its cluster has no Temporal address any more."""

    @workflow.init
    def __init__(self, given: d.InspectInput) -> None:
        super().__init__(given, given.state or d.InspectState())

    @workflow.run
    async def run(self, given: d.InspectInput) -> None:  # noqa: ARG002
        while not self._run_ends():
            now = workflow.time()
            await self._wait_until(next_tick(self._state.last_tick, now, self._definition.interval_sec))
            if not self._redefined and not await self._inspect():
                return
        self._continue_as_new()

    async def _inspect(self) -> bool:
        """Read once and store it; False if there is nothing to read any more. What fails is tried at the next tick."""
        state, interval = self._state, self._definition.interval_sec
        state.last_tick = tick_time(state.last_tick, workflow.time(), interval)
        self._cycles_left -= 1
        given = m.ClusterNow(cluster=self._cluster, now=state.last_tick)
        made = await self._try(calls.inspect_executions, given, schedule_to_start=max(5.0, interval))
        if made is None:
            return True
        if made.watched:
            state.cycles += 1
            self._succeeded()
        return made.watched
