"""The worker: runs all workflows and activities, of every configured cluster."""

import asyncio
import inspect
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import MetricMeter, VersioningBehavior, WorkerDeploymentVersion
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    Worker,
    WorkerDeploymentConfig,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from copilot import bootstrap, pipeline
from copilot.errors import CopilotError, SettingsError
from copilot.healthcheck import touched
from copilot.logs.patterns import PatternBook
from copilot.loops.activities.explain import ExplainActivities
from copilot.loops.activities.inspect import InspectActivities, WorkerKeeper
from copilot.loops.activities.mutes import MutesRead
from copilot.loops.activities.notify import NotifyActivities
from copilot.loops.activities.observe import LogActivities, ObserveActivities, WatchedLogs
from copilot.loops.activities.schedule import PruneActivities, ScheduleActivities
from copilot.loops.assess import AssessHealthWorkflow, ScheduledAssessmentWorkflow
from copilot.loops.inspect import InspectExecutionsWorkflow
from copilot.loops.live import LoopLive
from copilot.loops.log_watcher import LogWatcherWorkflow
from copilot.loops.notify import NotifyWorkflow
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.starter import keep_loops_running
from copilot.loops.storing import PruneStoreWorkflow, StoreBacklogWorkflow
from copilot.loops.watchdog import Progress
from copilot.notify.channels import channel
from copilot.notify.messages import bounded
from copilot.redaction.redactor import redacted, redacted_name
from copilot.settings.load import Settings, WorkerSettings
from copilot.telemetry.process_log import Facts, say
from copilot.telemetry.runtime import measuring_process, start_runtime
from copilot.telemetry.spans import traced, verdicts_sent

WORKFLOWS = (
    ObserveClusterWorkflow,
    ScheduledAssessmentWorkflow,
    LogWatcherWorkflow,
    PruneStoreWorkflow,
    InspectExecutionsWorkflow,
    NotifyWorkflow,
    AssessHealthWorkflow,
    StoreBacklogWorkflow,
)
PASSED_THROUGH = (
    "copilot.rules",
    "copilot.loops.messages",
    "copilot.loops.definitions",
    "copilot.telemetry.spans",
    "pydantic",
    "whenever",
)
UNVERSIONED = WorkerSettings()
STOP_WITHIN = timedelta(seconds=3)
STICKY_WAIT = timedelta(seconds=2)
"""How long the server offers a loop to the sticky queue of a crashed worker before any worker can take it."""


LONGEST_FAILURE = 500
"""Characters. Temporal keeps no failure over 4 KB of an activity that it retries, and then says nothing of why."""


