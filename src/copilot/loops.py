"""How the loops of the configured clusters do, asked of the Copilot's own Temporal."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

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
from copilot.settings import Settings
from copilot.starter import loops_of

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
