"""`copilot start`: starts, resumes and redefines the loops of all configured clusters."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any, Literal, NoReturn

from temporalio.api.common.v1 import Payloads
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from copilot import bootstrap
from copilot.errors import SettingsError, StartError
from copilot.loops import definitions as d
from copilot.loops.assess import ScheduledAssessmentWorkflow
from copilot.loops.inspect import InspectExecutionsWorkflow
from copilot.loops.log_watcher import LogWatcherWorkflow
from copilot.loops.messages import HealthEvaluated, LogsQueried, SnapshotDocument, StoreSnapshots
from copilot.loops.notify import NotifyWorkflow
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.storing import PruneStoreWorkflow, StoreBacklogWorkflow, backlogs
from copilot.settings.clusters import ClusterSettings
from copilot.settings.load import Settings, WorkerSettings

PATIENCE_SEC = 30.0
TRY_EVERY_SEC = 0.5
KEEP_EVERY_SEC = 5.0
KEPT_A_SEC = 10
"""How many loops are looked at in a second at most, to start those that do not run."""
STARTS_AT_ONCE = 10
"""Clusters whose loops are started at the same time."""
ANSWER = timedelta(seconds=10)
NO_WORKER_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)

STUCK_ATTEMPTS = 3
"""A workflow task tried this often never completes: its history does not replay, or it kills its worker."""
MOVED = "moved to another task queue by `copilot start`"
FREED = "stuck in a workflow task: started again by `copilot start`"

INPUT = "input"
log = logging.getLogger(__name__)
Outcome = Literal["started", "resumed", "running", "redefined", "moved", "freed", "forgotten"]
Recover = Callable[[Client, str, str, WorkflowExecutionDescription], Awaitable[Any]]


@dataclass(frozen=True)
class LoopKind:
    """A kind of loop; a cluster has one of each that it needs. `recover` gives the state for a new loop from client,
    task queue, cluster and the last run of the ended one; None: the loop starts without."""

    summary: str
    workflow_id: Callable[[str], str]
    run: Any
    input: type[d.LoopInput[Any]]
    interval_sec: Callable[[ClusterSettings], float] = lambda cluster: cluster.interval_sec
    recover: Recover | None = None
    needed: Callable[[ClusterSettings], bool] = lambda _: True


# What an ended loop knew, from its history: its last run may have been terminated, stuck, or left on a task queue
# without workers, and its successor carries on with all of it.


async def _events(
    client: Client, ended: WorkflowExecutionDescription
) -> AsyncIterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """What one run did, in order, each with input and result: its own start (`INPUT`), an activity that completed, a
    workflow that it started."""

    async def decoded(payloads: Payloads) -> dict[str, Any]:
        documents: list[dict[str, Any]] = await client.data_converter.decode(payloads.payloads, [dict])
        return documents[0]

    scheduled: dict[int, tuple[str, Payloads]] = {}
    async for event in client.get_workflow_handle(ended.id, run_id=ended.run_id).fetch_history_events():
        match event.WhichOneof("attributes"):
            case "workflow_execution_started_event_attributes":
                yield INPUT, await decoded(event.workflow_execution_started_event_attributes.input), {}
            case "activity_task_scheduled_event_attributes":
                activity = event.activity_task_scheduled_event_attributes
                scheduled[event.event_id] = activity.activity_type.name, activity.input
            case "activity_task_completed_event_attributes":
                completed = event.activity_task_completed_event_attributes
                name, given = scheduled.pop(completed.scheduled_event_id)
                yield name, await decoded(given), await decoded(completed.result)
            case "start_child_workflow_execution_initiated_event_attributes":
                child = event.start_child_workflow_execution_initiated_event_attributes
                yield child.workflow_type.name, await decoded(child.input), {}


async def observe_state(
    client: Client, task_queue: str, cluster: str, ended: WorkflowExecutionDescription
) -> d.ObserveState:
    """The state of an observing loop. Snapshots that it had neither stored nor handed over go to backlogs, behind its
    own; the state waits for the last of them."""
    state = d.ObserveState()
    pending: dict[str, SnapshotDocument] = {}

    async for name, given, result in _events(client, ended):
        stored: list[SnapshotDocument] = []
        if name == INPUT:
            state = d.ObserveInput.model_validate(given).state or state
        elif name == "evaluate_health":
            evaluated = HealthEvaluated.model_validate(result)
            snapshot = evaluated.snapshot(given["memory"])
            pending[snapshot.evaluation_id] = snapshot
            state.newest, state.memory = evaluated.evaluation, evaluated.memory
            state.last_tick = state.last_evaluated = evaluated.tick
            state.window.push(evaluated.tick, evaluated.readings)
            state.cycles += 1
            state.resumed = True
        elif name == "store_signals_snapshot":
            stored = StoreSnapshots.model_validate(given).snapshots
        elif name == d.STORE_BACKLOG:
            stored = StoreSnapshots.model_validate(given).snapshots
            state.backlog = d.backlog_id(stored[0].evaluation_id)
        elif name == d.ASSESS:
            state.assessed_state = given["evaluation"]["verdict"]["health_state"]
            state.assessed = state.last_evaluated
        for snapshot in stored:
            pending.pop(snapshot.evaluation_id, None)
    for workflow_id, backlog_input in backlogs(cluster, list(pending.values()), state.backlog):
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(StoreBacklogWorkflow.run, backlog_input, id=workflow_id, task_queue=task_queue)
        state.backlog = workflow_id
    state.runs += 1
    return state


async def log_watcher_state(
    client: Client, _task_queue: str, _cluster: str, ended: WorkflowExecutionDescription
) -> d.LogWatcherState | None:
    """The state of a log watcher. None if it ended by itself, because no logs were configured: its successor does not
    read what was written since."""
    if ended.status is WorkflowExecutionStatus.COMPLETED:
        return None
    state = d.LogWatcherState()
    async for name, given, result in _events(client, ended):
        if name == INPUT:
            state = d.LogWatcherInput.model_validate(given).state or state
        elif name == "query_logs":
            read = LogsQueried.model_validate(result)
            state.cursor, state.memory, state.seen = read.cursor, read.memory, read.seen
            state.cycles += 1
    state.runs += 1
    return state


async def notify_state(
    _client: Client, _task_queue: str, _cluster: str, ended: WorkflowExecutionDescription
) -> d.NotifyState | None:
    """The state of a notifying loop, which it keeps in its memo; None if it never got to that."""
    stored = (await ended.memo()).get(d.CHANNELS_MEMO)
    return None if stored is None else d.NotifyState.model_validate(stored)


OBSERVING = LoopKind("watches", d.observe_id, ObserveClusterWorkflow.run, d.ObserveInput, recover=observe_state)
SCHEDULING = LoopKind(
    "schedules assessments of", d.scheduled_id, ScheduledAssessmentWorkflow.run, d.ScheduleInput,
    lambda cluster: cluster.assess_every_sec,
)  # fmt: skip
LOGGING = LoopKind(
    "reads the logs of", d.log_watcher_id, LogWatcherWorkflow.run, d.LogWatcherInput, recover=log_watcher_state,
    needed=lambda cluster: cluster.logs is not None,
)  # fmt: skip
PRUNING = LoopKind("prunes the stored rows of", d.prune_id, PruneStoreWorkflow.run, d.PruneInput, lambda _: 86_400.0)
NOTIFYING = LoopKind(
    "sends notifications of", d.notify_id, NotifyWorkflow.run, d.NotifyInput, lambda _: 600.0, notify_state
)
INSPECTING = LoopKind(
    "inspects executions of", d.executions_id, InspectExecutionsWorkflow.run, d.InspectInput, lambda _: 60.0,
    needed=lambda cluster: cluster.temporal is not None,
)  # fmt: skip
LOOPS = (OBSERVING, SCHEDULING, LOGGING, PRUNING, INSPECTING)


@dataclass(frozen=True)
class Started:
    """What happened to one loop: `started` for the first time; `resumed` after it had ended; `running` already;
    `redefined` while it runs; `moved` from another task queue; `freed` when it was stuck; `forgotten`: it runs on this
    queue for a cluster that is not configured."""

    cluster: str
    workflow_id: str
    outcome: Outcome


def loops_of(cluster: ClusterSettings, settings: Settings) -> tuple[LoopKind, ...]:
    """The loops that a cluster needs, the notifying one where a channel takes its notifications."""
    return (*(loop for loop in LOOPS if loop.needed(cluster)), *([NOTIFYING] if notifies(cluster, settings) else []))


def loop_ids(settings: Settings) -> dict[str, list[str]]:
    """The workflow ids of the loops of each cluster."""
    return {c.name: [loop.workflow_id(c.name) for loop in loops_of(c, settings)] for c in settings.clusters}


async def start_loops(settings: Settings, *, allow_self: bool = False) -> list[Started]:
    """Start the loops of every cluster, or find them running, and make this release the current one where workers are
    versioned. Loops of other clusters are reported and left alone. SettingsError without a cluster; StartError when
    Temporal cannot be reached, or, without `allow_self`, when it is one of the clusters to watch."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    client = await bootstrap.connected(settings.temporal)
    if not allow_self and (same := await bootstrap.watched_by_itself(client, settings.clusters)):
        raise StartError(
            f"the Copilot's own Temporal is the cluster {', '.join(same)} that it is to watch, and it would go down "
            "with it: give [temporal] the address of another one, or use --allow-self"
        )
    await make_current(client, settings.worker)
    at_once = asyncio.Semaphore(STARTS_AT_ONCE)

    async def start(cluster: ClusterSettings) -> list[Started]:
        async with at_once:
            return [await start_configured(client, settings, cluster, loop) for loop in loops_of(cluster, settings)]

    started = list(chain.from_iterable(await asyncio.gather(*map(start, settings.clusters))))
    configured = {cluster.name for cluster in settings.clusters}
    with contextlib.suppress(RPCError):  # Where Temporal cannot list workflows now, none are reported.
        async for each in client.list_workflows(f"ExecutionStatus = 'Running' AND TaskQueue = '{settings.task_queue}'"):
            of = (await each.memo()).get(d.CLUSTER_MEMO)
            if of is not None and of not in configured:
                started.append(Started(of, each.id, "forgotten"))
    return started


