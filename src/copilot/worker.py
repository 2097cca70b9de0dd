"""The process that runs the loops: workflows and activities of every configured cluster."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from copilot import bootstrap
from copilot.activities.explain import ExplainActivities, ExplainDeps
from copilot.activities.logs import LogActivities, LogDeps
from copilot.activities.notify import NotifyActivities, NotifyDeps
from copilot.activities.observe import ObserveActivities, ObserveDeps
from copilot.activities.prune import PruneActivities
from copilot.activities.schedule import ScheduleActivities, ScheduleDeps
from copilot.alive import touched
from copilot.core.errors import SettingsError
from copilot.core.redaction import redacted
from copilot.settings import Settings, StoreSettings, WorkerSettings
from copilot.sources.runbooks import LocalKnowledge
from copilot.telemetry.process_log import say
from copilot.telemetry.process_metrics import process_measured
from copilot.telemetry.runtime import begin_runtime
from copilot.telemetry.switch import traced
from copilot.workflows.assess import AssessHealthWorkflow
from copilot.workflows.backlog import StoreBacklogWorkflow
from copilot.workflows.log_watcher import LogWatcherWorkflow
from copilot.workflows.notify import NotifyWorkflow
from copilot.workflows.observe import ObserveClusterWorkflow
from copilot.workflows.prune import PruneStoreWorkflow
from copilot.workflows.scheduled import ScheduledAssessmentWorkflow

T = TypeVar("T")
WORKFLOWS = (
    ObserveClusterWorkflow,
    ScheduledAssessmentWorkflow,
    LogWatcherWorkflow,
    PruneStoreWorkflow,
    NotifyWorkflow,
    AssessHealthWorkflow,
    StoreBacklogWorkflow,
)
PASSED_THROUGH = (
    *("copilot.core", "copilot.activities.messages", "copilot.activities.log_messages", "copilot.telemetry.spans"),
    *("copilot.activities.prune_messages", "copilot.activities.notify_messages"),
    "copilot.activities.explain_messages",
    *(
        "copilot.workflows.shared",
        "copilot.workflows.log_shared",
        "copilot.workflows.notify_shared",
        "pydantic",
        "whenever",
    ),
)
UNVERSIONED = WorkerSettings()
NO_LOGS = LogDeps(redact=redacted)
NO_CHANNELS = NotifyDeps()
RETENTION_DAYS = StoreSettings().retention_days
STOP_WITHIN = timedelta(seconds=3)
# After a crash the server offers a loop to its dead worker's own queue for this long before anybody may have it.
STICKY_WAIT = timedelta(seconds=2)


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox workflows run in; only core and the messages are passed through."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def build_worker(
    client: Client,
    task_queue: str,
    deps: ObserveDeps,
    release: WorkerSettings = UNVERSIONED,
    logs: LogDeps = NO_LOGS,
    explain: ExplainDeps | None = None,
    retention_days: float = RETENTION_DAYS,
    notify: NotifyDeps = NO_CHANNELS,
) -> Worker:
    """A worker over the given clients, of the given release; it prunes what is older than `retention_days`. `explain`
    None: the rules explain."""
    notifying = NotifyActivities(notify)
    observing = ObserveActivities(deps)
    explaining = ExplainActivities(explain or ExplainDeps(store=deps.store, knowledge=LocalKnowledge()))
    scheduling = ScheduleActivities(ScheduleDeps(store=deps.store, live=bootstrap.LoopLive(client)))
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[
            observing.fetch_signals,
            observing.evaluate_health,
            observing.store_signals_snapshot,
            observing.store_health_assessment,
            observing.resume_memory,
            explaining.explain_assessment,
            explaining.ask_dispatcher,
            explaining.fetch_rag_context,
            explaining.ask_researcher,
            explaining.improve_explanation,
            scheduling.get_live_verdict,
            scheduling.check_recent_assessment,
            scheduling.get_latest_assessment,
            scheduling.get_assessments_in_range,
            LogActivities(logs).query_logs,
            PruneActivities(deps.store, retention_days).prune_store,
            notifying.plan_notices,
            notifying.send_notice,
        ],
        workflow_runner=workflow_runner(),
        graceful_shutdown_timeout=STOP_WITHIN,
        sticky_queue_schedule_to_start_timeout=STICKY_WAIT,
        deployment_config=deployment(release),
    )


def deployment(release: WorkerSettings) -> WorkerDeploymentConfig | None:
    """How Temporal is told of a release; None where workers are not versioned. A running loop goes on under the release
    that is made current: it would outlive any release it was pinned to."""
    if release.deployment is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(release.deployment, release.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def run_worker(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM. StartError or SettingsError when it cannot begin."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    stop = _stop_signals()
    form = settings.logging.format
    meter = begin_runtime(form, settings.worker).metric_meter
    async with AsyncExitStack() as closing:
        closing.enter_context(traced("worker", models=settings.models.any))
        await closing.enter_async_context(process_measured(meter))
        deps = bootstrap.observe_deps(settings, meter)
        closing.push_async_callback(bootstrap.close, deps)
        explain = bootstrap.explain_deps(settings, deps.store)
        logs = bootstrap.log_deps(settings)
        closing.push_async_callback(bootstrap.close_logs, logs)
        client = await _unless(stop, bootstrap.connected(settings.temporal, waiting=partial(say, form=form)))
        if client is None:
            return
        worker = build_worker(
            client,
            settings.task_queue,
            deps,
            settings.worker,
            logs,
            explain,
            settings.store.retention_days,
            bootstrap.notify_deps(settings),
        )
        await closing.enter_async_context(worker)
        names = ", ".join(c.name for c in settings.clusters)
        await closing.enter_async_context(touched(settings.worker.alive_file))
        say(f"copilot worker is ready: task queue {settings.task_queue}, watching {names}", form)
        await stop.wait()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work comes to; None where we are told to stop before."""
    done, told = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((done, told), return_when=asyncio.FIRST_COMPLETED)
        return await done if done.done() else None
    finally:
        done.cancel()
        told.cancel()


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
