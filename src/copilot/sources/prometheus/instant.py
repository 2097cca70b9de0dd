"""All signals of a cycle from a Prometheus that scrapes the cluster: in a handful of requests, all evaluated at the
same moment and over the same window."""

import asyncio
import logging
from collections.abc import Callable

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources import ThrottledLog, Versions, no_versions, time_limit
from copilot.sources.prometheus.client import MAX_ANSWER_BYTES, PrometheusClient
from copilot.sources.prometheus.reader import Answer, Ask, PrometheusReader

log = logging.getLogger(__name__)

TOLERATED_SKEW_SEC = 2.0
TARGETS_SHARE, NEW_SERIES_SHARE = 0.4, 0.6
"""Of the deadline: when the queries for targets, then those for new series, end at the latest."""


class PrometheusSource(PrometheusReader):
    """Queries a Prometheus for the taxonomy's signals over the cluster's rate window. Nothing runs between two reads.

    SettingsError where a file of the settings cannot be used. `transport` is httpx's seam for tests, `clock` gives the
    moment of evaluation, `versions` the server's where the Prometheus does not have them."""

    name = "prometheus"

    def __init__(
        self,
        cluster: ClusterSettings,
        settings: PrometheusSettings,
        *,
        deadline_sec: float = 8.0,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], Instant] = Instant.now,
        versions: Versions = no_versions,
    ) -> None:
        self._versions = versions
        client = PrometheusClient(settings, max_bytes=max_answer_bytes, transport=transport)
        super().__init__(cluster, settings, client)
        self.expected = tuple(spec.id for spec in self._specs)
        self._deadline = deadline_sec
        self._clock = clock
        self._log = ThrottledLog(log, "prometheus.query_failed")

    async def read(self, now: Instant) -> Signals:
        """The signals at the present moment by the Prometheus' clock, stamped `now`. Queries without an answer by the
        deadline are missing."""
        skew_sec, failures = self._skew_sec, list[SourceError]()
        began = asyncio.get_running_loop().time()

        def until(share: float) -> Ask:
            seconds = share * self._deadline

            async def ask(query: str, times: range) -> Answer:
                left = began + seconds - asyncio.get_running_loop().time()
                try:
                    async with time_limit(max(0.0, left), f"timed out after {round(seconds, 2):g} s"):
                        return Answer(await self._client.query(query, times[0]))
                except SourceError as error:
                    failures.append(error)
                    # `absent` means that an answer lacks a series; an API that is not there (404) gave no answer.
                    code = MissingCode.TARGET_DOWN if error.code is MissingCode.ABSENT else error.code
                    return Answer(why=Missing(code=code, detail=error.detail))

            return ask

        times = self._present(now)
        moments = await self._moments(times, until(TARGETS_SHARE))
        if abs(self._skew_sec - skew_sec) > TOLERATED_SKEW_SEC:
            text = "%s has a clock %+.0f s from this machine's, which is allowed for: set both by NTP"
            log.warning(text, self._client.origin, self._skew_sec, extra={"event": "prometheus.clock_skew"})
            moments = await self._moments(times := self._present(now), until(TARGETS_SHARE))
        new_series = await self._new_series(moments, times, until(NEW_SERIES_SHARE))
        answers = await self._leaf_answers(moments, new_series, times, until(1.0))
        if failures:
            causes = "; ".join(dict.fromkeys(failure.detail for failure in failures))
            self._log.warning("%d queries to %s failed: %s", len(failures), self._client.origin, causes)
        versions = await self._versions()
        return await asyncio.to_thread(self._signals, moments[0], new_series, answers, now, versions)

    @property
    def _skew_sec(self) -> float:
        """How far its clock is ahead of ours; 0 where that does not matter."""
        ahead = self._client.ahead_sec or 0.0
        return ahead if abs(ahead) > TOLERATED_SKEW_SEC else 0.0

    def _present(self, now: Instant) -> range:
        """The present moment by its clock, in milliseconds since the epoch."""
        at = max(now, self._clock()).timestamp(unit="millisecond") + round(1000 * self._skew_sec)
        return range(at, at + 1)
