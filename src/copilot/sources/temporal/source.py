"""Temporal's own API: whether the frontend answers, what waits in which task queue, and who asks for it.

Read-only and cheap: one health check, the lists that are due, at most 50 task queues described a cycle, ten calls a
second over all of it. A server that does not answer its health check is asked nothing else.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import timedelta

from temporalio.api.workflowservice.v1 import GetClusterInfoRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfigProfile, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import Missing, MissingCode, ServerFacts, Signals
from copilot.settings.clusters import ClusterSettings, TemporalSettings, WatchedTemporal
from copilot.sources.complaints import Complaints
from copilot.sources.temporal.calls import PacedCalls, QueueCalls, QueueTurns, connect_failure, source_error
from copilot.sources.temporal.discovery import QueueDiscovery, Watched
from copilot.sources.temporal.queues import (
    KINDS,
    POLLER_IDS,
    QUEUE_IDS,
    VERSION_IDS,
    Description,
    QueueKey,
    queue_readings,
)

REACHABLE = "frontend.reachable"
HEALTH_DEADLINE_SEC = 3.0
READ_DEADLINE_SEC = 9.5
QUEUES_DEADLINE_SEC = 8.0
SHARE_OF_INTERVAL = 0.6
LEAST_SEC = 2.0
MOST_LISTS = 20
FACTS_EVERY_SEC = 3600.0
_ANSWERS = (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.NOT_FOUND)
log = logging.getLogger(__name__)


def connect_config(settings: TemporalSettings) -> ClientConnectConfig:
    """What a client is connected with. Address and namespace are those of copilot.toml where it has them, else of the
    TEMPORAL_* profile; TLS and API key are always the profile's. SettingsError: the profile cannot be read."""
    try:
        profile = ClientConfigProfile.load(settings.profile)
    except RuntimeError as error:
        raise SettingsError([f"temporal.profile: {error}"]) from error
    said = settings.model_fields_set
    config = profile.to_client_connect_config()
    config["target_host"] = (profile.address if "address" not in said else None) or settings.address
    config["namespace"] = (profile.namespace if "namespace" not in said else None) or settings.namespace
    return config


async def watched_client(temporal: WatchedTemporal) -> Client:
    """A client of the watched cluster that connects at its first call. SettingsError: its profile cannot be read."""
    return await Client.connect(**connect_config(temporal), lazy=True, identity="temporal-sre-copilot")


def watched_queues(cluster: ClusterSettings, client: Client) -> Watched:
    """Whose task queues are described."""
    temporal = cluster.temporal or WatchedTemporal()
    return Watched(
        own=client.namespace,
        named_own=client.namespace != "default" or "namespace" in temporal.model_fields_set,
        namespaces=temporal.namespaces,
        task_queues=temporal.task_queues,
        ignored=frozenset(cluster.ignore_task_queues),
    )


class TemporalApiSource:
    """Reads `frontend.reachable`, backlogs, rates and pollers of the watched cluster. `now` is the clock."""

    name = "api"
    expected = (REACHABLE, *QUEUE_IDS)

    def __init__(
        self, cluster: ClusterSettings, *, client: Client | None = None, now: Callable[[], Instant] = Instant.now
    ) -> None:
        if cluster.temporal is None:
            raise SettingsError([f"cluster {cluster.name!r} has no temporal address: its API cannot be read"])
        self._cluster = cluster
        self._temporal = cluster.temporal
        self._client = client
        self._now = now
        self._reader: _Reader | None = None
        self._complaints = Complaints(log)

    async def read(self, now: Instant) -> Signals:
        """The readings at `now`; within ten seconds, three when the server does not answer."""
        began = time.monotonic()
        if self._client is None:
            self._client = await watched_client(self._temporal)
        if self._reader is None:
            self._reader = _Reader(self._cluster, self._client, self._now)
        try:
            serving, why = await self._serving(self._client, self._reader)
        except SourceError as error:
            return self._lacking(now, {}, error.code, f"{self._temporal.address}: {error.detail}")
        if not serving:
            detail = f"{self._temporal.address}: {why}"
            return self._lacking(now, {REACHABLE: 0.0}, MissingCode.TARGET_DOWN, detail)
        within = min(
            QUEUES_DEADLINE_SEC,
            max(LEAST_SEC, SHARE_OF_INTERVAL * self._cluster.interval_sec),
            READ_DEADLINE_SEC - (time.monotonic() - began),
        )
        try:
            return await self._reader.read(now, within)
        except SourceError as error:
            found = self._lacking(now, {REACHABLE: 1.0}, error.code, str(error))
            return found.model_copy(update={"server": self._reader.facts})

    async def aclose(self) -> None:
        """Let go of the connection."""
        self._client = self._reader = None

    async def _serving(self, client: Client, reader: "_Reader") -> tuple[bool, str]:
        """Whether the frontend answers its health check, and if not why. SourceError when it may not be asked."""
        try:
            async with asyncio.timeout(HEALTH_DEADLINE_SEC):
                await reader.calls.turn()
                healthy = await client.service_client.check_health(timeout=timedelta(seconds=HEALTH_DEADLINE_SEC))
        except TimeoutError:
            return False, f"no answer to the health check within {HEALTH_DEADLINE_SEC:g} s"
        except RPCError as error:
            if error.status in _ANSWERS:
                return True, ""
            found = source_error(error, "")
            if found.code == MissingCode.FORBIDDEN:
                raise found from error
            return False, found.detail
        except RuntimeError as error:
            return False, connect_failure(error)
        return healthy, "the frontend answers that it is not serving"

    def _lacking(self, now: Instant, readings: dict[str, float], code: MissingCode, detail: str) -> Signals:
        """What was read, everything else this source is for missing with the reason, which is logged once a minute."""
        self._complaints.say("cluster %s, Temporal's API: %s", self._cluster.name, detail)
        lacking = [i for i in self.expected if i not in readings]
        why = Missing(code=code, detail=detail)
        return Signals(time=now, readings={**dict.fromkeys(lacking), **readings}, missing=dict.fromkeys(lacking, why))