async def keep_loops_running(client: Client, settings: Settings, every_sec: float = KEEP_EVERY_SEC) -> NoReturn:
    """Start loops that do not run, until cancelled: someone ended one, or Temporal has lost its database."""
    while True:
        await asyncio.sleep(every_sec)
        for cluster in settings.clusters:
            for loop in loops_of(cluster, settings):
                await asyncio.sleep(1 / KEPT_A_SEC)
                handle = client.get_workflow_handle(loop.workflow_id(cluster.name))
                try:
                    found = await described(handle, ANSWER)
                    if found is None or found.status is not WorkflowExecutionStatus.RUNNING:
                        await start_configured(client, settings, cluster, loop)
                        log.warning("%s did not run: started", handle.id, extra={"event": "loop.restarted"})
                except (RPCError, RuntimeError) as error:
                    log.debug("%s cannot be checked: %s", handle.id, error)
                except Exception:  # A loop must never go unwatched.
                    log.exception("%s cannot be checked", handle.id, extra={"event": "loop.check_failed"})


def notifies(cluster: ClusterSettings, settings: Settings) -> bool:
    """Whether the cluster's observing loop signals changes to a notifying one."""
    return any(channel.matches(cluster.name) for channel in settings.channels)


def task_timeout(interval_sec: float) -> timedelta:
    """How long a worker that dies over a workflow task holds up the loop, and how long a slow one may take for it."""
    return timedelta(seconds=min(10.0, max(5.0, interval_sec)))


