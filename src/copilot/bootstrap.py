"""The one place that builds clients from settings. Nothing here connects before it is used, except where it says so."""

import asyncio
import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError
from temporalio.client import Client, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.common import MetricMeter
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode

from copilot import pipeline
from copilot.errors import SettingsError, SourceError, StartError
from copilot.logs.patterns import PatternBook
from copilot.loops.activities.explain import ExplainDeps, Models
from copilot.loops.activities.logs import LogDeps, WatchedLogs
from copilot.loops.activities.notify import NotifyDeps
from copilot.loops.activities.observe import Measures, ObserveDeps
from copilot.loops.definitions import LoopStatus, observe_id
from copilot.loops.messages import Document
from copilot.notify.channels import channel
from copilot.redaction.redactor import redacted
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import MissingCode
from copilot.settings.load import ClusterSettings, Settings, TemporalSettings
from copilot.settings.models import KnowledgeSettings, ModelSettings
from copilot.settings.sources import LogSettings
from copilot.sources import Source
from copilot.sources.knowledge.base import Knowledge
from copilot.sources.knowledge.bedrock import BedrockKnowledge
from copilot.sources.knowledge.local import LocalKnowledge
from copilot.sources.logs.base import LogSource
from copilot.sources.logs.file import FileLogs
from copilot.sources.logs.loki import LokiLogs
from copilot.sources.prometheus.instant import PrometheusSource
from copilot.sources.scrape.source import ScrapeSource
from copilot.sources.temporal.health import Frontend
from copilot.sources.temporal.source import TemporalApiSource, connect_config, watched_client
from copilot.store.base import Store
from copilot.store.postgres import PostgresStore
from copilot.telemetry.switch import client_plugins

PATIENCE_SEC = 30.0
TRY_EVERY_SEC = 0.5
QUERY_SEC = 2.0
# Our own time-out arrives as CANCELLED.
NO_WORKER = (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION)


async def temporal_client(settings: TemporalSettings, *, lazy: bool = False) -> Client:
    """A client of the Copilot's own Temporal. RuntimeError when it cannot be reached, unless `lazy`: then nothing is
    connected before the first call. SettingsError: its profile cannot be read."""
    return await Client.connect(
        **connect_config(settings), data_converter=pydantic_data_converter, lazy=lazy, plugins=client_plugins()
    )


async def connected(
    settings: TemporalSettings, patience_sec: float = PATIENCE_SEC, waiting: Callable[[str], None] = lambda _: None
) -> Client:
    """A connected client, tried for `patience_sec`; `waiting` is told once if the first try fails.
    StartError after that."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_sec
    told = False
    while True:
        try:
            return await temporal_client(settings)
        except RuntimeError as error:
            if not told:
                waiting(f"waiting for Temporal at {settings.address}")
                told = True
            if loop.time() + TRY_EVERY_SEC > end:
                raise StartError(
                    f"the Copilot's own Temporal at {settings.address} cannot be reached ({_reason(error)}): "
                    "start it, or set [temporal] address in copilot.toml"
                ) from error
        await asyncio.sleep(TRY_EVERY_SEC)


def temporal_given(settings: Settings) -> bool:
    """Whether somebody said which Temporal the Copilot is to run on; else `copilot up` brings one."""
    said = "address" in settings.temporal.model_fields_set or settings.temporal.profile is not None
    return said or bool(os.environ.get("TEMPORAL_ADDRESS") or os.environ.get("TEMPORAL_PROFILE"))


async def watched_by_itself(client: Client, clusters: Iterable[ClusterSettings]) -> tuple[str, ...]:
    """Those of the clusters that are the Copilot's own Temporal (`client`'s). Where one of the two does not say who it
    is, it is taken for another."""

    async def who(frontend: Client) -> str:
        try:
            return await Frontend(frontend).cluster_id()
        except SourceError:
            return ""

    asked = [(c.name, await watched_client(c.temporal)) for c in clusters if c.temporal is not None]
    own, *others = await asyncio.gather(who(client), *(who(watched) for _, watched in asked))
    return tuple(name for (name, _), other in zip(asked, others, strict=True) if own and other == own)


def store_url(settings: Settings) -> str:
    """Where the state store is; SettingsError when none is configured."""
    if settings.store.url is None:
        raise SettingsError(
            ["store.url is not set: give a postgresql:// or dsql:// address, or use `copilot up`, which brings its own"]
        )
    return settings.store.url


def store(settings: Settings) -> Store:
    """The state store; SettingsError when none is configured."""
    return PostgresStore(store_url(settings))


def sources(cluster: ClusterSettings) -> tuple[Source, ...]:
    """The sources of one cluster, Temporal's own API first: it is preferred where two know a signal, then pages
    read directly."""
    found: list[Source] = []
    if cluster.temporal is not None:
        found.append(TemporalApiSource(cluster))
    if cluster.metrics:
        found.append(ScrapeSource(cluster))
    if cluster.prometheus is not None:
        found.append(PrometheusSource(cluster, cluster.prometheus))
    return tuple(found)


def knowledge(settings: KnowledgeSettings) -> Knowledge:
    """Where runbooks are looked up. Nothing is read or connected before the first question."""
    if settings.source == "bedrock":
        return BedrockKnowledge(settings)
    return LocalKnowledge(settings.folder, settings.least_score)


def observe_deps(settings: Settings, meter: MetricMeter = MetricMeter.noop) -> ObserveDeps:
    """What the worker's activities work with, and what they are counted on."""
    return ObserveDeps(
        sources={c.name: sources(c) for c in settings.clusters},
        contexts={c.name: pipeline.context(c) for c in settings.clusters},
        store=store(settings),
        measures=Measures(meter),
        hide_addresses=settings.redact_addresses,
    )


