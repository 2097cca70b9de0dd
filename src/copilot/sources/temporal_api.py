"""Temporal's own API: whether the frontend answers, and what waits in which task queue.

Read-only and cheap: one health check, two list calls a minute, at most 50 task queues described a
cycle, ten calls a second. A server that does not answer its health check is asked nothing else.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConfigProfile, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.core.errors import SettingsError, SourceError
from copilot.core.signals import Missing, MissingCode, Signals
from copilot.settings import ClusterSettings, TemporalSettings, WatchedTemporal
from copilot.sources.task_queues import (
    QUEUE_IDS,
    RECENT_POLLERS,
    Description,
    QueueCalls,
    QueueKey,
    queue_readings,
    source_error,
)

REACHABLE = "frontend.reachable"
HEALTH_DEADLINE_SEC = 3.0
QUEUES_DEADLINE_SEC = 6.0
DISCOVER_EVERY_SEC = 60.0
REMEMBER_SEC = 24 * 3600.0
MAX_QUEUES = 50
CALLS_PER_SEC = 10.0
GOOD_FOR_INTERVALS = 4.0
_ANSWERS = (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.NOT_FOUND)


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


class TemporalApiSource:
    """Reads `frontend.reachable`, backlogs and pollers of the watched cluster. `now` is the clock."""

    name = "api"
    expected = (REACHABLE, *QUEUE_IDS)

    def __init__(
        self, cluster: ClusterSettings, *, client: Client | None = None, now: Callable[[], Instant] = Instant.now
    ) -> None:
        if cluster.temporal is None:
            raise SettingsError([f"cluster {cluster.name!r} has no temporal address: its API cannot be read"])
        self._temporal = cluster.temporal
        self._interval = cluster.interval_sec
        self._ignored = frozenset(cluster.ignore_task_queues)
        self._client = client
        self._calls: QueueCalls | None = None
        self._now = now
        self._seen: dict[QueueKey, Instant] = {}
        self._listed: Instant | None = None
        self._described: dict[QueueKey, Description] = {}
        self._polled: set[tuple[QueueKey, str]] = set()

    async def read(self, now: Instant) -> Signals:
        """The readings at `now`; within nine seconds, three when the server does not answer."""
        if self._client is None:
            self._client = await watched_client(self._temporal)
        if self._calls is None:
            self._calls = QueueCalls(self._client, per_sec=CALLS_PER_SEC)
        try:
            serving, why = await self._serving(self._client)
        except SourceError as error:
            return _signals(now, {}, Missing(code=error.code, detail=f"{self._temporal.address}: {error.detail}"))
        if not serving:
            down = Missing(code=MissingCode.TARGET_DOWN, detail=f"{self._temporal.address}: {why}")
            return _signals(now, {REACHABLE: 0.0}, down)
        try:
            async with asyncio.timeout(QUEUES_DEADLINE_SEC):
                await self._discover(self._calls, self._client.namespace)
                queues = await self._describe(self._calls)
        except TimeoutError:
            late = f"task queues not described within {QUEUES_DEADLINE_SEC:g} s"
            return _signals(now, {REACHABLE: 1.0}, Missing(code=MissingCode.TIMEOUT, detail=late))
        except SourceError as error:
            return _signals(now, {REACHABLE: 1.0}, Missing(code=error.code, detail=str(error)))
        for key, description in queues.items():
            self._polled.update((key, kind) for kind, half in description.halves.items() if half.pollers)
        values, rows = queue_readings(queues, self._polled)
        quiet = () if RECENT_POLLERS in values else (RECENT_POLLERS,)
        return Signals(
            time=now,
            readings={REACHABLE: 1.0, **dict.fromkeys(QUEUE_IDS), **values},
            no_traffic=quiet,
            breakdowns=rows,
        )

    async def aclose(self) -> None:
        """Let go of the connection."""
        self._client = self._calls = None

    async def _serving(self, client: Client) -> tuple[bool, str]:
        """Whether the frontend answers its health check, and if not why. SourceError when it may not be asked."""
        try:
            async with asyncio.timeout(HEALTH_DEADLINE_SEC):
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

    async def _discover(self, calls: QueueCalls, namespace: str) -> None:
        """Remember the task queues workflows use, and those named by settings. SourceError when there are none
        and the workflows could not be listed."""
        now = self._now()
        if self._listed is None or _age(self._listed, now) >= DISCOVER_EVERY_SEC:
            try:
                for queue in await calls.in_use(namespace, now.subtract(seconds=REMEMBER_SEC)):
                    self._seen[QueueKey(namespace, queue)] = now
                self._listed = now
            except SourceError:
                if self._listed is None and not self._temporal.task_queues:
                    raise
        for queue in self._temporal.task_queues:
            self._seen[QueueKey(namespace, queue)] = now
        self._seen = {
            key: seen
            for key, seen in self._seen.items()
            if _age(seen, now) < REMEMBER_SEC
            and key.task_queue not in self._ignored
            and not key.task_queue.startswith("temporal-sys")
        }
        self._described = {k: d for k, d in self._described.items() if k in self._seen}
        self._polled = {(k, kind) for k, kind in self._polled if k in self._seen}

    async def _describe(self, calls: QueueCalls) -> dict[QueueKey, Description]:
        """All known queues, described now or lately. SourceError if one of them could not be."""
        now = self._now()
        affordable = min(MAX_QUEUES, int(CALLS_PER_SEC * QUEUES_DEADLINE_SEC / 2 * 0.8))
        turn = self._turn(affordable)
        found = await asyncio.gather(*(calls.describe(k, now) for k in turn), return_exceptions=True)
        failures = [f for f in found if isinstance(f, BaseException)]
        for key, description in zip(turn, found, strict=True):
            if isinstance(description, Description):
                self._described[key] = description
        if failures:
            raise failures[0]
        limit = GOOD_FOR_INTERVALS * self._interval
        fresh = {k: d for k, d in self._described.items() if _age(d.time, now) <= limit}
        if len(fresh) < len(self._seen):
            raise SourceError(
                MissingCode.DROPPED,
                f"{len(fresh)} of {len(self._seen)} task queues described: {affordable} a cycle are, in turn",
            )
        return fresh

    def _turn(self, affordable: int) -> list[QueueKey]:
        """Whom to describe now: up to half for the queues where most waits, the rest in turn."""
        last = self._described
        waiting = sorted((k for k in self._seen if k in last and last[k].backlog), key=lambda k: -last[k].backlog)
        first = waiting[: affordable // 2]
        never = Instant.MIN
        others = sorted(self._seen.keys() - set(first), key=lambda k: (last[k].time if k in last else never, k))
        return [*first, *others][:affordable]


def _signals(now: Instant, readings: dict[str, float], why: Missing) -> Signals:
    """What was read, everything else this source is for missing with the reason."""
    lacking = [i for i in TemporalApiSource.expected if i not in readings]
    return Signals(time=now, readings={**dict.fromkeys(lacking), **readings}, missing=dict.fromkeys(lacking, why))


def _age(then: Instant, now: Instant) -> float:
    return (now - then).total("seconds")


def connect_failure(error: RuntimeError) -> str:
    """Why no connection came about, in few words."""
    text = str(error)
    for known in ("Connection refused", "dns error", "certificate", "timed out"):
        if known.lower() in text.lower():
            return known.lower()
    return "cannot connect: " + " ".join(text.split())[:160]
