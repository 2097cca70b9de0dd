"""What a loop that ended had in its hands: read from its history.

A terminated loop cannot hand anything over. But every judgement it made stands in its history with the memory before
it, so a loop started anew takes up what it knew, and what it had not stored is stored. A log watcher reads on where the
one before it had read to.
"""

import contextlib
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError

from copilot.activities.log_messages import LogsQueried
from copilot.activities.messages import Document, EvaluateHealth, HealthEvaluated, StoreSnapshots
from copilot.workflows.backlog import StoreBacklogWorkflow
from copilot.workflows.log_shared import LogsKnown, WatchLogs
from copilot.workflows.notify_shared import TOLD_MEMO, KnownNotices
from copilot.workflows.shared import (
    ASSESS,
    STORE_BACKLOG,
    AssessHealth,
    Known,
    ObserveCluster,
    StoreBacklog,
    backlog_id,
)
from copilot.workflows.storing import first_batch, snapshot

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
