"""What stands in the histories of finished and running loops: how long they are and how big their payloads."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution


@dataclass(frozen=True, slots=True)
class Run:
    """One run (continue-as-new generation) of a workflow. `largest` is the biggest payload in bytes, `where` the kind
    of event that bears it; `evaluations` counts finished evaluate_health activities."""

    workflow_id: str
    run_id: str
    status: str
    events: int
    size: int
    largest: int
    where: str
    evaluations: int


async def runs(client: Client, query: str) -> AsyncIterator[Run]:
    """All runs of the workflows that a visibility query finds."""
    async for execution in client.list_workflows(query):
        yield await _run(client, execution)


async def _run(client: Client, execution: WorkflowExecution) -> Run:
    handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
    events = size = largest = evaluations = 0
    where = ""
    judging: set[int] = set()
    async for event in handle.fetch_history_events():
        events += 1
        size += event.ByteSize()
        payload, name = _largest_payload(event)
        if payload > largest:
            largest, where = payload, name
        scheduled = event.activity_task_scheduled_event_attributes
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            if scheduled.activity_type.name == "evaluate_health":
                judging.add(event.event_id)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            evaluations += event.activity_task_completed_event_attributes.scheduled_event_id in judging
    status = execution.status.name if execution.status else "?"
    return Run(execution.id, execution.run_id, status, events, size, largest, where, evaluations)


def _largest_payload(event: HistoryEvent) -> tuple[int, str]:
    """The biggest payload of an event, and what it belongs to."""
    found = event.WhichOneof("attributes")
    if found is None:
        return 0, ""
    attributes = getattr(event, found)
    name = found.removesuffix("_event_attributes")
    names = {f.name for f in attributes.DESCRIPTOR.fields}
    kind = attributes.activity_type.name if "activity_type" in names else ""
    largest = 0
    for part in ("input", "result"):
        if part in names:
            largest = max([largest, *(len(p.data) for p in getattr(attributes, part).payloads)])
    return largest, f"{name} {kind}".strip()
