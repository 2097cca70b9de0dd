"""How the loops of the configured clusters do, asked of the Copilot's own Temporal."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.api.failure.v1 import Failure
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot import bootstrap
from copilot.loops.definitions import STORE_BACKLOG, backlog_id, observe_id
from copilot.loops.starter import loops_of
from copilot.settings.load import Settings

QUERY = timedelta(seconds=3)
CONNECT_SEC = 5.0
NOBODY = "no worker answers for it: does `copilot worker` run?"


@dataclass(frozen=True)
class LoopSeen:
    """One loop. `state`: `running`, `not started`, or how it ended; `well`: it runs and a worker answers for it;
    `release`: the build it runs on, empty where workers are not versioned; `cycles` since it first began and `pending`
    snapshots, None where nobody can say; `problem`: what last went wrong and is not over."""

    cluster: str
    workflow_id: str
    state: str
    well: bool
    task_queue: str = ""
    release: str = ""
    run_began: str | None = None
    cycles: int | None = None
    pending: int | None = None
    problem: str = ""


async def seen(settings: Settings, cluster: str | None = None) -> list[LoopSeen]:
    """All loops there should be. StartError when Temporal cannot be reached."""
    client = await bootstrap.connected(settings.temporal, patience_sec=CONNECT_SEC)
    asked = [c for c in settings.clusters if cluster in (None, c.name)]
    return [await _seen(client, c.name, loop.workflow_id(c.name)) for c in asked for loop in loops_of(c, settings)]


async def _seen(client: Client, cluster: str, workflow_id: str) -> LoopSeen:
    handle = client.get_workflow_handle(workflow_id)
    try:
        found = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return LoopSeen(cluster, workflow_id, "not started", well=False, problem="`copilot start` starts it")
    if found.status is not WorkflowExecutionStatus.RUNNING:
        ended = "ended" if found.status is None else found.status.name.lower()
        return LoopSeen(cluster, workflow_id, ended, well=False, problem="`copilot start` starts it again")
    said: dict[str, Any] = {"last_error": {"what": NOBODY}}
    answers = True
    try:
        said = await handle.query("status", rpc_timeout=QUERY)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
        answers = False
    wrong = said.get("last_error") or {}
    return LoopSeen(
        cluster,
        workflow_id,
        "running",
        well=answers,
        task_queue=found.task_queue,
        release=_release(found),
        run_began=Instant(found.start_time).format_iso(),
        cycles=next((said[count] for count in ("ticks", "looks", "readings", "prunings") if count in said), None),
        pending=said.get("pending"),
        problem="" if wrong.get("over") else wrong.get("what", ""),
    )


def _release(found: WorkflowExecutionDescription) -> str:
    info = found.raw_description.workflow_execution_info
    return info.versioning_info.deployment_version.build_id


ANSWER = timedelta(seconds=2)
AGAIN_SEC = 5.0
LONGEST = 200
WRITE = "store_signals_snapshot"


class Unsaved:
    """Asks at most every `again_sec` seconds a cluster; in between the last answer holds. `elapsed` is a clock that
    nobody sets (seconds)."""

    def __init__(
        self, client: Client, *, again_sec: float = AGAIN_SEC, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._again_sec = again_sec
        self._elapsed = elapsed
        self._known: dict[str, tuple[float, str | None]] = {}

    async def why(self, cluster: str) -> str | None:
        """A sentence; None when nothing is known to wait, or Temporal cannot be asked."""
        asked, answer = self._known.get(cluster, (-self._again_sec, None))
        if self._elapsed() - asked >= self._again_sec:
            try:
                async with asyncio.timeout(ANSWER.total_seconds()):
                    answer = await self._ask(cluster)
            except (RPCError, RuntimeError, TimeoutError):
                answer = None
            self._known[cluster] = self._elapsed(), answer
        return answer

    async def _ask(self, cluster: str) -> str | None:
        async for workflow_id in self._writers(cluster):
            found = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=ANSWER)
            for activity in found.raw_description.pending_activities:
                if activity.activity_type.name == WRITE and activity.HasField("last_failure"):
                    return f"verdicts wait to be stored: {_in_words(activity.last_failure)}"
        return None

    async def _writers(self, cluster: str) -> AsyncIterator[str]:
        yield observe_id(cluster)
        backlogs = (
            f"WorkflowType = '{STORE_BACKLOG}' AND ExecutionStatus = 'Running'"
            f" AND WorkflowId STARTS_WITH '{backlog_id(cluster)}:'"
        )
        found = [e async for e in self._client.list_workflows(backlogs, limit=100, rpc_timeout=ANSWER)]
        if found:  # The others queue behind the first.
            yield min(found, key=lambda e: e.start_time).id


def _in_words(failure: Failure) -> str:
    if failure.HasField("timeout_failure_info"):
        return "a write did not end in time"
    first = (failure.message.splitlines() or ["a write failed"])[0]
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}…"
