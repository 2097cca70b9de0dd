"""The source that reads Temporal's own API.

Read-only and cheap: one health check, the lists that are due, at most 50 task queues described per evaluation, ten
calls a second in all. A server that fails its health check gets no other call.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.errors import SettingsError, SourceError
from copilot.inspection.workers import WorkersListed
from copilot.rules.signals.readings import Missing, MissingCode, ServerFacts, Signals
from copilot.settings.clusters import ClusterSettings
from copilot.sources import ThrottledLog, time_limit
from copilot.sources.temporal import queues
from copilot.sources.temporal.client import CALLS_PER_SEC, RateLimitedClient, connect_failure, rpc_error, watched_client
from copilot.sources.temporal.discovery import QueueDiscovery, Watched
from copilot.sources.temporal.heartbeats import HEARTBEAT_IDS, ORIGIN, Read
from copilot.sources.temporal.queues import KINDS, Description, QueueDescriber, QueueKey, QueueRotation
from copilot.sources.temporal.server_clock import TOLERATED_SEC
from copilot.sources.temporal.worker_rows import workers_listed

REACHABLE = "frontend.reachable"
HEALTH_TIMEOUT_SEC = 3.0
READ_TIMEOUT_SEC = 9.5
QUEUES_TIMEOUT_SEC = 8.0
MIN_QUEUES_SEC = 2.0
SHARE_OF_INTERVAL = 0.6
BUDGET_SHARE = 0.9
MAX_LISTS = 20
FACTS_EVERY_SEC = 60.0
VERSIONS_REMEMBERED = 10
FIRST_FACTS_SEC = 1.0
_NO_HEALTH_CHECK = (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.NOT_FOUND)
log = logging.getLogger(__name__)


class TemporalApiSource:
    """Reads `frontend.reachable`, backlogs, rates, pollers and worker heartbeats of the watched cluster. `now` is the
    clock. SettingsError where the cluster has no Temporal address."""

    name = "api"
    expected = (REACHABLE, *queues.QUEUE_IDS, *HEARTBEAT_IDS)

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
        self._facts_tried = asyncio.Event()
        self._log = ThrottledLog(log, "temporal.read_failed")

    async def server_versions(self) -> Collection[str]:
        """The versions that the frontends named in the last ten minutes; empty: unknown. The first answer is awaited
        for a second, because all sources begin to read at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_FACTS_SEC):
                await self._facts_tried.wait()
        return frozenset(self._reader.versions) if self._reader else ()

    @property
    def ahead_sec(self) -> float:
        """How far the servers' clock is ahead of this machine's, as far as pollers tell; see `ServerClock`."""
        return self._reader.server_clock.ahead_sec if self._reader else 0.0

    async def read(self, now: Instant) -> Signals:
        """The readings at `now`; within ten seconds, or three when the server does not answer."""
        began = time.monotonic()
        if self._reader is None:
            client = self._client or await watched_client(self._temporal)
            self._reader = _Reader(self._cluster, client, self._now)
        try:
            await self._reader.check_health()
            await self._reader.read_facts()
        except SourceError as error:
            forbidden = error.code is MissingCode.FORBIDDEN
            code, readings = (error.code, {}) if forbidden else (MissingCode.TARGET_DOWN, {REACHABLE: 0.0})
            return self._without(now, readings, code, f"{self._temporal.address}: {error.detail}")
        finally:
            self._facts_tried.set()
        within = min(
            QUEUES_TIMEOUT_SEC,
            max(MIN_QUEUES_SEC, SHARE_OF_INTERVAL * self._cluster.interval_sec),
            READ_TIMEOUT_SEC - (time.monotonic() - began),
        )
        try:
            return await self._reader.read(now, within)
        except SourceError as error:
            signals = self._without(now, {REACHABLE: 1.0}, error.code, str(error))
            return signals.model_copy(update={"server": self._reader.facts})

    def workers(self, clean: Callable[[str], str]) -> tuple[WorkersListed | None, frozenset[str]]:
        """The workers by the newest lists of heartbeats, and the namespaces whose list is complete; None before the
        first. No call is made. `clean` takes secrets out of names."""
        return (None, frozenset()) if self._reader is None else self._reader.workers(self._cluster, clean)

    async def aclose(self) -> None:
        """Drop the connection."""
        self._client = self._reader = None

    def _without(self, now: Instant, readings: dict[str, float], code: MissingCode, detail: str) -> Signals:
        """These readings; all other expected ids are missing for this reason, which is logged."""
        self._log.warning("cluster %s, Temporal's API: %s", self._cluster.name, detail)
        lacking = [i for i in self.expected if i not in readings]
        why = Missing(code=code, detail=detail)
        return Signals(time=now, readings={**dict.fromkeys(lacking), **readings}, missing=dict.fromkeys(lacking, why))


