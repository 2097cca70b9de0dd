"""A Prometheus' past: the signals as the live source would have read them, at each step of a range.

The questions are the live source's own, asked as range queries, which are instant queries at each step: nothing later
than a step is in its readings. Time is asked for in pieces, so that memory stays bounded: who was there, which counters
were born, then all leaves. Steps at which other targets were down are asked apart: other questions belong to them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics import promql
from copilot.metrics.answers import DialectAnswer, PrometheusAnswers, Sample, Target, TargetStatus, by_group
from copilot.metrics.resolve import PRESENCE_METRIC, measurable, resolve_signals
from copilot.rules.signals.expressions import Leaf, Role
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, SignalSpec
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.client import Points, Series, client, query_url, range_query
from copilot.sources.prometheus.instant import ROLES, place, query_options
from copilot.sources.prometheus.queries import (
    REMEMBER_SEC,
    LeafQuestions,
    Question,
    RoleQuestions,
    Spoken,
    in_few_queries,
)

STEPS = 720
"""Steps a query; servers give at most 11,000 points a series, and their answers are held in memory."""
FEWEST_STEPS = 10
TIMEOUT_SEC = 30.0
WARM_UP_STEP_MS = 30_000
TOO_MUCH = frozenset({MissingCode.TIMEOUT, MissingCode.DROPPED, MissingCode.PARSE})


@dataclass(frozen=True, slots=True)
class _Moment:
    """Who was there at a time (milliseconds since the epoch), and how those that lived are asked."""

    time: int
    standings: Mapping[Role, TargetStatus]
    spoken: Mapping[Role, Spoken]
    seen: Sequence[Role]

    @property
    def manner(self) -> "_Manner":
        """What moments that can be asked together have in common."""
        return tuple(self.spoken.items())


_Manner = tuple[tuple[Role, Spoken], ...]
_Answered = tuple[Question, Mapping[tuple[str, ...], Points], Mapping[tuple[str, ...], Points]]


@dataclass(slots=True)
class _Piece:
    """What is known of some steps: the moments, names with births by role and time, and the leaves' answers."""

    moments: list[_Moment]
    born: dict[Role, dict[int, set[str]]] = field(default_factory=dict)
    answers: dict[_Manner, list[_Answered]] = field(default_factory=dict)

    def parts(self, moment: _Moment) -> dict[Leaf, list[DialectAnswer]]:
        """What all leaves were at a moment."""
        time, found = moment.time, dict[Leaf, list[DialectAnswer]]()
        for question, values, births in self.answers.get(moment.manner, ()):
            born = question.sign in self.born.get(question.leaf.series.role, {}).get(time, ())
            new = _at(time, births) if born else {}
            found.setdefault(question.leaf, []).append(DialectAnswer(question.dialect, _at(time, values), new))
        return found


