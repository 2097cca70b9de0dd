"""The source of a cluster of Temporal Cloud: the newest minute of its namespaces, from the account's endpoint or from a
Prometheus that scrapes it."""

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics import promql
from copilot.metrics.cloud import CLOUD_IDS, CloudMinute, cloud_signals, sample
from copilot.rules.signals.cloud import FAMILIES
from copilot.rules.signals.expressions import Matcher
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.settings.clusters import PrometheusSettings
from copilot.sources import time_limit
from copilot.sources.prometheus.client import PrometheusClient

OLDEST_SEC = 360.0
"""A minute that began longer ago says nothing of now: pages are two to three minutes old, and one may be missed."""
DEADLINE_SEC = 8.0
LOOK_BACK = "6m"


class Minutes(Protocol):
    """Where minutes come from."""

    async def newest(self) -> CloudMinute:
        """The newest minute. SourceError: why there is none."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class CloudSource:
    """Reads the signals of these namespaces from the newest minute."""

    name = "cloud"
    expected = CLOUD_IDS

    def __init__(
        self, minutes: Minutes, namespaces: Collection[str], *, clock: Callable[[], Instant] = Instant.now
    ) -> None:
        self._minutes = minutes
        self._namespaces = tuple(namespaces)
        self._clock = clock

    async def read(self, now: Instant) -> Signals:
        """The signals of the newest minute, at `now`; all are missing where it is too old or cannot be read."""
        try:
            async with time_limit(DEADLINE_SEC):
                minute = (await self._minutes.newest()).of(self._namespaces)
            age = (self._clock() - minute.at).total("seconds")
            if age > OLDEST_SEC:
                detail = f"the newest minute of Temporal Cloud's metrics began {age / 60:.0f} min ago"
                raise SourceError(MissingCode.TIMEOUT, detail)
        except SourceError as error:
            why = Missing(code=error.code, detail=error.detail)
            return Signals(time=now, readings=dict.fromkeys(CLOUD_IDS), missing=dict.fromkeys(CLOUD_IDS, why))
        return await asyncio.to_thread(cloud_signals, minute, now)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._minutes.aclose()


class ScrapedCloud:
    """The minutes in a Prometheus that scrapes Temporal Cloud.

    It keeps the time of each sample, and shows a series for five minutes after its last one. So the samples themselves
    are read, and those of the newest minute taken. SettingsError where a file of the settings cannot be used."""

    def __init__(
        self, settings: PrometheusSettings, namespaces: Collection[str], *, clock: Callable[[], Instant] = Instant.now
    ) -> None:
        self._client = PrometheusClient(settings)
        self._prefix = settings.prefix
        names = "|".join(sorted(settings.prefix + family for family in FAMILIES))
        these = (
            Matcher("__name__", "=~", names),
            Matcher("temporal_namespace", "=~", "|".join(n.replace(".", "[.]") for n in sorted(namespaces))),
            *promql.parse_matchers(settings.selector),
        )
        self._query = f"{promql.selector('', these)}[{LOOK_BACK}]"
        self._clock = clock

    async def newest(self) -> CloudMinute:
        """The newest minute that was scraped. SourceError: why there is none."""
        series = await self._client.query_samples(self._query, self._clock().timestamp(unit="millisecond"))
        newest = max((time for _, points in series for time in points), default=None)
        if newest is None:
            raise SourceError(
                MissingCode.ABSENT,
                f"{self._client.origin} has no temporal_cloud_v1 series of these namespaces: let it scrape Temporal "
                "Cloud with honor_timestamps, or fix selector and prefix",
            )
        samples = (
            sample(labels.get("__name__", "").removeprefix(self._prefix), labels, points[newest])
            for labels, points in series
            if newest in points
        )
        return CloudMinute(Instant.from_timestamp(newest, unit="millisecond"), tuple(samples))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.http.aclose()
