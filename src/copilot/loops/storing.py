"""StoreBacklogWorkflow: snapshots that a loop could not store before it ended its run.

Backlogs of a cluster stand in a queue, each behind the one given before it, and the loop's own writes behind the last:
so snapshots arrive in the order of their ticks however long the store was away.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, WorkflowAlreadyStartedError, is_cancelled_exception

from copilot.loops import calls
from copilot.loops import loop as cycles
from copilot.loops.definitions import STORE_BACKLOG, Known, StoreBacklog, backlog_id
from copilot.loops.messages import Document, HealthEvaluated, Message, SnapshotsStored, StoreSnapshots

TELL_ME, THROUGH = "tell_me", "through"
ASK_AGAIN = timedelta(minutes=10)


async def queue_behind(after: str, through: Callable[[], bool]) -> None:
    """Wait until the backlog `after` is stored. It tells us by the signal `through`, upon which `through()` is to be
    true; one that has ended, however it ended, is not waited for."""
    me = workflow.info().workflow_id
    while not through():
        if not await told(after, TELL_ME, me):
            return
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(through, timeout=ASK_AGAIN)


async def told(workflow_id: str, signal: str, what: Any) -> bool:
    """Signal a workflow; False if it does not run, or not any more."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(signal, what)
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        return False
    return True


@workflow.defn(name=STORE_BACKLOG)
class StoreBacklogWorkflow:
    """Tries until they are stored, for as long as it takes."""

    def __init__(self) -> None:
        self._through: set[str] = set()
        self._behind: list[str] = []

    @workflow.run
    async def run(self, given: StoreBacklog) -> SnapshotsStored:
        after = given.after
        if after is not None:
            await queue_behind(after, lambda: after in self._through)
        stored = await calls.store_signals_snapshot(
            StoreSnapshots(cluster=given.cluster, snapshots=given.snapshots), gives_up=None
        )
        while self._behind:
            await told(self._behind.pop(0), THROUGH, workflow.info().workflow_id)
        return stored

    @workflow.signal
    def tell_me(self, workflow_id: str) -> None:
        """That workflow waits for this one to be through."""
        self._behind.append(workflow_id)

    @workflow.signal
    def through(self, workflow_id: str) -> None:
        """That backlog is stored."""
        self._through.add(workflow_id)


T = TypeVar("T")

SNAPSHOTS_PER_WRITE = 20
BYTES_PER_WRITE = 80_000
STORE_PATIENCE = timedelta(hours=1)


def snapshot(judged: HealthEvaluated, memory_before: Document | None) -> Document:
    """A Snapshot document of one judgement."""
    return {
        "evaluation": judged.evaluation,
        "memory_before": memory_before or {},
        "thresholds_hash": judged.thresholds_hash,
        "taxonomy_version": judged.taxonomy_version,
        "rules_version": judged.rules_version,
    }


def first_batch(pending: list[Document]) -> list[Document]:
    """The first of them that fit a payload: at least one, at most 20 and 80 KB."""
    batch: list[Document] = []
    size = 0
    for document in pending[:SNAPSHOTS_PER_WRITE]:
        size += len(json.dumps(document))
        if batch and size > BYTES_PER_WRITE:
            break
        batch.append(document)
    return batch


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Do it whole, though we are cancelled meanwhile; the cancellation comes after it."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await workflow.wait([task])
        raise


async def start_child(run: Any, given: Message, child_id: str) -> None:
    """Start a workflow that lives on without us; one that runs already does. Cancelled before it has begun, it never
    begins: where we may be cancelled, it must be done `to_its_end`."""
    with contextlib.suppress(WorkflowAlreadyStartedError):
        await workflow.start_child_workflow(
            run, given, id=child_id, parent_close_policy=workflow.ParentClosePolicy.ABANDON
        )


class Storing:
    """Stores beside the loop, never in front of it. `known.backlog` is what its writes queue behind."""

    def __init__(self, cluster: str, known: Known, went_wrong: Callable[[ActivityError], object]) -> None:
        self._cluster = cluster
        self._known = known
        self._went_wrong = went_wrong
        self.pending: list[Document] = []

    def through(self, workflow_id: str) -> None:
        """A backlog is stored."""
        if self._known.backlog == workflow_id:
            self._known.backlog = None

    async def keep_storing(self) -> None:
        """Store what is pending, in order, until cancelled."""
        if (last := self._known.backlog) is not None:
            await queue_behind(last, lambda: self._known.backlog is None)
            self._known.backlog = None
        while True:
            await workflow.wait_condition(lambda: bool(self.pending))
            batch = first_batch(self.pending)
            try:
                with cycles.storing(self._cluster, len(self.pending), len(batch)):
                    await calls.store_signals_snapshot(
                        StoreSnapshots(cluster=self._cluster, snapshots=batch), gives_up=STORE_PATIENCE
                    )
            except ActivityError as error:
                self._went_wrong(error)
            else:
                del self.pending[: len(batch)]
                cycles.waiting(self._cluster, len(self.pending))

    async def hand_over(self, storing: "asyncio.Task[None]") -> None:
        """Stop storing, and give what is left to workflows of its own."""
        storing.cancel()
        await workflow.wait([storing])
        if not storing.cancelled() and (error := storing.exception()) and not is_cancelled_exception(error):
            raise error
        while self.pending:
            batch = first_batch(self.pending)
            mine = backlog_id(batch[0]["evaluation"]["evaluation_id"])
            given = StoreBacklog(cluster=self._cluster, snapshots=batch, after=self._known.backlog)
            await start_child(StoreBacklogWorkflow.run, given, mine)
            self._known.backlog = mine
            del self.pending[: len(batch)]