class _Reader:
    """What a connection is read with, and what it has told so far."""

    def __init__(self, cluster: ClusterSettings, client: Client, clock: Callable[[], Instant]) -> None:
        self.calls = PacedCalls(client)
        self.facts: ServerFacts | None = None
        self._facts_due = Instant.MIN
        self._clock = clock
        self._discovery = QueueDiscovery(self.calls, watched_queues(cluster, client))
        self._turns = QueueTurns(QueueCalls(self.calls), cluster.interval_sec, clock)
        self._polled: set[tuple[QueueKey, str]] = set()

    async def read(self, now: Instant, within_sec: float) -> Signals:
        """The readings at `now`, within so many seconds. Raises SourceError where the queues are not known."""
        ends, before = time.monotonic() + within_sec, self.calls.made
        budget = int(within_sec * self.calls.per_sec * 0.9)
        try:
            async with asyncio.timeout(within_sec):
                await self._ask_facts()
                await self._discovery.advance(self._clock(), min(MOST_LISTS, budget // 3))
        except TimeoutError:
            pass
        if problem := self._discovery.problem():
            raise problem
        left = budget - (self.calls.made - before)
        queues = await self._turns.describe(
            self._discovery.queues, self._discovery.versions, left, max(0.0, ends - time.monotonic())
        )
        return self._signals(now, queues)

    async def _ask_facts(self) -> None:
        """Who the cluster is, once an hour. It may refuse to say."""
        now = self._clock()
        if now < self._facts_due:
            return
        self._facts_due = now.add(seconds=FACTS_EVERY_SEC)
        try:
            self.facts = await server_facts(self.calls)
        except SourceError as error:
            log.info("Temporal's API: %s", error)

    def _signals(self, now: Instant, queues: dict[QueueKey, Description]) -> Signals:
        for key, description in queues.items():
            halves = [(kind, description.half(kind)) for kind in KINDS]
            self._polled.update((key, kind) for kind, half in halves if description.polled(half))
        self._polled = {(key, kind) for key, kind in self._polled if key in queues}
        values, rows = queue_readings(queues, self._polled)
        untold = [i for i in VERSION_IDS if not all(d.by_version for d in queues.values())]
        why = Missing(code=MissingCode.ABSENT, detail="the worker versions of some task queues cannot be listed")
        return Signals(
            time=now,
            readings={REACHABLE: 1.0, **dict.fromkeys(QUEUE_IDS), **values},
            no_traffic=tuple(i for i in POLLER_IDS if i not in values and i not in untold),
            missing=dict.fromkeys(untold, why),
            breakdowns=rows,
            server=self.facts,
        )


async def server_facts(calls: PacedCalls) -> ServerFacts:
    """Version, name and shards of the cluster. Raises SourceError."""
    found = await calls.ask(calls.service.get_cluster_info, GetClusterInfoRequest(), "the cluster")
    return ServerFacts(
        version=found.server_version,
        cluster_name=found.cluster_name,
        cluster_id=found.cluster_id,
        history_shards=found.history_shard_count,
    )
