"""Builds clients from settings, all in one place. Nothing connects before its first use, but where it says so."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from copilot.errors import SettingsError, SourceError, StartError
from copilot.logs.patterns import PatternBook
from copilot.metrics.cloud import SharedPages
from copilot.redaction.redactor import redacted_name
from copilot.settings.cloud import CloudSettings
from copilot.settings.clusters import ClusterSettings, TemporalSettings
from copilot.settings.load import Settings
from copilot.settings.models import KnowledgeSettings, ModelSettings
from copilot.settings.sources import LogSettings
from copilot.sources import Source, no_versions
from copilot.sources.cloud.account import CloudAccount
from copilot.sources.cloud.source import CloudSource, Minutes, ScrapedCloud
from copilot.sources.knowledge import Knowledge
from copilot.sources.knowledge.bedrock import BedrockKnowledge
from copilot.sources.knowledge.local import LocalKnowledge
from copilot.sources.logs import LogSource
from copilot.sources.logs.file import FileLogs
from copilot.sources.logs.loki import LokiLogs
from copilot.sources.prometheus.instant import PrometheusSource
from copilot.sources.scrape.source import ScrapeSource
from copilot.sources.temporal.client import connect_config, connect_failure, watched_client
from copilot.sources.temporal.executions import ExecutionsReader
from copilot.sources.temporal.health import Frontend
from copilot.sources.temporal.source import TemporalApiSource
from copilot.store.postgres import PostgresStore
from copilot.telemetry.spans import client_plugins

if TYPE_CHECKING:
    from copilot.explain.model.agent import Explainers

PATIENCE_SEC = 30.0
TRY_EVERY_SEC = 0.5


async def temporal_client(settings: TemporalSettings, *, lazy: bool = False) -> Client:
    """A client of the Copilot's own Temporal. RuntimeError when it cannot be reached; a `lazy` client connects at its
    first call. SettingsError when its profile cannot be read."""
    return await Client.connect(
        **connect_config(settings), data_converter=pydantic_data_converter, lazy=lazy, plugins=client_plugins()
    )


async def connected(
    settings: TemporalSettings, patience_sec: float = PATIENCE_SEC, waiting: Callable[[str], None] = lambda _: None
) -> Client:
    """A connected client, tried for `patience_sec`, then StartError. `waiting` is called if the first try fails."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_sec
    waited = False
    while True:
        try:
            return await temporal_client(settings)
        except RuntimeError as error:
            if not waited:
                waiting(f"waiting for Temporal at {settings.address}")
                waited = True
            if loop.time() + TRY_EVERY_SEC > end:
                raise StartError(
                    f"the Copilot's own Temporal at {settings.address} cannot be reached ({connect_failure(error)}): "
                    "start it, or set [temporal] address in copilot.toml"
                ) from error
        await asyncio.sleep(TRY_EVERY_SEC)


async def watched_by_itself(client: Client, clusters: Iterable[ClusterSettings]) -> tuple[str, ...]:
    """Those of the clusters that are the Copilot's own Temporal (`client`'s). A server that does not answer counts as
    another one."""

    async def cluster_id(frontend: Client) -> str:
        try:
            return (await Frontend(frontend).facts()).cluster_id
        except SourceError:
            return ""

    watched = [(c.name, await watched_client(c.temporal)) for c in clusters if c.temporal is not None]
    own, *others = await asyncio.gather(cluster_id(client), *(cluster_id(other) for _, other in watched))
    return tuple(name for (name, _), other in zip(watched, others, strict=True) if own and other == own)


def store_url(settings: Settings) -> str:
    """The state store's URL; SettingsError when none is configured."""
    if settings.store.url is None:
        raise SettingsError(
            ["store.url is not set: give a postgresql:// or dsql:// address, or use `copilot up`, which starts its own"]
        )
    return settings.store.url


def store(settings: Settings) -> PostgresStore:
    """The state store; SettingsError when none is configured."""
    return PostgresStore(store_url(settings))


