"""What an ended loop knew, read from its history: its last run may have been terminated, stuck, or left on a task queue
without workers, and its successor is to carry on with all of it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.api.common.v1 import Payloads
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError

from copilot.loops.definitions import (
    ASSESS,
    CHANNELS_MEMO,
    STORE_BACKLOG,
    AssessInput,
    LogWatcherInput,
    LogWatcherState,
    NotifyState,
    ObserveInput,
    ObserveState,
    StoreBacklogInput,
    backlog_id,
)
from copilot.loops.messages import EvaluateHealth, HealthEvaluated, LogsQueried, SnapshotDocument, StoreSnapshots
from copilot.loops.storing import StoreBacklogWorkflow, backlogs

M = TypeVar("M", bound=BaseModel)
INPUT = "input"


async def _events(client: Client, ended: WorkflowExecutionDescription) -> AsyncIterator[tuple[str, Payloads, Payloads]]:
    """Name, input and result of what one run did, in order: its own start (`INPUT`), each activity that completed, each
    workflow it started."""
    scheduled: dict[int, tuple[str, Payloads]] = {}
    async for event in client.get_workflow_handle(ended.id, run_id=ended.run_id).fetch_history_events():
        if event.HasField("workflow_execution_started_event_attributes"):
            yield INPUT, event.workflow_execution_started_event_attributes.input, Payloads()
        elif event.HasField("activity_task_scheduled_event_attributes"):
            activity = event.activity_task_scheduled_event_attributes
            scheduled[event.event_id] = activity.activity_type.name, activity.input
        elif event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes
            yield *scheduled.pop(completed.scheduled_event_id), completed.result
        elif event.HasField("start_child_workflow_execution_initiated_event_attributes"):
            child = event.start_child_workflow_execution_initiated_event_attributes
            yield child.workflow_type.name, child.input, Payloads()


async def _decoded(client: Client, payloads: Payloads, model: type[M]) -> M:
    values: list[Any] = await client.data_converter.decode(payloads.payloads, [model])
    return model.model_validate(values[0])


async def observe_state(
    client: Client, task_queue: str, cluster: str, ended: WorkflowExecutionDescription
) -> ObserveState:
    """The state of an observing loop. Snapshots that it had neither stored nor handed over go to backlogs, behind its
    own; the state waits for the last of them."""
    state = ObserveState()
    pending: dict[str, SnapshotDocument] = {}

    def stored(snapshots: list[SnapshotDocument]) -> None:
        for snapshot in snapshots:
            pending.pop(snapshot.evaluation_id, None)

    async for name, given, result in _events(client, ended):
        if name == INPUT:
            state = (await _decoded(client, given, ObserveInput)).state or state
        elif name == "evaluate_health":
            memory_before = (await _decoded(client, given, EvaluateHealth)).memory
            evaluated = await _decoded(client, result, HealthEvaluated)
            snapshot = evaluated.snapshot(memory_before)
            pending[snapshot.evaluation_id] = snapshot
            state.newest, state.memory = evaluated.evaluation, evaluated.memory
            state.last_tick = state.last_evaluated = evaluated.tick
            state.window.push(evaluated.tick, evaluated.readings)
            state.cycles += 1
            state.resumed = True
        elif name == "store_signals_snapshot":
            stored((await _decoded(client, given, StoreSnapshots)).snapshots)
        elif name == STORE_BACKLOG:
            backlog = (await _decoded(client, given, StoreBacklogInput)).snapshots
            stored(backlog)
            state.backlog = backlog_id(backlog[0].evaluation_id)
        elif name == ASSESS:
            assessed = (await _decoded(client, given, AssessInput)).evaluation
            state.assessed_state, state.assessed = assessed["verdict"]["health_state"], state.last_evaluated
    for workflow_id, backlog_input in backlogs(cluster, list(pending.values()), state.backlog):
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(StoreBacklogWorkflow.run, backlog_input, id=workflow_id, task_queue=task_queue)
        state.backlog = workflow_id
    state.runs += 1
    return state


async def log_watcher_state(
    client: Client, _task_queue: str, _cluster: str, ended: WorkflowExecutionDescription
) -> LogWatcherState | None:
    """The state of a log watcher. None if it ended by itself, because no logs were configured: its successor does not
    read what was written since."""
    if ended.status is WorkflowExecutionStatus.COMPLETED:
        return None
    state = LogWatcherState()
    async for name, given, result in _events(client, ended):
        if name == INPUT:
            state = (await _decoded(client, given, LogWatcherInput)).state or state
        elif name == "query_logs":
            read = await _decoded(client, result, LogsQueried)
            state.cursor, state.memory, state.seen = read.cursor, read.memory, read.seen
            state.cycles += 1
    state.runs += 1
    return state


async def notify_state(
    _client: Client, _task_queue: str, _cluster: str, ended: WorkflowExecutionDescription
) -> NotifyState | None:
    """The state of a notifying loop, which it keeps in its memo; None if it never got to that."""
    memo = (await ended.memo()).get(CHANNELS_MEMO)
    return None if memo is None else NotifyState.model_validate(memo)
