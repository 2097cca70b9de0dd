"""What really happened: the histories of the loops and what the store holds."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecution

from chaos.readers import tick_of
from chaos.stack import CLUSTER
from copilot.workflows.shared import OBSERVE, Definition, LoopStatus, observe_id

SETTLE_SEC = 180.0
RESTING_SEC = 600.0
LISTED_WITHIN_SEC = 3.0
"""How much later than its start a workflow may first stand in Temporal's list."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict of one moment (unix seconds)."""

    tick: int
    state: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was evaluated, in order, as the loop's histories have it; what the store holds; and all loops there were.

    `runs`: the status of each run of the loop while it was still to run, oldest first; `runs_counted`: how many the
    loop itself says; `others`: statuses of the workflows it started; `assessed`: ticks it wanted kept as an assessment;
    `unsettled`: what was still to be stored when patience ended."""

    evaluated: Sequence[Verdict]
    stored: Sequence[Verdict]
    assessed: Sequence[int]
    assessments: Sequence[int]
    runs: Sequence[str]
    runs_counted: int
    others: Sequence[str]
    unsettled: str


async def gathered(client: Client, store_url: str) -> Evidence:
    """Wait until all is stored, let the loop rest, and read everything."""
    loop = client.get_workflow_handle(observe_id(CLUSTER))

    async def asked() -> LoopStatus:
        status: LoopStatus = await loop.query("status", result_type=LoopStatus)
        return status

    unsettled = ""
    try:
        async with asyncio.timeout(SETTLE_SEC):
            while (await asked()).pending > 1 or await _running(client):  # noqa: ASYNC110
                await asyncio.sleep(1)
    except TimeoutError:
        unsettled = f"{(await asked()).pending} pending, {await _running(client)} running"
    status = await asked()
    runs = await _loops(client)
    statuses = [e.status.name for e in sorted(runs, key=lambda e: e.start_time) if e.status]
    # Told to look every ten minutes, the loop ends its run between two ticks and hands over what is to be stored.
    await loop.signal("define", Definition(interval_sec=RESTING_SEC))
    while (await asked()).runs == status.runs:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    await asyncio.sleep(LISTED_WITHIN_SEC)
    while await _running(client):  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    runs = await _loops(client)
    evaluated: list[Verdict] = []
    assessed: list[int] = []
    for run in sorted(runs, key=lambda e: e.start_time):
        await _read(client, run.run_id, evaluated, assessed)
    others = [e async for e in client.list_workflows(f"WorkflowType != '{OBSERVE}'")]
    stored, assessments = await _stored(store_url)
    return Evidence(
        evaluated=evaluated,
        stored=stored,
        assessed=assessed,
        assessments=assessments,
        runs=statuses,
        runs_counted=status.runs,
        others=[e.status.name for e in others if e.status],
        unsettled=unsettled,
    )


async def _loops(client: Client) -> list[WorkflowExecution]:
    return [e async for e in client.list_workflows(f"WorkflowType = '{OBSERVE}'")]


async def _running(client: Client) -> int:
    query = f"WorkflowType != '{OBSERVE}' AND ExecutionStatus = 'Running'"
    return (await client.count_workflows(query)).count


async def _read(client: Client, run_id: str, evaluated: list[Verdict], assessed: list[int]) -> None:
    judging: set[int] = set()
    async for event in client.get_workflow_handle(observe_id(CLUSTER), run_id=run_id).fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            if event.activity_task_scheduled_event_attributes.activity_type.name == "evaluate_health":
                judging.add(event.event_id)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            done = event.activity_task_completed_event_attributes
            if done.scheduled_event_id in judging:
                said = json.loads(done.result.payloads[0].data)
                tick = tick_of(said["evaluation"]["evaluation_id"])
                evaluated.append(Verdict(tick, said["health_state"]))
        elif event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            child = event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
            if child.startswith("assess-"):
                assessed.append(int(child.rpartition("-")[2]))


async def _stored(url: str) -> tuple[list[Verdict], list[int]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT evaluation_id, health_state FROM metrics_snapshots ORDER BY time")
        kept = await connection.fetch("SELECT evaluation_id FROM health_assessments ORDER BY time")
    finally:
        await connection.close()
    stored = [Verdict(tick_of(row["evaluation_id"]), row["health_state"]) for row in rows]
    return stored, [tick_of(row["evaluation_id"]) for row in kept]