async def make_current(client: Client, worker: WorkerSettings, patience_sec: float = PATIENCE_SEC) -> None:
    """Make this release the current version of its worker deployment: all loops run on it from their next step on.
    Does nothing where workers are not versioned. Waits for a worker of the release to poll, then StartError."""
    if worker.deployment is None:
        return
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_sec
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=worker.deployment,
        build_id=worker.build_id,
        identity=client.identity,
    )
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
            return
        except RPCError as error:
            if error.status not in NO_WORKER_YET or loop.time() + TRY_EVERY_SEC > end:
                raise StartError(
                    f"the loops cannot be moved to release {worker.build_id} of {worker.deployment} "
                    f"({error.message}): does a `copilot worker` of it run?"
                ) from error
        await asyncio.sleep(TRY_EVERY_SEC)


async def start_configured(client: Client, settings: Settings, cluster: ClusterSettings, loop: LoopKind) -> Started:
    """Start one loop as the settings want it."""
    notifying = loop is OBSERVING and notifies(cluster, settings)
    return await start_loop(client, settings.task_queue, cluster, loop, notifies=notifying)


async def start_loop(
    client: Client,
    task_queue: str,
    cluster: ClusterSettings,
    loop: LoopKind = OBSERVING,
    ticks_per_run: int = d.TICKS_PER_RUN,
    *,
    notifies: bool = False,
) -> Started:
    """Start one loop. One that runs under another definition gets the new one by a signal; one that runs under the same
    is left alone. One that has ended, waits on another task queue, or is stuck starts again with the state it had."""
    workflow_id = loop.workflow_id(cluster.name)
    definition = d.Definition(interval_sec=loop.interval_sec(cluster), ticks_per_run=ticks_per_run, notifies=notifies)
    handle = client.get_workflow_handle(workflow_id)
    before = await described(handle)
    outcome: Outcome = "started" if before is None else "resumed"
    if before is not None and before.status is WorkflowExecutionStatus.RUNNING:
        if before.task_queue != task_queue:
            outcome = "moved"
        elif before.raw_description.pending_workflow_task.attempt >= STUCK_ATTEMPTS:
            outcome = "freed"
        elif (now := (await before.memo()).get(d.DEFINITION_MEMO)) and d.Definition.model_validate(now) == definition:
            return Started(cluster.name, workflow_id, "running")
        else:
            await handle.signal("define", definition)
            return Started(cluster.name, workflow_id, "redefined")
        await handle.terminate(reason=MOVED if outcome == "moved" else FREED)
        before = await described(handle)
    state = await loop.recover(client, task_queue, cluster.name, before) if before and loop.recover else None
    try:
        await client.start_workflow(
            loop.run,
            loop.input(cluster=cluster.name, definition=definition, state=state),
            id=workflow_id,
            task_queue=task_queue,
            task_timeout=task_timeout(definition.interval_sec),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            memo=d.memo(cluster.name, definition),
            static_summary=f"{loop.summary} {cluster.name}",
        )
    except WorkflowAlreadyStartedError:
        return Started(cluster.name, workflow_id, "running")
    return Started(cluster.name, workflow_id, outcome)


async def described(
    handle: WorkflowHandle[Any, Any], timeout: timedelta | None = None
) -> WorkflowExecutionDescription | None:
    """The workflow's newest run; None if there is none. RPCError."""
    try:
        return await handle.describe(rpc_timeout=timeout)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
