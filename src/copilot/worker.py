"""The process that runs the loops: workflows and activities of every configured cluster."""

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from copilot import bootstrap
from copilot.activities.logs import LogActivities, LogDeps
from copilot.activities.observe import ObserveActivities, ObserveDeps
from copilot.core.errors import SettingsError
from copilot.settings import Settings
from copilot.workflows.assess import AssessHealthWorkflow
from copilot.workflows.backlog import StoreBacklogWorkflow
from copilot.workflows.log_watcher import LogWatcherWorkflow
from copilot.workflows.observe import ObserveClusterWorkflow

WORKFLOWS = (ObserveClusterWorkflow, LogWatcherWorkflow, AssessHealthWorkflow, StoreBacklogWorkflow)
PASSED_THROUGH = (
    *("copilot.core", "copilot.activities.messages", "copilot.activities.log_messages"),
    *("copilot.workflows.shared", "copilot.workflows.log_shared", "pydantic", "whenever"),
)
NO_LOGS = LogDeps(redact=str)
STOP_WITHIN = timedelta(seconds=3)
# After a crash the server offers a loop to its dead worker's own queue for this long before anybody may have it.
STICKY_WAIT = timedelta(seconds=2)


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox workflows run in; only core and the messages are passed through."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def build_worker(client: Client, task_queue: str, deps: ObserveDeps, logs: LogDeps = NO_LOGS) -> Worker:
    """A worker over the given clients."""
    activities = ObserveActivities(deps)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[
            activities.fetch_signals,
            activities.evaluate_health,
            activities.store_signals_snapshot,
            activities.store_health_assessment,
            activities.get_latest_assessment,
            activities.resume_memory,
            LogActivities(logs).query_logs,
        ],
        workflow_runner=workflow_runner(),
        graceful_shutdown_timeout=STOP_WITHIN,
        sticky_queue_schedule_to_start_timeout=STICKY_WAIT,
    )


async def run_worker(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM. StartError or SettingsError when it cannot begin."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    stop = _stop_signals()
    async with AsyncExitStack() as closing:
        deps = bootstrap.observe_deps(settings)
        closing.push_async_callback(bootstrap.close, deps)
        logs = bootstrap.log_deps(settings)
        closing.push_async_callback(bootstrap.close_logs, logs)
        client = await bootstrap.connected(settings.temporal, waiting=lambda text: print(text, flush=True))
        await closing.enter_async_context(build_worker(client, settings.task_queue, deps, logs))
        names = ", ".join(c.name for c in settings.clusters)
        print(f"copilot worker is ready: task queue {settings.task_queue}, watching {names}", flush=True)
        await stop.wait()


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
