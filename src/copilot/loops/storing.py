"""The workflows on the store: StoreBacklogWorkflow, how the observing loop stores snapshots beside its ticks, and
PruneStoreWorkflow, which deletes a cluster's rows beyond retention once a day.

The backlogs of a cluster form a queue, each behind the one before it, and the loop's own writes come after the last. So
snapshots reach the store in the order of their ticks, however long the store was down.
"""

import asyncio
import contextlib
import json
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import accumulate

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from copilot.loops import calls
from copilot.loops import definitions as d
from copilot.loops import messages as m
from copilot.loops.loop import Loop, send_signal, start_child
from copilot.telemetry.spans import ROOT, span

SNAPSHOTS_PER_WRITE = 20
BYTES_PER_WRITE = 80_000
GIVE_UP_SEC = 3600.0

# Names of signals between backlogs, and from a backlog to the loop.
NOTIFY_WHEN_STORED, BACKLOG_STORED = "tell_me", "through"
ASK_AGAIN = timedelta(minutes=10)


async def wait_for_backlog(backlog: str, stored: Callable[[], bool]) -> None:
    """Wait until a backlog is stored: it signals so, upon which `stored()` is true. One that has ended, however, is not
    waited for."""
    own_id = workflow.info().workflow_id
    while not stored():
        if await send_signal(backlog, NOTIFY_WHEN_STORED, own_id):
            return
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(stored, timeout=ASK_AGAIN)


@workflow.defn(name=d.STORE_BACKLOG)
class StoreBacklogWorkflow:
    """Stores snapshots that a loop could not store before its run ended. Tries until it succeeds."""

    def __init__(self) -> None:
        self._stored: set[str] = set()
        self._waiting: list[str] = []

    @workflow.run
    async def run(self, given: d.StoreBacklogInput) -> m.SnapshotsStored:
        after = given.after
        if after is not None:
            await wait_for_backlog(after, lambda: after in self._stored)
        stored = await calls.store_signals_snapshot(m.StoreSnapshots(cluster=given.cluster, snapshots=given.snapshots))
        while self._waiting:
            await send_signal(self._waiting.pop(0), BACKLOG_STORED, workflow.info().workflow_id)
        return stored

    @workflow.signal(name=NOTIFY_WHEN_STORED)
    def notify_when_stored(self, workflow_id: str) -> None:
        """That workflow waits for this one."""
        self._waiting.append(workflow_id)

    @workflow.signal(name=BACKLOG_STORED)
    def backlog_stored(self, workflow_id: str) -> None:
        """That backlog is stored."""
        self._stored.add(workflow_id)


def first_batch(pending: list[m.SnapshotDocument]) -> list[m.SnapshotDocument]:
    """The first snapshots that fit a payload: at least one, at most 20 and 80 KB."""
    sizes = accumulate(len(json.dumps(dict(snapshot))) for snapshot in pending[:SNAPSHOTS_PER_WRITE])
    return pending[: max(1, sum(size <= BYTES_PER_WRITE for size in sizes))]


def backlogs(
    cluster: str, pending: list[m.SnapshotDocument], after: str | None
) -> Iterator[tuple[str, d.StoreBacklogInput]]:
    """Id and input of the backlogs that store these snapshots, each after the one before; the first after `after`."""
    while pending:
        batch = first_batch(pending)
        workflow_id = d.backlog_id(batch[0].evaluation_id)
        yield workflow_id, d.StoreBacklogInput(cluster=cluster, snapshots=batch, after=after)
        after, pending = workflow_id, pending[len(batch) :]


class SnapshotWriter:
    """Stores snapshots beside the loop, never in front of it; first it waits for the backlog `state.backlog`."""

    def __init__(self, cluster: str, state: d.ObserveState, failed: Callable[[ActivityError], object]) -> None:
        self._cluster = cluster
        self._state = state
        self._failed = failed
        self.pending: list[m.SnapshotDocument] = []

    def backlog_stored(self, workflow_id: str) -> None:
        """That backlog is stored."""
        if self._state.backlog == workflow_id:
            self._state.backlog = None

    async def run(self) -> None:
        """Store what is pending, in order, until cancelled."""
        if (backlog := self._state.backlog) is not None:
            await wait_for_backlog(backlog, lambda: self._state.backlog is None)
            self._state.backlog = None
        while True:
            await workflow.wait_condition(lambda: bool(self.pending))
            batch = first_batch(self.pending)
            self._measure()
            try:
                with span("store", {"cluster": self._cluster, "snapshots": len(batch)}, carrier=ROOT):
                    await calls.store_signals_snapshot(
                        m.StoreSnapshots(cluster=self._cluster, snapshots=batch), schedule_to_close=GIVE_UP_SEC
                    )
            except ActivityError as error:
                self._failed(error)
            else:
                del self.pending[: len(batch)]
                self._measure()

    async def hand_over(self, running: "asyncio.Task[None]") -> None:
        """Stop `run`, and hand what is pending to backlogs."""
        running.cancel()
        await workflow.wait([running])
        if not running.cancelled() and (error := running.exception()) and not is_cancelled_exception(error):
            raise error
        for workflow_id, given in backlogs(self._cluster, self.pending, self._state.backlog):
            await start_child(StoreBacklogWorkflow.run, given, workflow_id)
            self._state.backlog = workflow_id
        self.pending = []

    def _measure(self) -> None:
        gauge = workflow.metric_meter().create_gauge("copilot_pending_writes", "Snapshots that wait to be stored")
        gauge.set(len(self.pending), {"cluster": self._cluster})


def first_pause(cluster: str, interval_sec: float) -> float:
    """Seconds from the loop's start to its first pruning: for a day half an hour to an hour, by the cluster's name. So
    a machine that is on for a few hours prunes too, and many clusters do not prune at once."""
    share = zlib.crc32(cluster.encode()) / 2**32
    return interval_sec / 48 * (1 + share)


@workflow.defn(name=d.PRUNE)
class PruneStoreWorkflow(Loop[d.PruneState]):
    """The loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: d.PruneInput) -> None:
        super().__init__(given, given.state or d.PruneState())

    @workflow.run
    async def run(self, given: d.PruneInput) -> None:  # noqa: ARG002
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
        within = self._definition.interval_sec / 2
        given = m.ClusterNow(cluster=self._cluster, now=now)
        pruned = await self._try(calls.prune_store, given, schedule_to_close=within)
        if pruned is None:
            return
        state.cycles += 1
        state.deleted += pruned.deleted
        self._succeeded()
