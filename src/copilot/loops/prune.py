"""PruneStoreWorkflow: once a day, what the store holds of one cluster beyond its retention is deleted.

A loop of its own, so that nothing else waits for it. Clusters that are started together are pruned at different times.
"""

import contextlib
import zlib

from temporalio import workflow
from temporalio.exceptions import ActivityError

from copilot.loops import calls
from copilot.loops.definitions import PRUNE, KnownPruning, PruneRegularly, PruningStatus
from copilot.loops.loop import EVERY_WAIT_IS_A_TIMER, Loop, seconds_until
from copilot.loops.messages import PruneStore


def first_pause(cluster: str, interval_sec: float) -> float:
    """Seconds from the loop's beginning to its first pruning: of a day half an hour to an hour, by the cluster's
    name. So a machine that is on for some hours only is pruned too, and many clusters not at once."""
    share = zlib.crc32(cluster.encode()) / 2**32
    return interval_sec / 48 * (1 + share)


@workflow.defn(name=PRUNE)
class PruneStoreWorkflow(Loop[KnownPruning]):
    """The loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: PruneRegularly) -> None:
        super().__init__(given.cluster, given.definition, given.known or KnownPruning())

    @workflow.run
    async def run(self, given: PruneRegularly) -> None:  # noqa: ARG002
        if self._known.since is None:
            self._known.since = int(workflow.time())
        timed = workflow.patched(EVERY_WAIT_IS_A_TIMER)
        while not self._to_leave():
            now = workflow.time()
            due = self._due(now)
            if timed or due > now:
                with contextlib.suppress(TimeoutError):
                    await workflow.wait_condition(lambda: self._redefined, timeout=seconds_until(due, now))
            if not self._redefined:
                await self._prune()
        self._begin_anew(PruneRegularly)

    @workflow.query
    def status(self) -> PruningStatus:
        """How the loop itself is doing."""
        return PruningStatus(definition=self._definition, **self._known.model_dump(exclude={"since"}))

    def _due(self, now: float) -> float:
        """Never further off than an interval, whatever was done to the clock meanwhile."""
        known, interval = self._known, self._definition.interval_sec
        if known.tried is not None:
            due = known.tried + interval
        else:
            due = (now if known.since is None else known.since) + first_pause(self._cluster, interval)
        return min(due, now + interval)

    async def _prune(self) -> None:
        """One that fails is tried again the next day."""
        known = self._known
        known.tried = now = int(workflow.time())
        self._left -= 1
        try:
            pruned = await calls.prune_store(
                PruneStore(cluster=self._cluster, now=now), gives_up_sec=self._definition.interval_sec / 2
            )
        except ActivityError as error:
            self._went_wrong(error)
            return
        known.prunings += 1
        known.deleted += pruned.deleted
        self._all_is_well()
