"""An observed cluster with a log file that really grows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import WorkflowHandle

from copilot.logs.patterns import PatternBook
from copilot.loops.activities.logs import LogDeps, WatchedLogs
from copilot.loops.activities.observe import ObserveDeps
from copilot.loops.definitions import LogWatcherStatus, log_watcher_id
from copilot.loops.log_watcher import LogWatcherWorkflow
from copilot.loops.starter import LOGGING, Started, start_loop
from copilot.loops.worker import build_worker
from copilot.rules.evaluate import Context
from copilot.rules.model import Evaluation
from copilot.sources.logs.file import FileLogs
from tests.workflows.conftest import Observed, eventually

LOCKED = '{"level":"error","msg":"Error acquiring shard","shard-id":1,"error":"database is locked"}\n'


@dataclass
class Logged(Observed):
    """An observed cluster with a log file."""

    file: Path = field(default_factory=Path)
    watched: bool = True

    @property
    def watcher(self) -> WorkflowHandle[LogWatcherWorkflow, None]:
        return self.client.get_workflow_handle_for(LogWatcherWorkflow.run, log_watcher_id(self.cluster.name))

    @asynccontextmanager
    async def both(self) -> AsyncIterator[None]:
        """A worker for both loops."""
        name = self.cluster.name
        context = Context(cluster=name, interval_sec=self.cluster.interval_sec, window_sec=self.cluster.window)
        deps = ObserveDeps(sources={name: (self.source,)}, contexts={name: context}, store=self.store)
        logs = WatchedLogs(FileLogs([self.file]), PatternBook(), self.cluster.window)
        read = LogDeps(redact=str, logs={name: logs} if self.watched else {})
        async with build_worker(self.client, self.queue, deps, logs=read):
            yield

    async def watch(self, ticks_per_run: int | None = None) -> Started:
        """Start the log watcher."""
        return await start_loop(self.client, self.queue, self.cluster, LOGGING, ticks_per_run)

    async def readings(self, at_least: int) -> LogWatcherStatus:
        async def often_enough() -> LogWatcherStatus | None:
            status = await self.watcher.query(LogWatcherWorkflow.status)
            return status if status.readings >= at_least else None

        return await eventually(often_enough)

    async def said(self, what: str) -> Evaluation:
        """The first live evaluation whose logs name this pattern."""

        async def named() -> Evaluation | None:
            live = await self.live()
            return live if live and what in {p.pattern for p in live.signals.logs} else None

        return await eventually(named)

    def write(self, lines: int) -> None:
        with self.file.open("a", encoding="utf-8") as out:
            out.write(LOCKED * lines)
