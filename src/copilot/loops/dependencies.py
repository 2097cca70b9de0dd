"""The clients that the worker's activities share, built from settings."""

from functools import partial

from temporalio.common import MetricMeter

from copilot import bootstrap, pipeline
from copilot.logs.patterns import PatternBook
from copilot.loops.activities.explain import ExplainDeps
from copilot.loops.activities.logs import LogDeps, WatchedLogs
from copilot.loops.activities.notify import NotifyDeps
from copilot.loops.activities.observe import Measures, ObserveDeps
from copilot.notify.channels import channel
from copilot.redaction.redactor import redacted
from copilot.settings.load import Settings
from copilot.store.base import Store


def observe_deps(settings: Settings, meter: MetricMeter = MetricMeter.noop) -> ObserveDeps:
    """What observing uses, and the meter it counts on. SettingsError when no store is configured."""
    return ObserveDeps(
        sources={c.name: bootstrap.sources(c) for c in settings.clusters},
        contexts={c.name: pipeline.context(c) for c in settings.clusters},
        store=bootstrap.store(settings),
        measures=Measures(meter),
        hide_addresses=settings.redact_addresses,
    )


def explain_deps(settings: Settings, store: Store) -> ExplainDeps:
    """What explaining uses. SettingsError when a model cannot be used."""
    return ExplainDeps(
        store=store, knowledge=bootstrap.knowledge(settings.knowledge), models=bootstrap.models(settings.models)
    )


def log_deps(settings: Settings) -> LogDeps:
    """What reading logs uses."""
    return LogDeps(
        redact=partial(redacted, addresses=settings.redact_addresses),
        logs={
            c.name: WatchedLogs(
                bootstrap.log_source(c.logs), PatternBook([p.pattern() for p in c.logs.patterns]), c.window
            )
            for c in settings.clusters
            if c.logs is not None
        },
    )


def notify_deps(settings: Settings) -> NotifyDeps:
    """What notifying uses."""
    return NotifyDeps(
        rules=settings.notify,
        channels={n.name: channel(n) for n in settings.notify},
        public_url=settings.api.public_url,
    )


async def close(deps: ObserveDeps, logs: LogDeps) -> None:
    """Close all sources and the store."""
    for source in (source for cluster in deps.sources.values() for source in cluster):
        await source.aclose()
    for watched in logs.logs.values():
        await watched.source.aclose()
    await deps.store.close()
