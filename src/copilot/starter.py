"""Starts the loops: one per configured cluster, never two, and tells those that run already what has changed."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from copilot import bootstrap
from copilot.core.errors import SettingsError, StartError
from copilot.settings import ClusterSettings, Settings
from copilot.workflows.log_shared import WatchLogs, log_watcher_id
from copilot.workflows.log_watcher import LogWatcherWorkflow
from copilot.workflows.observe import ObserveClusterWorkflow
from copilot.workflows.shared import DEFINITION_MEMO, Definition, ObserveCluster, observe_id

# A worker that dies over a workflow task holds the loop up for this long.
TASK_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True)
class Started:
    """What became of one loop."""

    cluster: str
    workflow_id: str
    outcome: Literal["started", "running", "redefined"]


async def start_loops(settings: Settings, *, allow_self: bool = False) -> list[Started]:
    """Start the loop of every cluster, or find it running. StartError when Temporal cannot be reached, or, without
    `allow_self`, when it is one of the clusters to be watched."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    client = await bootstrap.connected(settings.temporal)
    if not allow_self and (same := await bootstrap.watched_by_itself(client, settings.clusters)):
        raise StartError(
            f"the Copilot's own Temporal is the cluster {', '.join(same)} that it is to watch, and it would go blind "
            "with it: give [temporal] the address of another one, or say --allow-self"
        )
    started = [await start_loop(client, settings.task_queue, c) for c in settings.clusters]
    with_logs = [c for c in settings.clusters if c.logs is not None]
    return started + [await start_log_watcher(client, settings.task_queue, c) for c in with_logs]


async def start_loop(
    client: Client, task_queue: str, cluster: ClusterSettings, ticks_per_run: int | None = None
) -> Started:
    """Start one loop. One that runs under another definition is told the new one (a signal) and carries on under it
    with all it knows, in a new run; one that runs under the same is left alone."""
    wanted = Definition(interval_sec=cluster.interval_sec)
    if ticks_per_run is not None:
        wanted = wanted.model_copy(update={"ticks_per_run": ticks_per_run})
    workflow_id = observe_id(cluster.name)
    try:
        await client.start_workflow(
            ObserveClusterWorkflow.run,
            ObserveCluster(cluster=cluster.name, definition=wanted),
            id=workflow_id,
            task_queue=task_queue,
            task_timeout=TASK_TIMEOUT,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            memo={DEFINITION_MEMO: wanted.model_dump()},
            static_summary=f"watches {cluster.name}",
        )
    except WorkflowAlreadyStartedError:
        loop = client.get_workflow_handle(workflow_id)
        runs_as = (await (await loop.describe()).memo()).get(DEFINITION_MEMO)
        if runs_as == wanted.model_dump():
            return Started(cluster.name, workflow_id, "running")
        await loop.signal(ObserveClusterWorkflow.define, wanted)
        return Started(cluster.name, workflow_id, "redefined")
    return Started(cluster.name, workflow_id, "started")


async def start_log_watcher(
    client: Client, task_queue: str, cluster: ClusterSettings, ticks_per_run: int | None = None
) -> Started:
    """Start the reading of one cluster's logs, like the loop that observes it."""
    wanted = Definition(interval_sec=cluster.interval_sec)
    if ticks_per_run is not None:
        wanted = wanted.model_copy(update={"ticks_per_run": ticks_per_run})
    workflow_id = log_watcher_id(cluster.name)
    try:
        await client.start_workflow(
            LogWatcherWorkflow.run,
            WatchLogs(cluster=cluster.name, definition=wanted),
            id=workflow_id,
            task_queue=task_queue,
            task_timeout=TASK_TIMEOUT,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            memo={DEFINITION_MEMO: wanted.model_dump()},
            static_summary=f"reads the logs of {cluster.name}",
        )
    except WorkflowAlreadyStartedError:
        watcher = client.get_workflow_handle(workflow_id)
        if (await (await watcher.describe()).memo()).get(DEFINITION_MEMO) == wanted.model_dump():
            return Started(cluster.name, workflow_id, "running")
        await watcher.signal(LogWatcherWorkflow.define, wanted)
        return Started(cluster.name, workflow_id, "redefined")
    return Started(cluster.name, workflow_id, "started")
