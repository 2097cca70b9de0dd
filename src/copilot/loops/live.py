"""The loops, asked from outside: the live verdict, what waits to be stored, and how the loops are doing."""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from copilot import bootstrap
from copilot.errors import SourceError
from copilot.loops import definitions as d
from copilot.loops.calls import store_signals_snapshot
from copilot.loops.starter import described, loops_of
from copilot.notify.messages import bounded
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import MissingCode
from copilot.settings.load import Settings
from copilot.sources.temporal.client import connect_failure

QUERY_SEC = 2.0
STATUS_QUERY = timedelta(seconds=3)
ANSWER = timedelta(seconds=2)
AGAIN_SEC = 5.0
LONGEST = 200
CONNECT_SEC = 5.0
RUNNING = "running"
NO_WORKER = "no worker answers for it: does `copilot worker` run, and does it get CPU time?"
NOT_RUNNING = "not running: run `copilot start`"
# Our own timeout is reported as CANCELLED.
NO_ANSWER = (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION)
UNKNOWN_QUERY = "expected but not found"


class LoopLive:
    """The live verdict of the observing loop, by queries that take at most `timeout_sec`. Every method but `unsaved`
    and `problems` raises SourceError when the loop does not run or does not answer. `loops`: the workflow ids of each
    cluster's loops, for `problems`."""

    def __init__(
        self, client: Client, timeout_sec: float = QUERY_SEC, again_sec: float = AGAIN_SEC,
        loops: Mapping[str, Iterable[str]] | None = None,
    ) -> None:  # fmt: skip
        self._client = client
        self._loops = loops or {}
        self._timeout = timedelta(seconds=timeout_sec)
        self._again_sec = again_sec
        self._unsaved: dict[str, tuple[float, str | None]] = {}

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

    async def unsaved(self, cluster: str) -> str | None:
        """Why verdicts wait to be stored, as a sentence; None when none is known to wait, or Temporal does not answer.
        Asked at most every `again_sec` seconds; in between the last answer counts."""
        asked, answer = self._unsaved.get(cluster, (-math.inf, None))
        if time.monotonic() - asked >= self._again_sec:
            try:
                async with asyncio.timeout(ANSWER.total_seconds()):
                    answer = await self._failing_write(cluster)
            except (RPCError, RuntimeError, TimeoutError):
                answer = None
            self._unsaved[cluster] = time.monotonic(), answer
        return answer

    async def problems(self, cluster: str) -> Mapping[str, str]:
        """What is wrong with each loop of the cluster, by workflow id; empty where nothing is. A loop of which Temporal
        tells nothing is left out."""
        ids = tuple(self._loops.get(cluster, ()))
        reports = await asyncio.gather(*(report(self._client, cluster, i) for i in ids), return_exceptions=True)
        found = {r.workflow_id: r for r in reports if isinstance(r, LoopReport)}
        return {i: r.problem if r.state == RUNNING else NOT_RUNNING for i, r in found.items()}

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
                if activity.activity_type.name == store_signals_snapshot.name and activity.HasField("last_failure"):
                    failure = activity.last_failure
                    why = bounded(next(iter(failure.message.splitlines()), "a write failed"), LONGEST)
                    if failure.HasField("timeout_failure_info"):
                        why = "a write timed out"
                    return f"verdicts wait to be stored: {why}"
        return None

    async def _query(self, cluster: str, query: str, result: type | None = None) -> Any:
        loop = self._client.get_workflow_handle(d.observe_id(cluster))
        try:
            return await loop.query(query, result_type=result, rpc_timeout=self._timeout)
        except (RPCError, RuntimeError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
            status = error.status if isinstance(error, RPCError) else None
            text = connect_failure(error) if isinstance(error, RuntimeError) else " ".join(str(error).split())[:160]
            code, why = MissingCode.TARGET_DOWN, f"the Copilot's own Temporal does not answer ({text})"
            if status is RPCStatusCode.NOT_FOUND:
                code, why = MissingCode.ABSENT, "it does not run: `copilot start` starts it"
            elif isinstance(error, WorkflowQueryFailedError):
                code, why = MissingCode.PARSE, f"its worker cannot answer ({text})"
            elif status in NO_ANSWER:
                code, why = MissingCode.TIMEOUT, NO_WORKER
            raise SourceError(code, why, asked=f"the loop {loop.id}") from error


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
    return [await report(client, c.name, loop.workflow_id(c.name)) for c in clusters for loop in loops_of(c, settings)]


async def report(client: Client, cluster: str, workflow_id: str) -> LoopReport:
    """The report of one loop. RPCError, RuntimeError: Temporal does not answer."""
    handle = client.get_workflow_handle(workflow_id)
    if (found := await described(handle, STATUS_QUERY)) is None:
        return LoopReport(cluster, workflow_id, "not started", well=False, problem="`copilot start` starts it")
    if found.status is not WorkflowExecutionStatus.RUNNING:
        ended = "ended" if found.status is None else found.status.name.lower()
        return LoopReport(cluster, workflow_id, ended, well=False, problem="`copilot start` starts it again")
    release = found.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id
    running = LoopReport(cluster, workflow_id, RUNNING, well=False, task_queue=found.task_queue, release=release)
    try:
        status = await handle.query("status", result_type=d.LoopStatus, rpc_timeout=STATUS_QUERY)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
        return replace(running, problem=NO_WORKER)
    problem = status.last_error.what if status.last_error and not status.last_error.over else ""
    return replace(running, well=True, cycles=status.cycles, pending=status.pending, problem=problem)
