"""Bare /metrics endpoints: read every few seconds in the background, evaluated when asked."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics.dialects import known_names
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of, measurable, read_scrapes
from copilot.metrics.window import TargetScrapes
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, SignalSpec
from copilot.settings.clusters import ClusterSettings
from copilot.sources.complaints import Complaints
from copilot.sources.scrape.pages import MAX_PAGE_BYTES, PageParser, fetch_page, trusted
from copilot.telemetry.spans import SourceClient

log = logging.getLogger(__name__)

SCRAPE_TIMEOUT_SEC = 3.0
WARM_UP_SEC = 2.0
IDLE_INTERVALS = 5
FROZEN_SEC = 120.0
"""A server's page that says the same for so long is no live one's: its memory is measured every minute."""
PARSE_INLINE_BYTES = 100_000


class _Endpoint:
    """One page with what was read of it."""

    def __init__(self, url: httpx.URL, target: TargetScrapes) -> None:
        self.url = url
        self.target = target
        self.parser = PageParser(target)
        self.attempts = 0
        self.complaints = Complaints(log)
        self._said: int | None = None
        self._since = Instant.MIN

    def check_alive(self, body: bytes, at: Instant) -> None:
        """SourceError where it is a server's page that has not changed for two minutes: it comes out of a cache, or
        from an exporter that goes on telling the last of what is gone."""
        if self.target.role != "server":
            return
        if (said := hash(body)) != self._said:
            self._said, self._since = said, at
        unchanged = (at - self._since).total("seconds")
        if unchanged > FROZEN_SEC:
            detail = f"the page has not changed for {unchanged:.0f} s: does a proxy or an exporter keep it?"
            raise SourceError(MissingCode.TARGET_DOWN, detail)

    @property
    def settled(self) -> bool:
        """Whether waiting for one more read would not help: it has a window, or cannot be read."""
        return self.attempts > 0 and (self.target.failures > 0 or len(self.target.times) > 1)


class ScrapeSource:
    """Reads a cluster's metrics pages in the background, from the first `read()` on until nobody asked for `idle_sec`
    (five observation intervals). `read()` gives the taxonomy's signals over the cluster's rate window.

    `transport` is httpx's seam for tests, `now` the clock the pages are stamped by."""

    name = "metrics"

    def __init__(
        self,
        cluster: ClusterSettings,
        *,
        deadline_sec: float = 8.0,
        idle_sec: float | None = None,
        max_page_bytes: int = MAX_PAGE_BYTES,
        specs: Iterable[SignalSpec] = SPECS.values(),
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], Instant] = Instant.now,
    ) -> None:
        self._specs = tuple(specs)
        self._idle = idle_sec if idle_sec is not None else IDLE_INTERVALS * cluster.interval_sec
        self._window = cluster.window
        self._pace = cluster.scrape_interval
        self._deadline = deadline_sec
        self._max_bytes = max_page_bytes
        self._now = now
        self._client = SourceClient(
            "metrics",
            own_traces=True,
            transport=transport,
            trust_env=False,
            timeout=None,
            follow_redirects=False,
            verify=trusted(*(endpoint.url for endpoint in cluster.metrics)),
        )
        leaves = leaves_of(self._specs)
        self._endpoints = []
        for endpoint in cluster.metrics:
            url = httpx.URL(endpoint.url)
            target = TargetScrapes(
                endpoint.role,
                str(url.copy_with(username="", password="")) if url.userinfo else endpoint.url,
                known_names(endpoint.role, leaves, [PRESENCE_METRIC[endpoint.role]], endpoint.dialect),
                window_sec=self._window,
            )
            self._endpoints.append(_Endpoint(url, target))
        self._expected = tuple(s.id for s in self._specs if measurable(s, [e.role for e in cluster.metrics]))
        self._news = asyncio.Condition()
        self._pages = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._asked = 0.0
        self._readers = 0

    @property
    def expected(self) -> tuple[str, ...]:
        """All ids the configured roles' pages hold."""
        return self._expected

    @property
    def running(self) -> bool:
        """Whether pages are being read in the background."""
        return self._task is not None and not self._task.done()

    async def read(self, now: Instant) -> Signals:
        """The signals over the newest pages, waiting (up to the deadline) for each page to be read twice or fail."""
        if not self.running:
            ended, self._task = self._task, None
            if ended is not None:
                ended.result()
            for endpoint in self._endpoints:
                endpoint.attempts = 0
            self._task = asyncio.create_task(self._run(), name="scrape")
        self._readers += 1
        try:
            async with asyncio.timeout(self._deadline), self._news:
                await self._news.wait_for(lambda: all(e.settled for e in self._endpoints))
        except TimeoutError:
            log.debug("evaluating before every page was read twice")
        finally:
            self._readers -= 1
            self._asked = asyncio.get_running_loop().time()
        async with self._pages:
            signals = await asyncio.to_thread(
                read_scrapes,
                self._specs,
                [e.target for e in self._endpoints],
                max(now, self._now()),
                self._window,
                interval_sec=self._pace,
            )
        return signals.model_copy(update={"time": now})

    async def aclose(self) -> None:
        """Stop reading and close the connections."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._client.aclose()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        beat = loop.time()
        first = True
        while self._readers or loop.time() - self._asked < self._idle:
            await asyncio.gather(*(self._scrape(e) for e in self._endpoints))
            beat = max(beat + (min(self._pace, WARM_UP_SEC) if first else self._pace), loop.time())
            first = False
            await asyncio.sleep(beat - loop.time())

    async def _scrape(self, endpoint: _Endpoint) -> None:
        at = self._now()
        try:
            body = await fetch_page(
                self._client,
                endpoint.url,
                timeout_sec=min(self._pace, SCRAPE_TIMEOUT_SEC),
                max_bytes=self._max_bytes,
            )
            endpoint.check_alive(body, at)
            async with self._pages:
                if len(body) > PARSE_INLINE_BYTES:
                    page = await asyncio.to_thread(endpoint.parser.parse, body)
                else:
                    page = endpoint.parser.parse(body)
                endpoint.target.record(at, page)
        except SourceError as error:
            endpoint.target.fail(Missing(code=error.code, detail=error.detail))
            endpoint.complaints.say("cannot read %s: %s", endpoint.target.name, error.detail)
        endpoint.attempts += 1
        async with self._news:
            self._news.notify_all()
