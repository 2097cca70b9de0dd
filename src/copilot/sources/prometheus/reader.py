"""What the live source and the range share: the queries for some moments, and the signals at each (docs/adr/0007).

First the targets of each role, then the counters with new series, then all leaves, joined into a few queries. Moments
at which other targets were down need other queries, and are queried apart."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from whenever import Instant

from copilot.metrics import promql
from copilot.metrics.answers import FELL, DialectAnswer, Sample, TargetStatus, by_group, prometheus_inputs
from copilot.metrics.resolve import measurable, resolve_signals, unless_still
from copilot.rules.signals.expressions import Leaf, Role
from copilot.rules.signals.readings import Missing, Signals
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.client import PrometheusClient, Series
from copilot.sources.prometheus.queries import ROLES, LeafQueries, LeafQuery, RoleQueries, RoleQuery, batches

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave: its series, or why it gave none."""

    series: list[Series] = field(default_factory=list)
    why: Missing | None = None


Ask = Callable[[str, range], Awaitable[Answer]]
"""Sends a query for these times (milliseconds since the epoch)."""
_Roles = tuple[tuple[Role, RoleQuery], ...]
"""What moments that can be queried together have in common."""
_At = Callable[[int], dict[tuple[str, ...], float] | Missing]
"""The values of a leaf at a time, by group."""
LeafAnswers = Mapping[_Roles, Sequence[tuple[LeafQuery, _At, _At]]]
"""By what moments have in common: each query with its values, and what new series add to them."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The targets at a time (milliseconds since the epoch), how to query the roles that may have been up, and the roles
    with targets that were up lately."""

    time: int
    statuses: Mapping[Role, TargetStatus | Missing]
    roles: _Roles
    seen: Sequence[Role]


class PrometheusReader:
    """The queries of one cluster's roles and leaves to one Prometheus. SettingsError where a file of the settings
    cannot be used."""

    def __init__(self, cluster: ClusterSettings, settings: PrometheusSettings, client: PrometheusClient) -> None:
        roles: tuple[Role, ...] = ROLES if cluster.cloud is None else ("worker",)
        self._specs = tuple(spec for spec in SPECS.values() if measurable(spec, roles))
        self._window = cluster.window
        self._client = client
        self._roles = {role: RoleQueries(role, settings, self._window) for role in roles}
        self._leaves = LeafQueries(self._specs, self._window)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.http.aclose()

    async def _moments(self, times: range, ask: Ask) -> list[Moment]:
        """The targets at each time. The roles remember those of the times before."""
        answers = await _ask_all({role: queries.targets() for role, queries in self._roles.items()}, times, ask)
        further: dict[Role, str] = {}
        for role, answer in answers.items():
            named = [((of.get("job", ""), of.get("instance", "")), of.get(promql.TAG)) for of, _ in answer.series]
            fell = {target for target, part in named if part == FELL}
            targets = {target for target, _ in named} if len(times) > 1 else ()
            further[role] = self._roles[role].more(targets, fell)
        more = await _ask_all(further, times, ask)
        samples: dict[tuple[Role, int], list[Sample]] = {}
        for role, answer in (*answers.items(), *more.items()):
            for labels, points in answer.series:
                for time, value in points.items():
                    samples.setdefault((role, time), []).append((labels, value))
        moments = []
        for time in times:
            statuses: dict[Role, TargetStatus | Missing] = {}
            roles: list[tuple[Role, RoleQuery]] = []
            for role, queries in self._roles.items():
                if (why := answers[role].why) is not None:
                    statuses[role] = why
                    roles.append((role, queries.query(())))
                else:
                    statuses[role] = status = queries.read_targets(samples.get((role, time), ()), time / 1000)
                    if status.up:
                        roles.append((role, queries.query(status.without_down())))
            seen = [role for role, queries in self._roles.items() if queries.seen]
            moments.append(Moment(time, statuses, tuple(roles), seen))
        return moments

    async def _new_series(self, moments: Sequence[Moment], times: range, ask: Ask) -> dict[Role, Answer]:
        """Which counters of each role have new series."""
        queries: dict[Role, str] = {}
        for role, of_role in self._roles.items():
            dialects = dict.fromkeys(d for m in moments for r, query in m.roles if r == role for d in query.dialects)
            queries[role] = of_role.new_series(self._leaves.leaves, dialects)
        return await _ask_all(queries, times, ask)

    async def _leaf_answers(
        self, moments: Sequence[Moment], new_series: Mapping[Role, Answer], times: range, ask: Ask
    ) -> LeafAnswers:
        """All leaves in every detected dialect."""
        groups: dict[_Roles, list[int]] = {}
        for moment in moments:
            groups.setdefault(moment.roles, []).append(moment.time)
        found = {}
        for roles, when in groups.items():
            queries = self._leaves.of(
                {role: replace(query, new_series=_counters(new_series[role], when)) for role, query in roles}
            )
            joined = {tuple(tag for tag, _ in batch): promql.join_expressions(batch) for batch in batches(queries)}
            by_tag: dict[str, Answer] = {}
            for tags, answer in (await _ask_all(joined, range(when[0], when[-1] + 1, times.step), ask)).items():
                of_batch = {tag: Answer(why=answer.why) for tag in tags}
                for series in answer.series:
                    of_batch.get(series[0].get(promql.TAG, ""), Answer()).series.append(series)
                by_tag |= of_batch
            found[roles] = [
                (query, _values_at(query, by_tag[f"{n}"]), _values_at(query, by_tag.get(f"{n}+", Answer())))
                for n, query in enumerate(queries)
            ]
        return found

    def _signals(
        self,
        moment: Moment,
        new_series: Mapping[Role, Answer],
        answers: LeafAnswers,
        now: Instant,
        versions: Collection[str] = (),
    ) -> Signals:
        """The signals at a moment, stamped `now`."""
        counters = {role: _counters(answer, (moment.time,)) for role, answer in new_series.items()}
        parts: dict[Leaf, list[DialectAnswer]] = {}
        for query, values_at, additions_at in answers[moment.roles]:
            role, values = query.leaf.series.role, values_at(moment.time)
            unknown = new_series[role].why if query.counter and not values else None
            added = unknown or (additions_at(moment.time) if query.counter in counters[role] else {})
            parts.setdefault(query.leaf, []).extend([(query.dialect, values), (query.dialect, added)])
        states, vector = prometheus_inputs(
            moment.statuses, parts, place=self._client.origin, window_sec=self._window, recently_up=moment.seen
        )
        return unless_still(resolve_signals(self._specs, states, vector, now, versions), vector)


async def _ask_all(queries: Mapping[K, str], times: range, ask: Ask) -> dict[K, Answer]:
    """The answer to each query, all sent at once; an empty one has an empty answer."""

    async def answer(query: str) -> Answer:
        return await ask(query, times) if query else Answer()

    return dict(zip(queries, await asyncio.gather(*map(answer, queries.values())), strict=True))


def _counters(new_series: Answer, times: Sequence[int]) -> frozenset[str]:
    """The names of counters that have new series at one of these times."""
    found = (labels.get(promql.NAME, "") for labels, points in new_series.series if not points.keys().isdisjoint(times))
    return frozenset(found)


def _values_at(query: LeafQuery, answer: Answer) -> _At:
    groups = by_group(query.leaf, query.dialect, answer.series)
    return lambda time: answer.why or {group: points[time] for group, points in groups.items() if time in points}