def models(settings: ModelSettings) -> Models | None:
    """The models that explain; None where none is configured. Nothing is asked of them yet. SettingsError where one
    cannot be used."""
    if not settings.any:
        return None
    try:
        from copilot.explain.model.build import explainers
    except ImportError as error:
        raise SettingsError(
            [f"models: {error.name} is not installed: install temporal-sre-copilot with its extra `models`"]
        ) from error
    return explainers(settings)


def explain_deps(settings: Settings, kept: Store) -> ExplainDeps:
    """What assessments are explained with."""
    return ExplainDeps(store=kept, knowledge=knowledge(settings.knowledge), models=models(settings.models))


async def close(deps: ObserveDeps) -> None:
    """Give back what the activities held."""
    for cluster in deps.sources.values():
        for source in cluster:
            await source.aclose()
    await deps.store.close()


def log_source(settings: LogSettings) -> LogSource:
    """Where a cluster's logs are read."""
    return LokiLogs(settings.loki) if settings.loki is not None else FileLogs(settings.files)


def log_deps(settings: Settings) -> LogDeps:
    """What the worker reads logs with."""
    return LogDeps(
        redact=partial(redacted, addresses=settings.redact_addresses),
        logs={
            c.name: WatchedLogs(log_source(c.logs), PatternBook([p.pattern() for p in c.logs.patterns]), c.window)
            for c in settings.clusters
            if c.logs is not None
        },
    )


async def close_logs(deps: LogDeps) -> None:
    """Give back what reading logs held."""
    for watched in deps.logs.values():
        await watched.source.aclose()


def notify_deps(settings: Settings) -> NotifyDeps:
    """What people are told with."""
    return NotifyDeps(
        rules=tuple(n.rules() for n in settings.notify),
        channels={n.name: channel(n) for n in settings.notify},
        public_url=settings.api.public_url,
    )


class LoopLive:
    """The live verdict, asked of the running loop."""

    def __init__(self, client: Client, timeout_sec: float = QUERY_SEC) -> None:
        self._client = client
        self._timeout = timedelta(seconds=timeout_sec)

    async def revision(self, cluster: str) -> str:
        """Changes with every new evaluation; empty before the first. SourceError as `evaluation`. Asks for the whole
        evaluation, which every release answers, until the loop has a query of its own."""
        newest: Document | None = await self._asked(cluster, "live")
        return str(newest["evaluation_id"]) if newest else ""

    async def evaluation(self, cluster: str) -> Evaluation | None:
        """The newest evaluation, None before the first. SourceError when the loop is not there or does not answer."""
        newest: Document | None = await self._asked(cluster, "live")
        try:
            return Evaluation.model_validate(newest) if newest else None
        except ValidationError as error:
            raise SourceError(
                MissingCode.PARSE, "its evaluation is of another release", asked=observe_id(cluster)
            ) from error

    async def assessed(self, cluster: str) -> int | None:
        """When the loop last had an evaluation assessed (unix seconds). SourceError as above."""
        return (await self._status(cluster)).assessed

    async def cycle_sec(self, cluster: str) -> float | None:
        """How long the loop's last tick took to be read and judged. SourceError as above."""
        return (await self._status(cluster)).cycle_sec

    async def _status(self, cluster: str) -> LoopStatus:
        status: LoopStatus = await self._asked(cluster, "status", LoopStatus)
        return status

    async def _asked(self, cluster: str, query: str, answer: type | None = None) -> Any:
        loop = self._client.get_workflow_handle(observe_id(cluster))
        try:
            return await loop.query(query, result_type=answer, rpc_timeout=self._timeout)
        except (RPCError, RuntimeError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
            raise SourceError(*_why_silent(error), asked=f"the loop {loop.id}") from error


def _why_silent(error: Exception) -> tuple[MissingCode, str]:
    status = error.status if isinstance(error, RPCError) else None
    if status is RPCStatusCode.NOT_FOUND:
        return MissingCode.ABSENT, "it does not run: `copilot start` starts it"
    if status in NO_WORKER:
        return MissingCode.TIMEOUT, "no worker answers for it: does `copilot worker` run?"
    return MissingCode.TARGET_DOWN, f"the Copilot's own Temporal cannot be asked ({_reason(error)})"


def _reason(error: Exception) -> str:
    text = str(error)
    for known in ("Connection refused", "dns error", "certificate", "deadline"):
        if known.lower() in text.lower():
            return known.lower()
    return text.splitlines()[0][:120]
