"""The pages of a cluster: read every few seconds in the background, evaluated when `read` is called."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics.dialects import MetricName, known_names
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of, measurable, read_scrapes
from copilot.metrics.window import TargetScrapes
from copilot.rules.signals.expressions import Role
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.sources import ThrottledLog, Versions, no_versions
from copilot.sources.scrape.discovery import Discovery
from copilot.sources.scrape.pages import MAX_PAGE_BYTES, PageParser, fetch_page, page_client, same_process, sums
from copilot.sources.scrape.pods import PodApi

log = logging.getLogger(__name__)

SCRAPE_TIMEOUT_SEC = 3.0
WARM_UP_SEC = 2.0
IDLE_INTERVALS = 5
FROZEN_SEC = 120.0
"""A live server's page changes sooner: its memory is measured every minute."""


@cache
def known_to(role: Role, dialect: str | None) -> Mapping[str, MetricName]:
    """The sample names that are read on pages of this role, one object for all: targets share series by it."""
    return known_names(role, leaves_of(SPECS.values()), [PRESENCE_METRIC[role]], dialect)


class _Endpoint:
    """One page and its scrapes. `attempts`: reads since the background task started, which it may have `joined` later.
    `sums`: those of its last read, None where that failed. `twin`: another page of the same process."""

    def __init__(self, endpoint: MetricsEndpoint, window_sec: float, *, joined: bool = False) -> None:
        self.settings = endpoint
        self.url = httpx.URL(endpoint.url)
        known = known_to(endpoint.role, endpoint.dialect)
        self.target = TargetScrapes(endpoint.role, endpoint.name, known, window_sec=window_sec)
        self.parser = PageParser(self.target)
        self.attempts = 0
        self.joined = joined
        self.sums: frozenset[int] | None = None
        self.twin: _Endpoint | None = None
        self.log = ThrottledLog(log, "scrape.page_failed")
        self.left_out = ThrottledLog(log, "scrape.left_out")
        self._digest: int | None = None
        self._since = Instant.MIN

    def check_changes(self, body: bytes, at: Instant) -> None:
        """SourceError where a server's page has not changed for two minutes: it comes from a cache, or from an exporter
        that repeats the last values of a server that is gone."""
        if self.target.role != "server":
            return
        if (digest := hash(body)) != self._digest:
            self._digest, self._since = digest, at
        unchanged = (at - self._since).total("seconds")
        if unchanged > FROZEN_SEC:
            detail = f"the page has not changed for {unchanged:.0f} s: does a proxy or an exporter cache it?"
            raise SourceError(MissingCode.TARGET_DOWN, detail)

    def find_twin(self, others: Iterable["_Endpoint"]) -> None:
        """Look for a page of the same process among these; what was found before holds while a read fails."""
        if self.sums is not None:
            same = (o for o in others if o.target.role == self.target.role and o.sums and not o.twin)
            found = next((o for o in same if same_process(o.sums or frozenset(), self.sums)), None)
            if found is not None or self.twin is None or self.twin.sums is not None:
                self.twin = found

    @property
    def counts(self) -> bool:
        """Whether its readings count: no other page of its process was read."""
        return self.twin is None or self.twin.sums is None

    @property
    def settled(self) -> bool:
        """Whether there is no need to wait for one more read: it has two scrapes, or cannot be read."""
        return self.joined or (self.attempts > 0 and (self.target.failures > 0 or len(self.target.times) > 1))


