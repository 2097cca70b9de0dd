"""StoreBacklogWorkflow: snapshots that a loop could not store before it ended its run.

Backlogs of a cluster stand in a queue, each behind the one given before it, and the loop's own writes behind the last:
so snapshots arrive in the order of their ticks however long the store was away.
"""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from copilot.activities.messages import SnapshotsStored, StoreSnapshots
from copilot.workflows import calls
from copilot.workflows.shared import STORE_BACKLOG, StoreBacklog

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