class ShortFailures(Interceptor):
    """Failures of activities without their causes and the frames below, which go to the worker's log."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """The activity with short failures."""
        return _ShortFailure(next)


class _ShortFailure(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except FailureError:
            raise
        except Exception as error:  # noqa: BLE001
            text, kind = str(error), type(error).__name__
            if not isinstance(error, CopilotError):
                activity.logger.exception("%s failed", activity.info().activity_type)
            if len(text) > LONGEST_FAILURE:
                raise ApplicationError(bounded(redacted(text), LONGEST_FAILURE), type=kind) from None
            error.__cause__ = None
            raise error.with_traceback(None) from None


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox that workflows run in; only pure and shared models are passed through."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def build_worker(client: Client, task_queue: str, *activities: object, release: WorkerSettings = UNVERSIONED) -> Worker:
    """A worker of the given release. The public coroutines of `activities` are activities."""
    versioned = None
    if release.deployment is not None:
        version = WorkerDeploymentVersion(release.deployment, release.build_id)
        # Running loops move to the release that is made current: they outlive every release they could be pinned to.
        upgrade = VersioningBehavior.AUTO_UPGRADE
        versioned = WorkerDeploymentConfig(version, use_worker_versioning=True, default_versioning_behavior=upgrade)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[
            function
            for each in activities
            for name, function in inspect.getmembers(each, inspect.iscoroutinefunction)
            if not name.startswith("_")
        ],
        workflow_runner=workflow_runner(),
        interceptors=[ShortFailures()],
        graceful_shutdown_timeout=STOP_WITHIN,
        sticky_queue_schedule_to_start_timeout=STICKY_WAIT,
        deployment_config=versioned,
    )


def observe_activities(settings: Settings, meter: MetricMeter = MetricMeter.noop) -> ObserveActivities:
    """What observes the configured clusters, and counts on the meter. SettingsError when no store is configured."""
    store = bootstrap.store(settings)
    accounts = bootstrap.CloudAccounts(settings.clusters, store.cloud_pages)
    sources = {c.name: bootstrap.sources(c, accounts) for c in settings.clusters}
    clean = partial(redacted_name, addresses=settings.redact_addresses)
    return ObserveActivities(
        sources=sources,
        contexts={c.name: pipeline.context(c) for c in settings.clusters},
        store=store,
        after_read=WorkerKeeper(sources, store, clean).after_read,
        meter=meter,
        hide_addresses=settings.redact_addresses,
    )


def log_activities(settings: Settings, meter: MetricMeter = MetricMeter.noop) -> LogActivities:
    """What reads the logs of the configured clusters, and counts on the meter."""
    return LogActivities(
        redact=partial(redacted, addresses=settings.redact_addresses),
        logs={
            c.name: WatchedLogs(bootstrap.log_source(logs), PatternBook([p.pattern() for p in logs.patterns]), c.window)
            for c in settings.clusters
            if (logs := c.logs) is not None
        },
        meter=meter,
    )


async def close(observing: ObserveActivities, logs: LogActivities) -> None:
    """Close all sources and the store."""
    for source in chain(*observing.sources.values()):
        await source.aclose()
    for watched in logs.logs.values():
        await watched.source.aclose()
    await observing.store.close()


async def run_worker(settings: Settings) -> None:
    """Run until cancelled. SettingsError or StartError when it cannot start; StarvedError when it makes no progress."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    form = settings.logging.format
    activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = form == "text"
    meter = start_runtime(settings.worker).metric_meter
    async with AsyncExitStack() as closing:
        closing.enter_context(traced("worker", models=settings.models.any))
        await closing.enter_async_context(measuring_process(meter))
        sent = closing.enter_context(verdicts_sent("worker"))
        observing, logs = observe_activities(settings, meter), log_activities(settings, meter)
        if sent is not None:
            observing = replace(observing, after_judged=sent.judged)
        closing.push_async_callback(close, observing, logs)
        models, knowledge = bootstrap.models(settings.models), bootstrap.knowledge(settings.knowledge)
        client = await bootstrap.connected(settings.temporal, waiting=partial(say, form=form))
        channels = {n.name: channel(n) for n in settings.channels}
        worker = build_worker(
            client,
            settings.task_queue,
            observing,
            logs,
            ExplainActivities(observing.store, knowledge, models, meter=meter),
            ScheduleActivities(observing.store, LoopLive(client)),
            PruneActivities(observing.store, settings.store.retention_days),
            InspectActivities(bootstrap.executions(settings), observing.store),
            NotifyActivities(settings.channels, channels, settings.api.public_url, MutesRead(observing.store)),
            release=settings.worker,
        )
        await closing.enter_async_context(worker)
        names = ", ".join(c.name for c in settings.clusters)
        progress = Progress(client, settings)
        alive = touched(settings.worker.alive_file, well=lambda: progress.problem() is None)
        await closing.enter_async_context(alive)
        say(f"copilot worker is ready: task queue {settings.task_queue}, watching {names}", form)
        keeping = keep_loops_running(client, settings) if settings.worker.start_loops else asyncio.Event().wait()
        await asyncio.gather(progress.watch(), keeping)


def worker_facts(clusters: Iterable[str]) -> Facts:
    """What every line of a worker's log says besides its message: the activity, the workflow, the cluster."""
    longest_first = sorted(clusters, key=len, reverse=True)

    def facts(workflow_id: str | None) -> Mapping[str, str]:
        found: dict[str, str] = {}
        if activity.in_activity():
            info = activity.info()
            workflow_id = info.workflow_id or workflow_id
            found = {"activity_type": info.activity_type, "activity_id": info.activity_id}
        if workflow_id is not None:
            found["workflow_id"] = workflow_id
            of = workflow_id.partition("-")[2]
            cluster = next((c for c in longest_first if of == c or of.startswith((f"{c}-", f"{c}:"))), None)
            found |= {} if cluster is None else {"cluster": cluster}
        return found

    return facts
