"""The worker's watchdog: a worker that is starved of CPU or stuck ends, to be started again, instead of looking alive.

Judged by progress, through Temporal: whether the cluster's observing loop has a new evaluation, of whichever worker.
While Temporal does not answer, or the loop does not run on this task queue, nothing is held against the worker."""

import asyncio
import faulthandler
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from copilot.errors import CopilotError, SourceError
from copilot.loops import definitions as d
from copilot.loops.live import LoopLive
from copilot.loops.starter import described
from copilot.rules.signals.readings import MissingCode
from copilot.settings.load import Settings

CHECK_EVERY_SEC = 5.0
LEAST_PATIENCE_SEC = 120.0
INTERVALS = 5
SHUTDOWN_SEC = 30.0
QUERY_SEC = 5.0
ANSWER = timedelta(seconds=10)


class StarvedError(CopilotError):
    """No evaluation of a cluster for too long, although its Temporal answers."""


def patience_sec(interval_sec: float) -> float:
    """How long a cluster may go without an evaluation."""
    return max(LEAST_PATIENCE_SEC, INTERVALS * interval_sec)


@dataclass
class Progress:
    """What is known of the progress of the configured clusters. `elapsed`: a monotonic clock (seconds)."""

    client: Client
    settings: Settings
    elapsed: Callable[[], float] = time.monotonic
    _newest: dict[str, str] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def problem(self) -> str | None:
        """Which cluster was not evaluated for too long, as a sentence; None while all are."""
        for cluster in self.settings.clusters:
            silent = self.elapsed() - self._since.setdefault(cluster.name, self.elapsed())
            if silent > patience_sec(cluster.interval_sec):
                return (
                    f"no evaluation of cluster {cluster.name} for {silent:.0f} s while the Copilot's own Temporal "
                    "answers: this worker is starved or stuck. It exits, to be started again; if this happens again, "
                    "give it more CPU"
                )
        return None

    async def check(self) -> None:
        """Look at every cluster that was not seen to progress for half its patience. StarvedError."""
        now = self.elapsed()
        silent = [c.name for c in self.settings.clusters
                  if now - self._since.get(c.name, -math.inf) >= patience_sec(c.interval_sec) / 2]  # fmt: skip
        await asyncio.gather(*map(self._check, silent))
        if problem := self.problem():
            raise StarvedError(problem)

    async def _check(self, cluster: str) -> None:
        before = self._newest.get(cluster)
        try:
            newest = await LoopLive(self.client, timeout_sec=QUERY_SEC).revision(cluster) or before
            excused = False
        except SourceError as error:
            newest = before
            excused = error.code is not MissingCode.TIMEOUT or not await self._runs(cluster)
        if excused or newest != before:
            self._newest[cluster] = newest or ""
            self._since[cluster] = self.elapsed()

    async def _runs(self, cluster: str) -> bool:
        """Whether Temporal answers, and says that the observing loop runs on our task queue."""
        try:
            found = await described(self.client.get_workflow_handle(d.observe_id(cluster)), ANSWER)
        except (RPCError, RuntimeError):
            return False
        running = found is not None and found.status is WorkflowExecutionStatus.RUNNING
        return running and found is not None and found.task_queue == self.settings.task_queue

    async def watch(self) -> NoReturn:
        """Check until the worker is starved or stuck: StarvedError. An event loop that hangs ends the process, with the
        tracebacks of all threads on stderr; so does a shutdown that hangs after the error."""
        patience = max(patience_sec(c.interval_sec) for c in self.settings.clusters)
        try:
            while True:
                exit_in(patience)
                await self.check()
                await asyncio.sleep(CHECK_EVERY_SEC)
        except StarvedError:
            exit_in(SHUTDOWN_SEC)
            raise
        except BaseException:
            faulthandler.cancel_dump_traceback_later()
            raise


def exit_in(seconds: float) -> None:
    """Exit with status 1 after that time, even if no Python code can run. The last call counts."""
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
