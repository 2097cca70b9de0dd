"""All signals of a cycle from a Prometheus that scrapes the cluster, in a handful of requests (docs/adr/0007).

First the targets of each role and the counters with new series, then all leaves, joined into a few queries. All are
evaluated at the same moment and over the same window."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics import promql
from copilot.metrics.answers import DialectAnswer, Sample, TargetStatus, by_group, prometheus_inputs
from copilot.metrics.resolve import measurable, resolve_signals
from copilot.metrics.window import epoch_seconds
from copilot.rules.signals.expressions import Gauge, Leaf, Role
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, SignalSpec
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources import ThrottledLog
from copilot.sources.prometheus.client import MAX_ANSWER_BYTES, PrometheusClient
from copilot.sources.prometheus.queries import ROLES, LeafQueries, LeafQuery, RoleQueries, RoleQuery, batches

log = logging.getLogger(__name__)

TARGETS_SHARE = 0.4
"""Of the deadline: the most that the queries for targets may take."""
Answer = list[Sample] | Missing


class PrometheusSource:
    """Queries a Prometheus for the taxonomy's signals over the cluster's rate window. Nothing runs between two reads.

    SettingsError where a file of the settings cannot be used. `transport` is httpx's seam for tests, `clock` gives the
    moment of evaluation."""

    name = "prometheus"

    def __init__(
        self,
        cluster: ClusterSettings,
        settings: PrometheusSettings,
        *,
        deadline_sec: float = 8.0,
        specs: Iterable[SignalSpec] = SPECS.values(),
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], Instant] = Instant.now,
    ) -> None:
        self._specs = tuple(s for s in specs if measurable(s, ROLES))
        self._window = cluster.window
        self._deadline = deadline_sec
        self._clock = clock
        self._client = PrometheusClient(settings, max_bytes=max_answer_bytes, transport=transport)
        self._roles = {role: RoleQueries(role, settings, self._window) for role in ROLES}
        self._leaves = LeafQueries(self._specs, self._window)
        self._log = ThrottledLog(log, "prometheus.query_failed")

    @property
    def expected(self) -> tuple[str, ...]:
        """All ids that metrics can give."""
        return tuple(s.id for s in self._specs)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read(self, now: Instant) -> Signals:
        """The signals at the present moment, stamped `now`. Queries without an answer by the deadline are missing."""
        cycle = _Cycle(self._client, epoch_seconds(max(now, self._clock())))
        cycle.end = cycle.began + TARGETS_SHARE * self._deadline
        standings, new_series = await self._targets(cycle)
        cycle.end = cycle.began + self._deadline
        parts = await self._parts(cycle, standings, new_series)
        if cycle.failures:
            causes = "; ".join(dict.fromkeys(f.detail for f in cycle.failures))
            self._log.warning("%d queries to %s failed: %s", len(cycle.failures), self._client.origin, causes)
        inputs = prometheus_inputs(
            standings,
            parts,
            place=self._client.origin,
            window_sec=self._window,
            recently_up=[role for role in ROLES if self._roles[role].seen],
        )
        return await asyncio.to_thread(resolve_signals, self._specs, inputs, now)

    async def _targets(self, cycle: "_Cycle") -> tuple[dict[Role, TargetStatus | Missing], dict[Role, Answer]]:
        """The targets of each role, and its counters with new series."""
        leaves = self._leaves.leaves
        targets = {role: queries.targets() for role, queries in self._roles.items()}
        new_series = {role: queries.new_series(leaves) for role, queries in self._roles.items()}
        answers = await cycle.query([*targets.values(), *filter(None, new_series.values())])
        standings: dict[Role, TargetStatus | Missing] = {}
        for role, query in targets.items():
            answer = answers[query]
            read = self._roles[role].read_targets
            standings[role] = answer if isinstance(answer, Missing) else read(answer, cycle.at)
        late = {role: self._roles[role].new_series(leaves) for role in ROLES if not new_series[role]}
        if any(late.values()):
            answers |= await cycle.query(filter(None, late.values()))
        return standings, {role: answers[query] for role, query in (new_series | late).items() if query}

    async def _parts(
        self, cycle: "_Cycle", standings: Mapping[Role, TargetStatus | Missing], new_series: Mapping[Role, Answer]
    ) -> dict[Leaf, list[DialectAnswer]]:
        """All leaves in every detected dialect."""
        roles: dict[Role, RoleQuery] = {}
        for role, queries in self._roles.items():
            standing = standings[role]
            if not isinstance(standing, TargetStatus):
                roles[role] = queries.query((), _counters(new_series.get(role)))
            elif standing.up:
                roles[role] = queries.query(standing.without_down(), _counters(new_series.get(role)))
        queried = self._leaves.of(roles)
        answers = await cycle.query_leaves(queried)
        parts: dict[Leaf, list[DialectAnswer]] = {}
        for number, query in enumerate(queried):
            values = _grouped(query, answers[f"{number}"])
            added = _grouped(query, answers.get(f"{number}+", []))
            unknown = new_series.get(query.leaf.series.role)
            if isinstance(unknown, Missing) and not values and not isinstance(query.leaf, Gauge):
                added = unknown
            parts.setdefault(query.leaf, []).append(DialectAnswer(query.dialect, values, added))
        return parts


class _Cycle:
    """The queries of one read: all for the moment `at`, each until `end` on the loop's clock."""

    def __init__(self, client: PrometheusClient, at: float) -> None:
        self._client = client
        self.at = at
        self.began = self.end = asyncio.get_running_loop().time()
        self.failures: list[SourceError] = []

    async def query(self, queries: Iterable[str]) -> dict[str, Answer]:
        """The answer to each query, all sent at once; missing where it failed or is late."""
        wanted = list(dict.fromkeys(queries))
        return dict(zip(wanted, await asyncio.gather(*(self._query(q) for q in wanted)), strict=True))

    async def query_leaves(self, queries: Iterable[LeafQuery]) -> dict[str, Answer]:
        """The answer to each leaf's query by its tag, in few requests."""
        joined = [(promql.join_expressions(batch), batch) for batch in batches(queries)]
        answers = await self.query(query for query, _ in joined)
        found: dict[str, Answer] = {}
        for query, batch in joined:
            answer = answers[query]
            if isinstance(answer, Missing):
                found.update((tag, answer) for tag, _ in batch)
                continue
            by_tag: dict[str, list[Sample]] = {tag: [] for tag, _ in batch}
            for sample in answer:
                by_tag.get(sample[0].get(promql.TAG, ""), []).append(sample)
            found.update(by_tag)
        return found

    async def _query(self, query: str) -> Answer:
        try:
            async with asyncio.timeout_at(self.end):
                return await self._client.query(query, self.at)
        except TimeoutError:
            error = SourceError(MissingCode.TIMEOUT, f"timed out after {round(self.end - self.began, 2):g} s")
        except SourceError as failed:
            error = failed
        self.failures.append(error)
        # `absent` means that an answer lacks a series; an API that is not there (404) gave no answer.
        code = MissingCode.TARGET_DOWN if error.code is MissingCode.ABSENT else error.code
        return Missing(code=code, detail=error.detail)


def _counters(new_series: Answer | None) -> frozenset[str]:
    if not isinstance(new_series, list):
        return frozenset()
    return frozenset(labels.get(promql.NAME, "") for labels, _ in new_series)


def _grouped(query: LeafQuery, answer: Answer) -> dict[tuple[str, ...], float] | Missing:
    return answer if isinstance(answer, Missing) else by_group(query.leaf, query.dialect, answer)
