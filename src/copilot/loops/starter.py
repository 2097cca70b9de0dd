"""Hands the running loops to a release: makes it the current version of its worker deployment."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel
from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from copilot import bootstrap
from copilot.errors import SettingsError, StartError
from copilot.loops.definitions import (
    ASSESS,
    CLUSTER_MEMO,
    DEFINITION_MEMO,
    STORE_BACKLOG,
    TOLD_MEMO,
    AssessHealth,
    Definition,
    Known,
    KnownNotices,
    LogsKnown,
    Notify,
    ObserveCluster,
    PruneRegularly,
    ScheduleAssessments,
    StoreBacklog,
    WatchLogs,
    backlog_id,
    log_watcher_id,
    memo,
    notify_id,
    observe_id,
    prune_id,
    scheduled_id,
)
from copilot.loops.log_watcher import LogWatcherWorkflow
from copilot.loops.messages import Document, EvaluateHealth, HealthEvaluated, LogsQueried, StoreSnapshots
from copilot.loops.notify import NotifyWorkflow
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.prune import PruneStoreWorkflow
from copilot.loops.scheduled import ScheduledAssessmentWorkflow
from copilot.loops.storing import StoreBacklogWorkflow, first_batch, snapshot
from copilot.settings.load import ClusterSettings, Settings, WorkerSettings

PATIENCE_SEC = 30.0
TRY_EVERY_SEC = 0.5
NO_WORKER_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)


async def make_current(client: Client, worker: WorkerSettings, patience_sec: float = PATIENCE_SEC) -> None:
    """Have all loops run on this release from their next step on. Does nothing where workers are not versioned, or it
    is the current one. A worker of it must have asked for work: one is waited for, then StartError."""
    if worker.deployment is None:
        return
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_sec
    wanted = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=worker.deployment,
        build_id=worker.build_id,
        identity=client.identity,
    )
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(wanted)
            return
        except RPCError as error:
            if error.status not in NO_WORKER_YET or loop.time() + TRY_EVERY_SEC > end:
                raise StartError(
                    f"the loops cannot be handed to release {worker.build_id} of {worker.deployment} "
                    f"({error.message}): does a `copilot worker` of it run?"
                ) from error
        await asyncio.sleep(TRY_EVERY_SEC)


M = TypeVar("M", bound=BaseModel)


@dataclass
class Salvage:
    """`known` is what the loop knew in the end, `pending` the snapshots (by evaluation_id, oldest first) that were
    neither stored nor handed over."""

    known: Known = field(default_factory=Known)
    pending: dict[str, Document] = field(default_factory=dict)


async def observing_before(
    client: Client, task_queue: str, cluster: str, before: WorkflowExecutionDescription
) -> Known:
    """What an observing loop knew whose last run is `before`. What it had not stored is on its way to the store."""
    found = await salvage(client, before.id, before.run_id)
    await store_later(client, task_queue, cluster, found)
    return found.known


async def logging_before(client: Client, _: str, __: str, before: WorkflowExecutionDescription) -> LogsKnown | None:
    """How far a log watcher had read, and what it had counted. None if it ended by itself, because no logs were
    configured: what was written since is not its business."""
    if before.status is WorkflowExecutionStatus.COMPLETED:
        return None
    known, asked = LogsKnown(), set[int]()
    async for event in client.get_workflow_handle(before.id, run_id=before.run_id).fetch_history_events():
        if event.HasField("workflow_execution_started_event_attributes"):
            began = event.workflow_execution_started_event_attributes
            known = (await _decoded(client, began.input, WatchLogs)).known or known
        elif event.HasField("activity_task_scheduled_event_attributes"):
            if event.activity_task_scheduled_event_attributes.activity_type.name == "query_logs":
                asked.add(event.event_id)
        elif event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes
            if completed.scheduled_event_id in asked:
                said = await _decoded(client, completed.result, LogsQueried)
                known.cursor, known.memory, known.seen = said.cursor, said.memory, said.seen
                known.readings += 1
    known.runs += 1
    return known


async def notifying_before(_: Client, __: str, ___: str, before: WorkflowExecutionDescription) -> KnownNotices | None:
    """What people had been told: a notifying loop keeps it in its memo. It asks for the present itself."""
    kept = (await before.memo()).get(TOLD_MEMO)
    return KnownNotices.model_validate(kept) if kept is not None else None


async def salvage(client: Client, workflow_id: str, run_id: str) -> Salvage:
    """Read the history of one run of an observing loop."""
    found = Salvage()
    asked: dict[int, tuple[str, Payloads]] = {}
    async for event in client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events():
        await _read(client, event, asked, found)
    found.known.runs += 1
    return found


async def store_later(client: Client, task_queue: str, cluster: str, found: Salvage) -> None:
    """Hand what was not stored to backlogs, behind those the loop gave itself; `found.known` queues behind them."""
    pending = list(found.pending.values())
    while pending:
        batch = first_batch(pending)
        mine = backlog_id(_id(batch[0]))
        given = StoreBacklog(cluster=cluster, snapshots=batch, after=found.known.backlog)
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(StoreBacklogWorkflow.run, given, id=mine, task_queue=task_queue)
        found.known.backlog = mine
        del pending[: len(batch)]


async def _read(client: Client, event: HistoryEvent, asked: dict[int, tuple[str, Payloads]], found: Salvage) -> None:
    known = found.known
    if event.HasField("workflow_execution_started_event_attributes"):
        began = event.workflow_execution_started_event_attributes
        found.known = (await _decoded(client, began.input, ObserveCluster)).known or known
    elif event.HasField("activity_task_scheduled_event_attributes"):
        scheduled = event.activity_task_scheduled_event_attributes
        asked[event.event_id] = scheduled.activity_type.name, scheduled.input
    elif event.HasField("activity_task_completed_event_attributes"):
        completed = event.activity_task_completed_event_attributes
        name, question = asked.pop(completed.scheduled_event_id)
        if name == "evaluate_health":
            ask = await _decoded(client, question, EvaluateHealth)
            _judged(found, ask, await _decoded(client, completed.result, HealthEvaluated))
        elif name == "store_signals_snapshot":
            _handed_over(found, (await _decoded(client, question, StoreSnapshots)).snapshots)
    elif event.HasField("start_child_workflow_execution_initiated_event_attributes"):
        child = event.start_child_workflow_execution_initiated_event_attributes
        if child.workflow_type.name == STORE_BACKLOG:
            _handed_over(found, (await _decoded(client, child.input, StoreBacklog)).snapshots)
            known.backlog = child.workflow_id
        elif child.workflow_type.name == ASSESS:
            assessed = await _decoded(client, child.input, AssessHealth)
            known.assessed_state = assessed.evaluation["verdict"]["health_state"]
            known.assessed = known.last_evaluated


def _judged(found: Salvage, ask: EvaluateHealth, said: HealthEvaluated) -> None:
    known = found.known
    found.pending[said.evaluation["evaluation_id"]] = snapshot(said, ask.memory)
    known.newest, known.memory = said.evaluation, said.memory
    known.last_tick = known.last_evaluated = ask.tick
    known.window.push(ask.tick, said.evaluation["signals"]["readings"])
    known.ticks += 1
    known.resumed = True


def _handed_over(found: Salvage, snapshots: list[Document]) -> None:
    for each in snapshots:
        found.pending.pop(_id(each), None)


def _id(snapshot: Document) -> str:
    return str(snapshot["evaluation"]["evaluation_id"])


async def _decoded(client: Client, payloads: Payloads, model: type[M]) -> M:
    values: list[Any] = await client.data_converter.decode(payloads.payloads, [model])
    return model.model_validate(values[0])


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
    await make_current(client, settings.worker)
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
