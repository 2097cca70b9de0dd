"""PruneStoreWorkflow: once a day, deletes a cluster's rows beyond retention. A loop of its own: it delays no other."""

import zlib

from temporalio import workflow
from temporalio.exceptions import ActivityError

from copilot.loops import calls
from copilot.loops.definitions import PRUNE, PruneInput, PruneState
from copilot.loops.loop import Loop
from copilot.loops.messages import ClusterNow


def first_pause(cluster: str, interval_sec: float) -> float:
    """Seconds from the loop's start to its first pruning: for a day half an hour to an hour, by the cluster's name. So
    a machine that is on for a few hours prunes too, and many clusters do not prune at once."""
    share = zlib.crc32(cluster.encode()) / 2**32
    return interval_sec / 48 * (1 + share)


@workflow.defn(name=PRUNE)
class PruneStoreWorkflow(Loop[PruneState]):
    """The loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: PruneInput) -> None:
        super().__init__(given, given.state or PruneState())

    @workflow.run
    async def run(self, given: PruneInput) -> None:  # noqa: ARG002
        if self._state.since is None:
            self._state.since = int(workflow.time())
        while not self._run_ends():
            await self._wait_until(self._due(workflow.time()))
            if not self._redefined:
                await self._prune()
        self._continue_as_new()

    def _due(self, now: float) -> float:
        """At most an interval ahead, whatever happened to the clock."""
        state, interval = self._state, self._definition.interval_sec
        if state.tried is not None:
            due = state.tried + interval
        else:
            due = (now if state.since is None else state.since) + first_pause(self._cluster, interval)
        return min(due, now + interval)

    async def _prune(self) -> None:
        """A pruning that fails is tried again the next day."""
        state = self._state
        state.tried = now = int(workflow.time())
        self._cycles_left -= 1
        try:
            pruned = await calls.prune_store(
                ClusterNow(cluster=self._cluster, now=now), schedule_to_close=self._definition.interval_sec / 2
            )
        except ActivityError as error:
            self._failed(error)
            return
        state.cycles += 1
        state.deleted += pruned.deleted
        self._succeeded()
