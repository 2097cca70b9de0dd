"""The signals of the past from a Prometheus: as the live source would have read them, at each step of a range.

The queries are the live source's, as range queries, which are instant queries at each step: no step's readings contain
anything later. A range is read in pieces, to bound the memory: targets, counters with new series, then all leaves.
Steps at which other targets were down need other queries, and are queried apart."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics import promql
from copilot.metrics.answers import DialectAnswer, Sample, Target, TargetStatus, by_group, prometheus_inputs
from copilot.metrics.resolve import PRESENCE_METRIC, measurable, resolve_signals
from copilot.rules.signals.expressions import Leaf, Role
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, SignalSpec
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.client import Points, PrometheusClient, Series
from copilot.sources.prometheus.queries import (
    REMEMBER_SEC,
    ROLES,
    LeafQueries,
    LeafQuery,
    RoleQueries,
    RoleQuery,
    batches,
)

STEPS = 720
"""Steps per query; servers give at most 11,000 points per series, and answers are held in memory."""
MIN_STEPS = 10
TIMEOUT_SEC = 30.0
WARM_UP_STEP_MS = 30_000
TOO_MUCH = frozenset({MissingCode.TIMEOUT, MissingCode.DROPPED, MissingCode.PARSE})

_Roles = tuple[tuple[Role, RoleQuery], ...]
"""What moments that can be queried together have in common."""
_Answered = tuple[LeafQuery, Mapping[tuple[str, ...], Points], Mapping[tuple[str, ...], Points]]
"""A query, its values, and what new series add to them."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """The targets at a time (milliseconds since the epoch), and how to query the roles that were up."""

    time: int
    standings: Mapping[Role, TargetStatus]
    roles: _Roles
    seen: Sequence[Role]


@dataclass(slots=True)
class _Piece:
    """What is known of some steps: the moments, the counters with new series by role and time, the leaves' answers."""

    moments: list[_Moment]
    new_series: dict[Role, dict[int, set[str]]] = field(default_factory=dict)
    answers: dict[_Roles, list[_Answered]] = field(default_factory=dict)

    def parts(self, moment: _Moment) -> dict[Leaf, list[DialectAnswer]]:
        """All leaves at a moment."""
        time, found = moment.time, dict[Leaf, list[DialectAnswer]]()
        for query, values, additions in self.answers.get(moment.roles, ()):
            is_new = query.counter in self.new_series.get(query.leaf.series.role, {}).get(time, ())
            added = _at(time, additions) if is_new else {}
            found.setdefault(query.leaf, []).append(DialectAnswer(query.dialect, _at(time, values), added))
        return found


