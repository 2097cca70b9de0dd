"""What really happened: the histories of the loops and what the store holds."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecution, WorkflowQueryFailedError
from temporalio.service import RPCError

from chaos.readers import tick_of
from chaos.stack import CLUSTER
from chaos.waiting import ANSWER, InVainError, at_most, until
from copilot.loops.definitions import Definition, observe_id

log = logging.getLogger(__name__)

SETTLE_SEC = 180.0
REST_SEC = 60.0
READ_SEC = 180.0
RESTING_SEC = 30 * 86_400.0
"""An interval so long that no tick of it falls into the reading."""
LISTED_WITHIN_SEC = 3.0
"""How much later than its start a workflow may first stand in Temporal's list."""
ASK_EVERY_SEC = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict of one moment (unix seconds)."""

    tick: int
    state: str


@dataclass(frozen=True, slots=True, order=True)
class Assessed:
    """A verdict that is to be kept, or is kept, as an assessment: its moment (unix seconds) and why."""

    tick: int
    trigger: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was evaluated, in order, as the loop's histories have it; what the store holds; and all loops there were.

    `loops`: by workflow id the status of each run, oldest first; `runs_counted`: how many runs each loop itself counts;
    `others`: statuses of the workflows they started; `assessed`: what they wanted kept as an assessment; `unsettled`:
    what was still to be stored when patience ended."""

    evaluated: Sequence[Verdict]
    stored: Sequence[Verdict]
    assessed: Sequence[Assessed]
    assessments: Sequence[Assessed]
    loops: Mapping[str, Sequence[str]]
    runs_counted: Mapping[str, int]
    others: Sequence[str]
    unsettled: str


async def gathered(client: Client, store_url: str, loops: Sequence[str]) -> Evidence:
    """Wait until all is stored, let the loops (by workflow id) rest, and read everything. InVainError says what did not
    come to an end."""
    others = " AND ".join(f"WorkflowId != '{loop}'" for loop in loops)  # What they start ends, a loop does not.
    unsettled = await _settled(client, others)
    counted = {loop: await _rest(client, loop) for loop in loops}
    await asyncio.sleep(LISTED_WITHIN_SEC)

    async def all_ended() -> bool:
        return not await _running(client, others)

    await until(all_ended, "the workflows that the loops started to end", REST_SEC, ASK_EVERY_SEC)
    async with at_most(READ_SEC, "Temporal to give the loops' histories"):
        runs = {loop: await _listed(client, f"WorkflowId = '{loop}'") for loop in loops}
        read = _Read([], [])
        for loop, of_it in runs.items():
            for run in of_it:
                await read.history(client, loop, run.run_id)
        started = await _listed(client, others)
    async with at_most(READ_SEC, "the store to give what it holds"):
        stored, assessments = await _stored(store_url)
    return Evidence(
        evaluated=read.evaluated,
        stored=stored,
        assessed=read.assessed,
        assessments=assessments,
        loops={loop: _statuses(of_it) for loop, of_it in runs.items()},
        runs_counted=counted,
        others=_statuses(started),
        unsettled=unsettled,
    )


async def _settled(client: Client, others: str) -> str:
    """Wait until all is stored; what is not, when patience ends."""

    async def all_stored() -> bool:
        return (await _asked(client, observe_id(CLUSTER)))["pending"] <= 1 and not await _running(client, others)

    try:
        await until(all_stored, "all verdicts to be stored", SETTLE_SEC, ASK_EVERY_SEC)
    except InVainError:
        pending = (await _asked(client, observe_id(CLUSTER)))["pending"]
        return f"{pending} pending; still running: {', '.join(await _running(client, others)) or 'nothing'}"
    return ""


async def _rest(client: Client, loop: str) -> int:
    """Told to look once a month, a loop ends its run between two ticks and hands over what is to be stored; how many
    runs it counts."""
    before = (await _asked(client, loop))["runs"]

    async def in_a_new_run() -> bool:
        return bool((await _asked(client, loop))["runs"] > before)

    handle = client.get_workflow_handle(loop)
    await handle.signal("define", Definition(interval_sec=RESTING_SEC), rpc_timeout=ANSWER)
    await until(in_a_new_run, f"{loop} to come to rest", REST_SEC, ASK_EVERY_SEC)
    return int((await _asked(client, loop))["runs"])


async def _asked(client: Client, loop: str) -> dict[str, Any]:
    """What a loop says of itself, asked until it answers: one whose worker has just been killed may fail a question,
    one that cannot go on fails them all."""
    async with at_most(REST_SEC, f"{loop} to answer"):
        while True:
            try:
                said: dict[str, Any] = await client.get_workflow_handle(loop).query("status", rpc_timeout=ANSWER)
            except (RPCError, WorkflowQueryFailedError) as error:
                log.warning("%s does not answer: %s", loop, error)
                await asyncio.sleep(ASK_EVERY_SEC)
            else:
                return said


async def _listed(client: Client, query: str) -> list[WorkflowExecution]:
    """Oldest first."""
    found = [e async for e in client.list_workflows(query, rpc_timeout=ANSWER)]
    return sorted(found, key=lambda e: e.start_time)


async def _running(client: Client, others: str) -> list[str]:
    """Ids of what the loops started and has not ended."""
    return [e.id for e in await _listed(client, f"{others} AND ExecutionStatus = 'Running'")]


def _statuses(runs: Sequence[WorkflowExecution]) -> list[str]:
    return [e.status.name for e in runs if e.status]


@dataclass(frozen=True, slots=True)
class _Read:
    """What histories say."""

    evaluated: list[Verdict]
    assessed: list[Assessed]

    async def history(self, client: Client, loop: str, run_id: str) -> None:
        judging: set[int] = set()
        handle = client.get_workflow_handle(loop, run_id=run_id)
        async for event in handle.fetch_history_events(rpc_timeout=ANSWER):
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                if event.activity_task_scheduled_event_attributes.activity_type.name == "evaluate_health":
                    judging.add(event.event_id)
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                done = event.activity_task_completed_event_attributes
                if done.scheduled_event_id in judging:
                    said = json.loads(done.result.payloads[0].data)
                    tick = tick_of(said["evaluation"]["evaluation_id"])
                    self.evaluated.append(Verdict(tick, said["health_state"]))
            elif event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
                child = event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
                if child.startswith("assess-"):
                    _, tick_text, trigger = child.rsplit("-", 2)
                    self.assessed.append(Assessed(int(tick_text), trigger))


async def _stored(url: str) -> tuple[list[Verdict], list[Assessed]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT evaluation_id, health_state FROM metrics_snapshots ORDER BY time")
        kept = await connection.fetch("SELECT evaluation_id, trigger FROM health_assessments ORDER BY time")
    finally:
        await connection.close()
    stored = [Verdict(tick_of(row["evaluation_id"]), row["health_state"]) for row in rows]
    return stored, [Assessed(tick_of(row["evaluation_id"]), row["trigger"]) for row in kept]
