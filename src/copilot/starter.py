"""Starts the loops: of every kind one per configured cluster that needs it, never two, and tells those that run
already what has changed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from copilot import bootstrap, release
from copilot.core.errors import SettingsError, StartError
from copilot.salvage import logging_before, notifying_before, observing_before
from copilot.settings import ClusterSettings, Settings
from copilot.workflows.log_shared import WatchLogs, log_watcher_id
from copilot.workflows.log_watcher import LogWatcherWorkflow
from copilot.workflows.notify import NotifyWorkflow
from copilot.workflows.notify_shared import Notify
from copilot.workflows.observe import ObserveClusterWorkflow
from copilot.workflows.prune import PruneStoreWorkflow
from copilot.workflows.scheduled import ScheduledAssessmentWorkflow
from copilot.workflows.shared import (
    CLUSTER_MEMO,
    DEFINITION_MEMO,
    Definition,
    ObserveCluster,
    PruneRegularly,
    ScheduleAssessments,
    memo,
    notify_id,
    observe_id,
    prune_id,
    scheduled_id,
)

# A worker that dies over a workflow task holds the loop up for this long.
TASK_TIMEOUT = timedelta(seconds=5)
PRUNE_EVERY_SEC = 86_400.0
# How often the notifying loop looks whether it missed something.
LOOK_EVERY_SEC = 600.0
MOVED = "moved to another task queue by `copilot start`"
STUCK_ATTEMPTS = 3
"""A workflow task tried so often does not come to an end: its history does not replay, or it kills its worker."""
FREED = "stuck in a workflow task: begun anew by `copilot start`"

Before = Callable[[Client, str, str, WorkflowExecutionDescription], Awaitable[Any]]

Outcome = Literal["started", "resumed", "running", "redefined", "moved", "freed", "forgotten"]


@dataclass(frozen=True)
class Loop:
    """A kind of loop a cluster has one of. `run` has a signal `define(Definition)`; `begin` makes its input of
    cluster, definition and what was known before: what `before` makes of client, task queue, cluster and the last run
    of a loop that ended. `needed`: whether a cluster has one."""

    what: str
    workflow_id: Callable[[str], str]
    run: Any
    definition: Callable[[ClusterSettings], Definition]
    begin: Callable[[str, Definition, Any], BaseModel]
    before: Before | None = None
    needed: Callable[[ClusterSettings], bool] = lambda _: True


OBSERVING = Loop(
    what="watches",
    workflow_id=observe_id,
    run=ObserveClusterWorkflow.run,
    definition=lambda cluster: Definition(interval_sec=cluster.interval_sec),
    begin=lambda name, definition, known: ObserveCluster(cluster=name, definition=definition, known=known),
    before=observing_before,
)
SCHEDULING = Loop(
    what="has assessments made of",
    workflow_id=scheduled_id,
    run=ScheduledAssessmentWorkflow.run,
    definition=lambda cluster: Definition(interval_sec=cluster.assess_every_sec),
    begin=lambda name, definition, _: ScheduleAssessments(cluster=name, definition=definition),
)
LOGGING = Loop(
    what="reads the logs of",
    workflow_id=log_watcher_id,
    run=LogWatcherWorkflow.run,
    definition=lambda cluster: Definition(interval_sec=cluster.interval_sec),
    begin=lambda name, definition, known: WatchLogs(cluster=name, definition=definition, known=known),
    before=logging_before,
    needed=lambda cluster: cluster.logs is not None,
)
PRUNING = Loop(
    what="prunes what is stored of",
    workflow_id=prune_id,
    run=PruneStoreWorkflow.run,
    definition=lambda _: Definition(interval_sec=PRUNE_EVERY_SEC),
    begin=lambda name, definition, _: PruneRegularly(cluster=name, definition=definition),
)
NOTIFYING = Loop(
    what="tells people of",
    workflow_id=notify_id,
    run=NotifyWorkflow.run,
    definition=lambda _: Definition(interval_sec=LOOK_EVERY_SEC),
    begin=lambda name, definition, known: Notify(cluster=name, definition=definition, known=known),
    before=notifying_before,
)
OBSERVING_AND_TELLING = replace(
    OBSERVING, definition=lambda cluster: OBSERVING.definition(cluster).model_copy(update={"notifies": True})
)
LOOPS = (OBSERVING, SCHEDULING, LOGGING, PRUNING)


@dataclass(frozen=True)
class Started:
    """What became of one loop: `started` for the first time, `resumed` after it had ended, found `running`, `redefined`
    while it ran, `moved` to another task queue, or `freed`: it ran and could not go on; `forgotten`: it runs on this
    queue for a cluster that is not configured (any more)."""

    cluster: str
    workflow_id: str
    outcome: Outcome


def loops_of(cluster: ClusterSettings, settings: Settings) -> tuple[Loop, ...]:
    """The loops a cluster should have. Where there is a channel that hears of it, its observing loop is one that tells,
    and people are told by one more."""
    loops = tuple(loop for loop in LOOPS if loop.needed(cluster))
    if not any(channel.rules().hears_of(cluster.name) for channel in settings.notify):
        return loops
    return (*(OBSERVING_AND_TELLING if loop is OBSERVING else loop for loop in loops), NOTIFYING)


async def start_loops(settings: Settings, *, allow_self: bool = False) -> list[Started]:
    """Start the loops of every cluster, or find them running; and make this release the one they run on, where workers
    are versioned. Loops of other clusters are named and left alone. StartError when Temporal cannot be reached, or,
    without `allow_self`, when it is one of the clusters to be watched."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    client = await bootstrap.connected(settings.temporal)
    if not allow_self and (same := await bootstrap.watched_by_itself(client, settings.clusters)):
        raise StartError(
            f"the Copilot's own Temporal is the cluster {', '.join(same)} that it is to watch, and it would go blind "
            "with it: give [temporal] the address of another one, or say --allow-self"
        )
    await release.make_current(client, settings.worker)
    return [
        *[
            await start_loop(client, settings.task_queue, c, loop)
            for c in settings.clusters
            for loop in loops_of(c, settings)
        ],
        *await _forgotten(client, settings),
    ]