class PrometheusRange:
    """Reads the past of a Prometheus. `note` gets a sentence about each thing a person should know of the readings.

    SettingsError where a file of the settings cannot be used. `transport` is httpx's seam for tests."""

    def __init__(
        self,
        cluster: ClusterSettings,
        settings: PrometheusSettings,
        *,
        note: Callable[[str], None] = lambda _: None,
        specs: Iterable[SignalSpec] = SPECS.values(),
        steps: int = STEPS,
        timeout_sec: float = TIMEOUT_SEC,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._specs = tuple(s for s in specs if measurable(s, ROLES))
        self._window = cluster.window
        self._client = PrometheusClient(settings, transport=transport)
        self._roles = {role: RoleQueries(role, settings, self._window) for role in ROLES}
        self._leaves = LeafQueries(self._specs, self._window)
        self._note = note
        self._noted: set[Role] = set()
        self._steps = steps
        self._timeout = timeout_sec
        self._answered = False

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ticks(self, times: range) -> AsyncIterator[Signals]:
        """The readings at each of these times (milliseconds since the epoch).

        SourceError when it does not answer, and (before the first tick) when no target was up at any of the times."""
        before = range(times[0] - round(REMEMBER_SEC * 1000), times[0], max(times.step, WARM_UP_STEP_MS))
        async for _ in self._pieces(before, leaves=False):
            pass
        held: list[_Piece] = []
        any_up = False
        async for piece in self._pieces(times):
            held.append(piece)
            any_up = any_up or any(m.roles for m in piece.moments)
            if any_up:
                for signals in (s for known in held for s in self._signals(known)):
                    yield signals
                held.clear()
        if not any_up:
            presence = " nor ".join(PRESENCE_METRIC[role] for role in ROLES)
            detail = f"no target has {presence} in this range: check its retention, and the selector"
            raise SourceError(MissingCode.ABSENT, detail, asked=self._client.origin)

    async def _pieces(self, times: range, *, leaves: bool = True) -> AsyncIterator[_Piece]:
        done = 0
        while done < len(times):
            some = times[done : done + self._steps]
            piece = _Piece(await self._moments(some))
            if leaves:
                await self._query_leaves(piece, some)
            yield piece
            done += len(some)

    async def _moments(self, times: range) -> list[_Moment]:
        """The targets at each time. The roles remember those of the times before, as in the live source."""
        answers = await self._query_all([queries.targets() for queries in self._roles.values()], times)
        ups = [q.ups(_targets(found)) for q, found in zip(self._roles.values(), answers, strict=True)]
        more = iter(await self._query_all([query for query in ups if query], times))
        at: dict[Role, dict[int, list[Sample]]] = {
            role: _by_time([*found, *(next(more) if query else ())])
            for role, found, query in zip(self._roles, answers, ups, strict=True)
        }
        moments = []
        for time in times:
            standings: dict[Role, TargetStatus] = {}
            roles: list[tuple[Role, RoleQuery]] = []
            for role, queries in self._roles.items():
                standing = standings[role] = queries.read_targets(at[role].get(time, ()), time / 1000)
                if standing.up:
                    roles.append((role, queries.query(standing.without_down())))
            seen = [role for role, queries in self._roles.items() if queries.seen]
            moments.append(_Moment(time, standings, tuple(roles), seen))
        self._note_without_up(moments)
        return moments

    def _note_without_up(self, moments: Sequence[_Moment]) -> None:
        for role in self._roles.keys() - self._noted:
            living = [m.standings[role] for m in moments if m.standings[role].up]
            if living and not any(s.listed for s in living):
                self._noted.add(role)
                self._note(f"there is no `up`: a {role} target counts as read while it has {PRESENCE_METRIC[role]}")

    async def _query_leaves(self, piece: _Piece, times: range) -> None:
        piece.new_series = await self._new_series(piece.moments, times)
        groups: dict[_Roles, list[int]] = {}
        for moment in piece.moments:
            if moment.roles:
                groups.setdefault(moment.roles, []).append(moment.time)
        for group, when in groups.items():
            roles = dict(group)
            for role, counters in piece.new_series.items():
                if role in roles:
                    new_series = frozenset(name for time in when for name in counters.get(time, ()))
                    roles[role] = replace(roles[role], new_series=new_series)
            within = range(when[0], when[-1] + 1, times.step)
            piece.answers[group] = await self._answers(self._leaves.of(roles), within)

    async def _new_series(self, moments: Sequence[_Moment], times: range) -> dict[Role, dict[int, set[str]]]:
        """By role and time, the names of counters that have new series."""
        queries: dict[Role, str] = {}
        for role, of_role in self._roles.items():
            dialects = dict.fromkeys(d for m in moments for r, query in m.roles if r == role for d in query.dialects)
            if dialects:
                queries[role] = of_role.new_series(self._leaves.leaves, tuple(dialects))
        answers = await self._query_all(list(queries.values()), times)
        found: dict[Role, dict[int, set[str]]] = {role: {} for role in queries}
        for role, answer in zip(queries, answers, strict=True):
            for time, samples in _by_time(answer).items():
                found[role][time] = {labels.get(promql.NAME, "") for labels, _ in samples}
        return found

    async def _answers(self, queries: Sequence[LeafQuery], times: range) -> list[_Answered]:
        by_tag: dict[str, list[Series]] = {}
        for found in await self._query_all([promql.join_expressions(batch) for batch in batches(queries)], times):
            for labels, points in found:
                by_tag.setdefault(labels.get(promql.TAG, ""), []).append((labels, points))

        def of(tag: str, query: LeafQuery) -> Mapping[tuple[str, ...], Points]:
            return by_group(query.leaf, query.dialect, by_tag.get(tag, ()))

        return [(query, of(f"{number}", query), of(f"{number}+", query)) for number, query in enumerate(queries)]

    def _signals(self, piece: _Piece) -> Iterator[Signals]:
        for moment in piece.moments:
            inputs = prometheus_inputs(
                moment.standings,
                piece.parts(moment),
                place=self._client.origin,
                window_sec=self._window,
                recently_up=moment.seen,
            )
            yield resolve_signals(self._specs, inputs, Instant.from_timestamp(moment.time, unit="millisecond"))

    async def _query_all(self, queries: Sequence[str], times: range) -> list[list[Series]]:
        return await asyncio.gather(*(self._query(query, times) for query in queries))

    async def _query(self, query: str, times: range) -> list[Series]:
        """The answer to a query; in halves where it is too large for the server or for us."""
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._client.query_range(query, times)
            self._answered = True
            return found
        except TimeoutError:
            error = SourceError(MissingCode.TIMEOUT, f"timed out after {self._timeout:g} s")
        except SourceError as failed:
            error = failed
        too_much = error.code in TOO_MUCH or (self._answered and error.code is MissingCode.TARGET_DOWN)
        half = len(times) // 2
        if not too_much or half < MIN_STEPS:
            raise SourceError(error.code, error.detail, asked=self._client.origin)
        self._steps = min(self._steps, half)
        return _merged([*await self._query(query, times[:half]), *await self._query(query, times[half:])])


def _targets(found: Iterable[Series]) -> set[Target]:
    """The targets in an answer to `RoleQueries.targets`."""
    return {(labels.get("job", ""), labels.get("instance", "")) for labels, _ in found}


def _by_time(found: Iterable[Series]) -> dict[int, list[Sample]]:
    by_time: dict[int, list[Sample]] = {}
    for labels, points in found:
        for time, value in points.items():
            by_time.setdefault(time, []).append((labels, value))
    return by_time


def _at(time: int, groups: Mapping[tuple[str, ...], Points]) -> dict[tuple[str, ...], float]:
    return {group: points[time] for group, points in groups.items() if time in points}


def _merged(found: Iterable[Series]) -> list[Series]:
    """The same series, each once."""
    merged: dict[frozenset[tuple[str, str]], Series] = {}
    for labels, points in found:
        merged.setdefault(frozenset(labels.items()), (labels, {}))[1].update(points)
    return list(merged.values())
