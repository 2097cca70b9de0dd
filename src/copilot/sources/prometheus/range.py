"""The signals of the past from a Prometheus: as the live source would have read them, at each step of a range.

The queries are the live source's, as range queries, which are instant queries at each step: no step's readings contain
anything later. A range is read in pieces, to bound the memory."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics.answers import TargetStatus
from copilot.metrics.resolve import PRESENCE_METRIC
from copilot.rules.signals.expressions import Role
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources import time_limit
from copilot.sources.prometheus.client import PrometheusClient, Series
from copilot.sources.prometheus.queries import REMEMBER_SEC, ROLES
from copilot.sources.prometheus.reader import Answer, LeafAnswers, Moment, PrometheusReader

STEPS = 720
"""Steps per query; servers give at most 11,000 points per series, and answers are held in memory."""
MIN_STEPS = 10
TIMEOUT_SEC = 30.0
WARM_UP_STEP_MS = 30_000
TOO_MUCH = frozenset({MissingCode.TIMEOUT, MissingCode.DROPPED, MissingCode.PARSE})


class PrometheusRange(PrometheusReader):
    """Reads the past of a Prometheus. `note` gets a sentence about each thing a person should know of the readings.

    SettingsError where a file of the settings cannot be used. `transport` is httpx's seam for tests."""

    def __init__(
        self,
        cluster: ClusterSettings,
        settings: PrometheusSettings,
        *,
        note: Callable[[str], None] = lambda _: None,
        steps: int = STEPS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(cluster, settings, PrometheusClient(settings, transport=transport))
        self._note = note
        self._noted: set[Role] = set()
        self._steps = steps
        self._answered = False

    async def ticks(self, times: range) -> AsyncIterator[Signals]:
        """The readings at each of these times (milliseconds since the epoch).

        SourceError when it does not answer, and (before the first tick) when no target was up at any of the times."""
        before = range(times[0] - round(REMEMBER_SEC * 1000), times[0], max(times.step, WARM_UP_STEP_MS))
        async for _ in self._pieces(before):
            pass
        held: list[tuple[Moment, dict[Role, Answer], LeafAnswers]] = []
        any_up = False
        async for some, moments in self._pieces(times):
            new_series = await self._new_series(moments, some, self._ask)
            answers = await self._leaf_answers(moments, new_series, some, self._ask)
            any_up = any_up or any(moment.roles for moment in moments)
            held += [(moment, new_series, answers) for moment in moments]
            if any_up:
                for known in held:
                    yield self._signals(*known, Instant.from_timestamp(known[0].time, unit="millisecond"))
                held.clear()
        if not any_up:
            presence = " nor ".join(PRESENCE_METRIC[role] for role in ROLES)
            detail = f"no target has {presence} in this range: check its retention, and the selector"
            raise SourceError(MissingCode.ABSENT, detail, asked=self._client.origin)

    async def _pieces(self, times: range) -> AsyncIterator[tuple[range, list[Moment]]]:
        done = 0
        while done < len(times):
            some = times[done : done + self._steps]
            moments = await self._moments(some, self._ask)
            self._note_without_up(moments)
            yield some, moments
            done += len(some)

    def _note_without_up(self, moments: Sequence[Moment]) -> None:
        for role in self._roles.keys() - self._noted:
            statuses = [status for m in moments if isinstance(status := m.statuses[role], TargetStatus) and status.up]
            if statuses and not any(status.listed for status in statuses):
                self._noted.add(role)
                self._note(f"there is no `up`: a {role} target counts as read while it has {PRESENCE_METRIC[role]}")

    async def _ask(self, query: str, times: range) -> Answer:
        return Answer(await self._query(query, times))

    async def _query(self, query: str, times: range) -> list[Series]:
        """The answer to a query; in halves where it is too large for the server or for us."""
        try:
            async with time_limit(TIMEOUT_SEC):
                found = await self._client.query_range(query, times)
            self._answered = True
            return found
        except SourceError as error:
            too_much = error.code in TOO_MUCH or (self._answered and error.code is MissingCode.TARGET_DOWN)
            half = len(times) // 2
            if not too_much or half < MIN_STEPS:
                raise SourceError(error.code, error.detail, asked=self._client.origin) from error
        self._steps = min(self._steps, half)
        return _merged([*await self._query(query, times[:half]), *await self._query(query, times[half:])])


def _merged(found: Iterable[Series]) -> list[Series]:
    """The same series, each once."""
    merged: dict[frozenset[tuple[str, str]], Series] = {}
    for labels, points in found:
        merged.setdefault(frozenset(labels.items()), (labels, {}))[1].update(points)
    return list(merged.values())