class ScrapeSource:
    """Reads a cluster's metrics pages in the background: from the first `read()` until the last one is `idle_sec` ago
    (default: five evaluation intervals). `read()` gives the taxonomy's signals over the cluster's rate window.

    `now` is the clock that stamps the pages, `versions` tells the server's where the pages do not, `nameservers` are
    queried for what is discovered (host and port; by default those of this machine), `pod_api` lists pods (by default
    that of the pod in which this process runs)."""

    name = "metrics"

    def __init__(
        self,
        cluster: ClusterSettings,
        *,
        deadline_sec: float = 8.0,
        idle_sec: float | None = None,
        max_page_bytes: int = MAX_PAGE_BYTES,
        now: Callable[[], Instant] = Instant.now,
        versions: Versions = no_versions,
        nameservers: Sequence[tuple[str, int]] = (),
        pod_api: PodApi | None = None,
    ) -> None:
        self._versions = versions
        self._idle = idle_sec if idle_sec is not None else IDLE_INTERVALS * cluster.interval_sec
        self._window = cluster.window
        self._interval = cluster.scrape_interval
        self._deadline = deadline_sec
        self._max_bytes = max_page_bytes
        self._now = now
        self._client = page_client(*(endpoint.url for endpoint in cluster.metrics))
        self._discovery = Discovery(cluster.metrics, nameservers, pod_api)
        self._endpoints = [_Endpoint(endpoint, self._window) for endpoint in cluster.metrics]
        self.expected = tuple(s.id for s in SPECS.values() if measurable(s, [e.role for e in cluster.metrics]))
        self._attempted = asyncio.Condition()
        self._parsing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._last_read = 0.0
        self._readers = 0

    @property
    def running(self) -> bool:
        """Whether the background task reads pages."""
        return self._task is not None and not self._task.done()

    async def read(self, now: Instant) -> Signals:
        """The signals of the newest pages. Waits, up to the deadline, until each page was read twice or failed."""
        if not self.running:
            ended, self._task = self._task, None
            if ended is not None:
                ended.result()
            for endpoint in self._endpoints:
                endpoint.attempts = 0
            self._task = asyncio.create_task(self._run(), name="scrape")
        self._readers += 1
        try:
            async with asyncio.timeout(self._deadline), self._attempted:
                await self._attempted.wait_for(lambda: all(e.settled for e in self._endpoints))
        except TimeoutError:
            log.debug("not every page was read twice before the deadline")
        finally:
            self._readers -= 1
            self._last_read = asyncio.get_running_loop().time()
        versions = await self._versions()
        async with self._parsing:
            signals = await asyncio.to_thread(
                read_scrapes,
                SPECS.values(),
                [e.target for e in self._endpoints if e.counts],
                max(now, self._now()),
                self._window,
                interval_sec=self._interval,
                versions=versions,
            )
        return signals.model_copy(update={"time": now})

    async def aclose(self) -> None:
        """Stop the background task and close the connections."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._client.aclose()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_time = loop.time()
        first = True
        while self._readers or loop.time() - self._last_read < self._idle:
            if self._discovery.needed:
                await self._discover(first=first)
            await asyncio.gather(*(self._scrape(e) for e in self._endpoints))
            for number, endpoint in enumerate(self._endpoints):
                endpoint.find_twin(self._endpoints[:number])
            next_time = max(next_time + (min(self._interval, WARM_UP_SEC) if first else self._interval), loop.time())
            first = False
            await asyncio.sleep(next_time - loop.time())

    async def _discover(self, *, first: bool) -> None:
        """Read from now on what is there now. An address that left is no target any more; one that came while others
        are read is not waited for."""
        known = {(e.url, e.target.role): e for e in self._endpoints}
        now = await self._discovery.endpoints()
        found = [known.get((httpx.URL(e.url), e.role)) or _Endpoint(e, self._window, joined=not first) for e in now]
        async with self._parsing:
            self._endpoints = found

    async def _scrape(self, endpoint: _Endpoint) -> None:
        at, found = self._now(), None
        pods = self._discovery.pods(endpoint.settings)
        try:
            if pods is not None:
                raise pods.problem or SourceError(MissingCode.ABSENT, "no pods were found")
            body = await fetch_page(
                self._client,
                endpoint.url,
                timeout_sec=min(self._interval, SCRAPE_TIMEOUT_SEC),
                max_bytes=self._max_bytes,
            )
            endpoint.check_changes(body, at)
            async with self._parsing:
                now = at.timestamp(unit="millisecond") / 1000
                endpoint.target.record(at, await asyncio.to_thread(endpoint.parser.parse, body, now))
                found = await asyncio.to_thread(sums, body) if len(self._endpoints) > 1 else None
                if left_out := endpoint.parser.left_out:
                    endpoint.left_out.warning("%s: %s", endpoint.target.name, left_out)
        except SourceError as error:
            endpoint.target.fail(Missing(code=error.code, detail=error.detail))
            endpoint.log.warning("cannot read %s: %s", endpoint.target.name, error.detail)
            if pods is None:
                self._discovery.list_again()
        endpoint.sums = found
        endpoint.attempts += 1
        async with self._attempted:
            self._attempted.notify_all()
