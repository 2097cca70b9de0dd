"""StoreBacklogWorkflow: snapshots that a loop could not store before it ended its run."""

from temporalio import workflow

from copilot.activities.messages import SnapshotsStored, StoreSnapshots
from copilot.workflows import calls
from copilot.workflows.shared import STORE_BACKLOG, StoreBacklog


@workflow.defn(name=STORE_BACKLOG)
class StoreBacklogWorkflow:
    """Tries until they are stored, for as long as it takes."""

    @workflow.run
    async def run(self, given: StoreBacklog) -> SnapshotsStored:
        return await calls.store_signals_snapshot(
            StoreSnapshots(cluster=given.cluster, snapshots=given.snapshots), gives_up=None
        )