async def _forgotten(client: Client, settings: Settings) -> list[Started]:
    """Nothing where Temporal cannot list them now."""
    configured = {cluster.name for cluster in settings.clusters}
    running = f"ExecutionStatus = 'Running' AND TaskQueue = '{settings.task_queue}'"
    try:
        loops = [((await e.memo()).get(CLUSTER_MEMO), e.id) async for e in client.list_workflows(running)]
    except RPCError:
        return []
    return [Started(of, each, "forgotten") for of, each in loops if of is not None and of not in configured]


async def start_loop(
    client: Client,
    task_queue: str,
    cluster: ClusterSettings,
    loop: Loop = OBSERVING,
    ticks_per_run: int | None = None,
) -> Started:
    """Start one loop. One that runs under another definition is told the new one (a signal) and carries on under it
    with all it knows, in a new run; one that runs under the same is left alone. One that has ended, one that
    waits on another task queue where nobody may be any more, and one that is stuck begins anew with what it knew."""
    workflow_id, wanted = loop.workflow_id(cluster.name), loop.definition(cluster)
    if ticks_per_run is not None:
        wanted = wanted.model_copy(update={"ticks_per_run": ticks_per_run})
    handle = client.get_workflow_handle(workflow_id)
    before = await _described(handle)
    outcome: Outcome = "started" if before is None else "resumed"
    if before is not None and before.status is WorkflowExecutionStatus.RUNNING:
        if before.task_queue != task_queue:
            outcome = "moved"
        elif before.raw_description.pending_workflow_task.attempt >= STUCK_ATTEMPTS:
            outcome = "freed"
        else:
            return Started(cluster.name, workflow_id, await _told(handle, before, wanted))
        await handle.terminate(reason=MOVED if outcome == "moved" else FREED)
        before = await _described(handle)
    known = None
    if before is not None and loop.before is not None:
        known = await loop.before(client, task_queue, cluster.name, before)
    try:
        await client.start_workflow(
            loop.run,
            loop.begin(cluster.name, wanted, known),
            id=workflow_id,
            task_queue=task_queue,
            task_timeout=TASK_TIMEOUT,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            memo=memo(cluster.name, wanted),
            static_summary=f"{loop.what} {cluster.name}",
        )
    except WorkflowAlreadyStartedError:
        return Started(cluster.name, workflow_id, "running")
    return Started(cluster.name, workflow_id, outcome)


async def _described(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionDescription | None:
    try:
        return await handle.describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def _told(handle: WorkflowHandle[Any, Any], runs: WorkflowExecutionDescription, wanted: Definition) -> Outcome:
    now = (await runs.memo()).get(DEFINITION_MEMO)
    if now is not None and Definition.model_validate(now) == wanted:
        return "running"
    await handle.signal("define", wanted)
    return "redefined"
