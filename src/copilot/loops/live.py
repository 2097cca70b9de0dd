"""The loops, asked from outside: the live verdict, what waits to be stored, and how the loops are doing."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from copilot import bootstrap
from copilot.errors import SourceError
from copilot.loops import definitions as d
from copilot.loops.starter import described, loops_of
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import MissingCode
from copilot.settings.load import Settings
from copilot.sources.temporal.client import connect_failure

QUERY_SEC = 2.0
STATUS_QUERY = timedelta(seconds=3)
CONNECT_SEC = 5.0
NO_WORKER = "no worker answers for it: does `copilot worker` run?"
# Our own timeout is reported as CANCELLED.
NO_ANSWER = (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION)
UNKNOWN_QUERY = "expected but not found"


class LoopLive:
    """The live verdict of the observing loop, by queries that take at most `timeout_sec`. Every method raises
    SourceError when the loop does not run or does not answer."""

    def __init__(self, client: Client, timeout_sec: float = QUERY_SEC) -> None:
        self._client = client
        self._timeout = timedelta(seconds=timeout_sec)

    async def revision(self, cluster: str) -> str | None:
        """The newest evaluation's id; empty before the first. None where the loop runs on an older release that does
        not know it: then `evaluation` is the only way."""
        try:
            revision: str = await self._query(cluster, "revision", str)
        except SourceError as error:
            if UNKNOWN_QUERY in str(error.__cause__):
                return None
            raise
        return revision

    async def evaluation(self, cluster: str) -> Evaluation | None:
        """The newest evaluation; None before the first. SourceError also when this release cannot read it."""
        newest = await self._query(cluster, "live")
        try:
            return Evaluation.model_validate(newest) if newest else None
        except ValidationError as error:
            raise SourceError(
                MissingCode.PARSE, "its evaluation is of another release", asked=d.observe_id(cluster)
            ) from error

    async def status(self, cluster: str) -> d.LoopStatus:
        """How the loop is doing."""
        status: d.LoopStatus = await self._query(cluster, "status", d.LoopStatus)
        return status

    async def cycle_sec(self, cluster: str) -> float | None:
        """How long the last tick took to be read and evaluated; None before the first."""
        return (await self.status(cluster)).cycle_sec

    async def _query(self, cluster: str, query: str, result: type | None = None) -> Any:
        loop = self._client.get_workflow_handle(d.observe_id(cluster))
        try:
            return await loop.query(query, result_type=result, rpc_timeout=self._timeout)
        except (RPCError, RuntimeError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
            raise SourceError(*_why_no_answer(error), asked=f"the loop {loop.id}") from error


def _why_no_answer(error: Exception) -> tuple[MissingCode, str]:
    status = error.status if isinstance(error, RPCError) else None
    if status is RPCStatusCode.NOT_FOUND:
        return MissingCode.ABSENT, "it does not run: `copilot start` starts it"
    if status in NO_ANSWER:
        return MissingCode.TIMEOUT, NO_WORKER
    text = connect_failure(error) if isinstance(error, RuntimeError) else " ".join(str(error).split())[:160]
    return MissingCode.TARGET_DOWN, f"the Copilot's own Temporal does not answer ({text})"


@dataclass(frozen=True)
class LoopReport:
    """One loop. `state`: `running`, `not started`, or how it ended; `well`: it runs and a worker answers for it;
    `release`: its worker's build, empty where workers are not versioned; `cycles` since it first started and `pending`
    snapshots, None where unknown; `problem`: what last failed and is not over, else empty."""

    cluster: str
    workflow_id: str
    state: str
    well: bool
    task_queue: str = ""
    release: str = ""
    cycles: int | None = None
    pending: int | None = None
    problem: str = ""


async def loop_reports(settings: Settings, cluster: str | None = None) -> list[LoopReport]:
    """A report of every loop that the settings want. StartError when Temporal cannot be reached."""
    client = await bootstrap.connected(settings.temporal, patience_sec=CONNECT_SEC)
    clusters = [c for c in settings.clusters if cluster in (None, c.name)]
    return [await _report(client, c.name, loop.workflow_id(c.name)) for c in clusters for loop in loops_of(c, settings)]


async def _report(client: Client, cluster: str, workflow_id: str) -> LoopReport:
    handle = client.get_workflow_handle(workflow_id)
    if (found := await described(handle)) is None:
        return LoopReport(cluster, workflow_id, "not started", well=False, problem="`copilot start` starts it")
    if found.status is not WorkflowExecutionStatus.RUNNING:
        ended = "ended" if found.status is None else found.status.name.lower()
        return LoopReport(cluster, workflow_id, ended, well=False, problem="`copilot start` starts it again")
    release = found.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id
    running = LoopReport(cluster, workflow_id, "running", well=False, task_queue=found.task_queue, release=release)
    try:
        status = await handle.query("status", result_type=d.LoopStatus, rpc_timeout=STATUS_QUERY)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
        return replace(running, problem=NO_WORKER)
    problem = status.last_error.what if status.last_error and not status.last_error.over else ""
    return replace(running, well=True, cycles=status.cycles, pending=status.pending, problem=problem)


ANSWER = timedelta(seconds=2)
AGAIN_SEC = 5.0
LONGEST = 200
WRITE = "store_signals_snapshot"


class PendingWrites:
    """Why verdicts wait to be stored. Asks Temporal at most every `again_sec` seconds a cluster and repeats its last
    answer in between. `elapsed` is a monotonic clock (seconds)."""

    def __init__(
        self, client: Client, *, again_sec: float = AGAIN_SEC, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._again_sec = again_sec
        self._elapsed = elapsed
        self._answers: dict[str, tuple[float, str | None]] = {}

    async def why(self, cluster: str) -> str | None:
        """A sentence; None when no verdict is known to wait, or Temporal does not answer."""
        asked, answer = self._answers.get(cluster, (-self._again_sec, None))
        if self._elapsed() - asked >= self._again_sec:
            try:
                async with asyncio.timeout(ANSWER.total_seconds()):
                    answer = await self._failing_write(cluster)
            except (RPCError, RuntimeError, TimeoutError):
                answer = None
            self._answers[cluster] = self._elapsed(), answer
        return answer

    async def _failing_write(self, cluster: str) -> str | None:
        backlogs = (
            f"WorkflowType = '{d.STORE_BACKLOG}' AND ExecutionStatus = 'Running'"
            f" AND WorkflowId STARTS_WITH '{d.backlog_id(cluster)}:'"
        )
        running = [e async for e in self._client.list_workflows(backlogs, limit=100, rpc_timeout=ANSWER)]
        first = [min(running, key=lambda e: e.start_time).id] if running else []  # the others wait behind it
        for workflow_id in (d.observe_id(cluster), *first):
            found = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=ANSWER)
            for activity in found.raw_description.pending_activities:
                if activity.activity_type.name == WRITE and activity.HasField("last_failure"):
                    failure = activity.last_failure
                    why = next(iter(failure.message.splitlines()), "a write failed")
                    if failure.HasField("timeout_failure_info"):
                        why = "a write timed out"
                    elif len(why) > LONGEST:
                        why = f"{why[:LONGEST]}…"
                    return f"verdicts wait to be stored: {why}"
        return None