def sources(cluster: ClusterSettings, accounts: "CloudAccounts | None" = None) -> tuple[Source, ...]:
    """The sources of one cluster, in order of preference: Temporal's API, Temporal Cloud's metrics, metrics pages,
    Prometheus. `accounts`: those of all clusters, which share reads; None: its own. SettingsError where one cannot be
    built."""
    api = [TemporalApiSource(cluster)] if cluster.temporal is not None else []
    versions = api[0].server_versions if api else no_versions
    pages = [ScrapeSource(cluster, versions=versions)] if cluster.metrics else []
    there = cluster.prometheus
    queries = [PrometheusSource(cluster, there, versions=versions)] if there is not None else []
    of_cloud = [cloud_source(cluster, accounts or CloudAccounts([cluster]))] if cluster.cloud is not None else []
    return (*api, *of_cloud, *pages, *queries)


class CloudAccounts:
    """The accounts of Temporal Cloud that these clusters are of, each read once for all of them. `shared`: where
    workers share what they read; None: nowhere."""

    def __init__(self, clusters: Iterable[ClusterSettings], shared: SharedPages | None = None) -> None:
        self._of: dict[tuple[str, str], list[CloudSettings]] = {}
        for cloud in (c.cloud for c in clusters if c.cloud is not None):
            self._of.setdefault(self._key(cloud), []).append(cloud)
        self._shared = shared
        self._accounts: dict[tuple[str, str], CloudAccount] = {}

    @staticmethod
    def _key(cloud: CloudSettings) -> tuple[str, str]:
        return cloud.metrics_url, cloud.namespaces[0].rpartition(".")[2]

    def account(self, cloud: CloudSettings) -> CloudAccount:
        """The account of these namespaces, read with the key of its first cluster. SettingsError: there is no key."""
        key = self._key(cloud)
        if key not in self._accounts:
            namespaces = {n for each in self._of[key] for n in each.namespaces}
            self._accounts[key] = CloudAccount(self._of[key][0], namespaces, shared=self._shared)
        return self._accounts[key]


def cloud_minutes(cluster: ClusterSettings, accounts: CloudAccounts) -> Minutes:
    """Where the minutes of a cluster of Temporal Cloud come from. SettingsError: there is no key."""
    cloud, there = cluster.cloud, cluster.prometheus
    if cloud is None:
        raise SettingsError([f"cluster {cluster.name!r} is none of Temporal Cloud"])
    if cloud.metrics == "prometheus" and there is not None:
        return ScrapedCloud(there, cloud.namespaces)
    return accounts.account(cloud)


def cloud_source(cluster: ClusterSettings, accounts: CloudAccounts) -> CloudSource:
    """The source of Temporal Cloud's metrics of a cluster that is one of its. SettingsError as `cloud_minutes`."""
    return CloudSource(cloud_minutes(cluster, accounts), cluster.cloud.namespaces if cluster.cloud else ())


def executions(settings: Settings) -> dict[str, ExecutionsReader]:
    """What reads executions, of each cluster whose Temporal is configured."""
    return {
        c.name: ExecutionsReader(c, redact=partial(redacted_name, addresses=settings.redact_addresses))
        for c in settings.clusters
        if c.temporal is not None
    }


def knowledge(settings: KnowledgeSettings) -> Knowledge:
    """Where runbooks are searched. Nothing is read before the first search."""
    bedrock = settings.source == "bedrock"
    return BedrockKnowledge(settings) if bedrock else LocalKnowledge(settings.folder, settings.least_score)


def models(settings: ModelSettings) -> "Explainers | None":
    """The models that explain; None where none is configured. SettingsError where one cannot be used."""
    if not settings.any:
        return None
    try:
        from copilot.explain.model.provider import explainers
    except ImportError as error:
        raise SettingsError(
            [f"models: {error.name} is not installed: install temporal-sre-copilot with its extra `models`"]
        ) from error
    return explainers(settings)


def log_source(settings: LogSettings) -> LogSource:
    """The source of a cluster's logs."""
    if settings.loki is None:
        return FileLogs(settings.files)
    return LokiLogs(settings.loki, PatternBook([p.pattern() for p in settings.patterns]))