class PrometheusRange:
    """Reads the past of a Prometheus. `say` is told in a sentence what a person should know of the readings.

    SettingsError where a file the settings name cannot be used. `transport` is httpx's seam for tests."""

    def __init__(
        self,
        cluster: ClusterSettings,
        settings: PrometheusSettings,
        *,
        say: Callable[[str], None] = lambda _: None,
        specs: Iterable[SignalSpec] = SPECS.values(),
        steps: int = STEPS,
        timeout_sec: float = TIMEOUT_SEC,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._specs = tuple(s for s in specs if measurable(s, ROLES))
        self._window = cluster.window
        self._url = query_url(settings, "query_range")
        self._place = place(self._url)
        self._more = query_options(settings)
        self._client = client(settings, transport)
        self._roles = {role: RoleQuestions(role, settings, self._window) for role in ROLES}
        self._questions = LeafQuestions(self._specs, self._window)
        self._say = say
        self._said: set[Role] = set()
        self._steps = steps
        self._timeout = timeout_sec
        self._answered = False

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ticks(self, times: range) -> AsyncIterator[Signals]:
        """The readings at each of these times (milliseconds since the epoch).

        SourceError when it does not answer, and (before the first tick) when no target lived at any of the times."""
        before = range(times[0] - round(REMEMBER_SEC * 1000), times[0], max(times.step, WARM_UP_STEP_MS))
        async for _ in self._pieces(before, leaves=False):
            pass
        held: list[_Piece] = []
        anybody = False
        async for piece in self._pieces(times):
            held.append(piece)
            anybody = anybody or any(m.spoken for m in piece.moments)
            if anybody:
                for known in held:
                    for signals in self._signals(known):
                        yield signals
                held.clear()
        if not anybody:
            witnesses = " nor ".join(PRESENCE_METRIC[role] for role in ROLES)
            raise SourceError(
                MissingCode.ABSENT,
                f"no target has {witnesses} in this range: was it kept so long, and does the selector fit?",
                asked=self._place,
            )

    async def _pieces(self, times: range, *, leaves: bool = True) -> AsyncIterator[_Piece]:
        done = 0
        while done < len(times):
            some = times[done : done + self._steps]
            piece = _Piece(await self._moments(some))
            if leaves:
                await self._ask_leaves(piece, some)
            yield piece
            done += len(some)

    async def _moments(self, times: range) -> list[_Moment]:
        """Who was there at each time. What the roles remember is of the times before it, as in the live source."""
        about = [questions.targets() for questions in self._roles.values()]
        told = await self._ask_all(about, times)
        ups = [q.ups(_targets(found)) for q, found in zip(self._roles.values(), told, strict=True)]
        more = await self._ask_all([query for query in ups if query], times)
        missed = iter(more)
        at: dict[Role, dict[int, list[Sample]]] = {
            role: _by_time([*found, *(next(missed) if query else ())])
            for role, found, query in zip(self._roles, told, ups, strict=True)
        }
        moments = []
        for time in times:
            standings, spoken = {}, {}
            for role, questions in self._roles.items():
                standing = standings[role] = questions.understood(at[role].get(time, ()), time / 1000)
                if standing.up:
                    spoken[role] = questions.spoken(standing.without_down())
            seen = [role for role, questions in self._roles.items() if questions.seen]
            moments.append(_Moment(time, standings, spoken, seen))
        self._say_without_up(moments)
        return moments

    def _say_without_up(self, moments: Sequence[_Moment]) -> None:
        for role in self._roles.keys() - self._said:
            living = [m.standings[role] for m in moments if m.standings[role].up]
            if living and not any(s.listed for s in living):
                self._said.add(role)
                self._say(f"`up` is not there: a {role} target counts as read while it has {PRESENCE_METRIC[role]}")

    async def _ask_leaves(self, piece: _Piece, times: range) -> None:
        piece.born = await self._births(piece.moments, times)
        manners: dict[_Manner, list[int]] = {}
        for moment in piece.moments:
            if moment.spoken:
                manners.setdefault(moment.manner, []).append(moment.time)
        for manner, when in manners.items():
            roles = dict(manner)
            for role, names in piece.born.items():
                if role in roles:
                    born = frozenset(name for time in when for name in names.get(time, ()))
                    roles[role] = replace(roles[role], born=born)
            within = range(when[0], when[-1] + 1, times.step)
            piece.answers[manner] = await self._answers(self._questions.about(roles), within)

    async def _births(self, moments: Sequence[_Moment], times: range) -> dict[Role, dict[int, set[str]]]:
        """By role and time, the names of counters that have newly born series."""
        asked: dict[Role, str] = {}
        for role, questions in self._roles.items():
            dialects = dict.fromkeys(d for m in moments if role in m.spoken for d in m.spoken[role].dialects)
            if dialects:
                asked[role] = questions.births(self._questions.leaves, tuple(dialects))
        answers = await self._ask_all(list(asked.values()), times)
        born: dict[Role, dict[int, set[str]]] = {}
        for role, found in zip(asked, answers, strict=True):
            at = born[role] = {}
            for labels, points in found:
                for time in points:
                    at.setdefault(time, set()).add(labels.get(promql.NAME, ""))
        return born

    async def _answers(self, questions: Sequence[Question], times: range) -> list[_Answered]:
        queries = [promql.join_expressions(chunk) for chunk in in_few_queries(questions)]
        by_tag: dict[str, list[Series]] = {}
        for found in await self._ask_all(queries, times):
            for labels, points in found:
                by_tag.setdefault(labels.get(promql.TAG, ""), []).append((labels, points))
        return [
            (
                question,
                by_group(question.leaf, question.dialect, by_tag.get(f"{number}", ())),
                by_group(question.leaf, question.dialect, by_tag.get(f"{number}+", ())),
            )
            for number, question in enumerate(questions)
        ]

    def _signals(self, piece: _Piece) -> Iterator[Signals]:
        for moment in piece.moments:
            asked = PrometheusAnswers(
                moment.standings,
                piece.parts(moment),
                place=self._place,
                presence_metrics=PRESENCE_METRIC,
                window_sec=self._window,
                recently_up=moment.seen,
            )
            yield resolve_signals(self._specs, asked, Instant.from_timestamp(moment.time, unit="millisecond"))

    async def _ask_all(self, queries: Sequence[str], times: range) -> list[list[Series]]:
        return await asyncio.gather(*(self._ask(query, times) for query in queries))

    async def _ask(self, query: str, times: range) -> list[Series]:
        """The answer to a query; where that is too much for the server or for us, in halves."""
        try:
            async with asyncio.timeout(self._timeout):
                found = await range_query(self._client, self._url, query, times, more=self._more)
            self._answered = True
            return found
        except TimeoutError:
            error = SourceError(MissingCode.TIMEOUT, f"timed out after {self._timeout:g} s")
        except SourceError as refused:
            error = refused
        too_much = error.code in TOO_MUCH or (self._answered and error.code is MissingCode.TARGET_DOWN)
        half = len(times) // 2
        if not too_much or half < FEWEST_STEPS:
            raise SourceError(error.code, error.detail, asked=self._place)
        self._steps = min(self._steps, half)
        return _merged([*await self._ask(query, times[:half]), *await self._ask(query, times[half:])])


def _targets(found: Iterable[Series]) -> set[Target]:
    """The targets an answer to `RoleQuestions.targets` mentions."""
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