class _Reader:
    """Reads one connection, and remembers queues, versions and pollers between reads."""

    def __init__(self, cluster: ClusterSettings, client: Client, clock: Callable[[], Instant]) -> None:
        self._service = client.service_client
        self.client = RateLimitedClient(client)
        self.facts: ServerFacts | None = None
        self.versions: deque[str] = deque(maxlen=VERSIONS_REMEMBERED)
        self._facts_due = Instant.MIN
        self._clock = clock
        self._discovery = QueueDiscovery(self.client, Watched(cluster, client.namespace))
        describer = QueueDescriber(self.client, self._discovery.changes)
        self.server_clock, self._said_ahead = describer.server_clock, 0.0
        self._rotation = QueueRotation(describer, cluster.interval_sec, clock)
        self._polled: set[tuple[QueueKey, str]] = set()

    async def check_health(self) -> None:
        """SourceError when the frontend fails its health check, or the check is forbidden."""
        try:
            async with time_limit(HEALTH_TIMEOUT_SEC, f"no answer to the health check within {HEALTH_TIMEOUT_SEC:g} s"):
                await self.client.wait()
                healthy = await self._service.check_health(timeout=timedelta(seconds=HEALTH_TIMEOUT_SEC))
        except RPCError as error:
            if error.status in _NO_HEALTH_CHECK:
                return
            failed = rpc_error(error)
            raise SourceError(failed.code, failed.detail or "the health check failed") from error
        except RuntimeError as error:
            raise SourceError(MissingCode.TARGET_DOWN, connect_failure(error)) from error
        if not healthy:
            raise SourceError(MissingCode.TARGET_DOWN, "the frontend answers that it is not serving")

    async def read(self, now: Instant, within_sec: float) -> Signals:
        """The readings at `now`, within `within_sec`. Raises SourceError where the queues are not known."""
        end, before = time.monotonic() + within_sec, self.client.calls
        budget = int(within_sec * CALLS_PER_SEC * BUDGET_SHARE)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_sec):
                await self._discovery.advance(self._clock(), min(MAX_LISTS, budget // 3))
        if problem := self._discovery.problem():
            raise problem
        left, seconds = budget - (self.client.calls - before), max(0.0, end - time.monotonic())
        found = await self._rotation.describe(self._discovery.queues, self._discovery.versions, left, seconds)
        if abs((ahead := self.server_clock.ahead_sec) - self._said_ahead) > TOLERATED_SEC:
            text, self._said_ahead = (
                "the clock of Temporal's servers is %+.0f s from this machine's, which is allowed for",
                ahead,
            )
            log.warning(text, ahead, extra={"event": "temporal.clock_skew"})
        return self._signals(now, found)

    async def read_facts(self) -> None:
        """Version and identity of the cluster, once a minute, where it gives them."""
        if (now := self._clock()) >= self._facts_due:
            self._facts_due = now.add(seconds=FACTS_EVERY_SEC)
            try:
                self.facts = await self.client.server_facts()
                self.versions.append(self.facts.version)
            except SourceError as error:
                log.info("Temporal's API: %s", error, extra={"event": "temporal.facts_unknown"})

    def _signals(self, now: Instant, found: dict[QueueKey, Description]) -> Signals:
        self._polled.update((key, kind) for key, d in found.items() for kind in KINDS if d.of_kind(kind).recent)
        self._polled = {(key, kind) for key, kind in self._polled if key in found}
        values, rows = queues.queue_readings(found, self._polled)
        unversioned = [] if all(d.by_version for d in found.values()) else list(queues.VERSION_IDS)
        why = Missing(code=MissingCode.ABSENT, detail="the worker versions of some task queues cannot be listed")
        workers = self._heartbeats(found)
        return Signals(
            time=now,
            readings={REACHABLE: 1.0, **dict.fromkeys((*queues.QUEUE_IDS, *HEARTBEAT_IDS)), **values, **workers.values},
            no_traffic=tuple(i for i in queues.POLLER_IDS if i not in values and i not in unversioned),
            missing={**dict.fromkeys(unversioned, why), **workers.missing},
            breakdowns={**rows, **workers.rows},
            sources=dict.fromkeys(workers.values, ORIGIN),
            server=self.facts,
            changes=self._discovery.changes.recent(self._clock()),
        )

    def _heartbeats(self, found: dict[QueueKey, Description]) -> Read:
        """What the workers' heartbeats give, or why they cannot be read."""
        heartbeats, now = self._discovery.heartbeats, self._clock()
        heartbeats.saw(found, now)
        if (error := self._discovery.workers_unlisted()) is None:
            return heartbeats.read(self._discovery.namespaces, now)
        return Read({}, {}, dict.fromkeys(HEARTBEAT_IDS, self._unlisted(error)))

    def _unlisted(self, error: SourceError) -> Missing:
        if error.code is not MissingCode.ABSENT:
            return Missing(code=error.code, detail=str(error))
        version = self.facts.version if self.facts else "of an unknown version"
        detail = f"server {version} lists no worker heartbeats (since 1.30)"
        return Missing(code=MissingCode.NO_SOURCE, detail=detail)

    def workers(
        self, cluster: ClusterSettings, clean: Callable[[str], str]
    ) -> tuple[WorkersListed | None, frozenset[str]]:
        """The workers by the newest lists, and the namespaces whose list is complete."""
        error, discovery = self._discovery.workers_unlisted(), self._discovery
        problem = clean(self._unlisted(error).detail) if error else ""
        return workers_listed(cluster, discovery.heartbeats, discovery.namespaces, self._clock(), problem, clean)
