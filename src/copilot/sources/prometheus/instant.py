"""A Prometheus that already holds the cluster's metrics: all signals of a cycle in a handful of requests.

First who is there (one question a role, and which counters were just born), then all leaves, joined into a few queries,
each at the same moment and over the same window (docs/adr/0007)."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics import promql
from copilot.metrics.answers import DialectAnswer, PrometheusAnswers, Sample, TargetStatus, by_group
from copilot.metrics.dialects import Dialect
from copilot.metrics.resolve import PRESENCE_METRIC, measurable, resolve_signals
from copilot.metrics.window import epoch_seconds
from copilot.rules.signals.expressions import Gauge, Leaf, Role
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, SignalSpec
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.complaints import Complaints
from copilot.sources.prometheus.client import MAX_ANSWER_BYTES, client, instant_query, query_url
from copilot.sources.prometheus.queries import LeafQuestions, Question, RoleQuestions, Spoken, in_few_queries

log = logging.getLogger(__name__)

ROLES: tuple[Role, ...] = ("server", "worker")
FIRST_SHARE = 0.4
# VictoriaMetrics answers from half a minute ago, and caches, unless told so; others do not know the parameter.
FRESH = {"nocache": "1"}

Answer = list[Sample] | Missing


class PrometheusSource:
    """Asks a Prometheus for the taxonomy's signals over the cluster's rate window. Nothing runs between two reads.

    SettingsError where a file the settings name cannot be used. `transport` is httpx's seam for tests, `clock` tells
    the moment that is asked about."""

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
        self._max_bytes = max_answer_bytes
        self._clock = clock
        self._url = query_url(settings)
        self._more = query_options(settings)
        self._client = client(settings, transport)
        self._roles = {role: RoleQuestions(role, settings, self._window) for role in ROLES}
        self._questions = LeafQuestions(self._specs, self._window)
        self._complaints = Complaints(log)

    @property
    def expected(self) -> tuple[str, ...]:
        """All ids metrics can give."""
        return tuple(s.id for s in self._specs)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read(self, now: Instant) -> Signals:
        """The signals at the present moment (stamped `now`). What did not answer within the deadline is missing."""
        at = epoch_seconds(max(now, self._clock()))
        began = asyncio.get_running_loop().time()
        cycle = _Cycle(self._client, self._url, at, self._more, self._max_bytes)
        cycle.end = began + FIRST_SHARE * self._deadline
        standings, born = await self._first(cycle)
        cycle.end = began + self._deadline
        parts = await self._second(cycle, standings, born)
        self._complain(cycle.failures)
        asked = PrometheusAnswers(
            standings,
            parts,
            place=place(self._url),
            presence_metrics=PRESENCE_METRIC,
            window_sec=self._window,
            recently_up=[role for role in ROLES if self._roles[role].seen],
        )
        return await asyncio.to_thread(resolve_signals, self._specs, asked, now)

    async def _first(self, cycle: "_Cycle") -> tuple[dict[Role, TargetStatus | Missing], dict[Role, Answer]]:
        """Who is there, and which counters were just born."""
        about = {role: questions.targets() for role, questions in self._roles.items()}
        leaves = self._questions.leaves
        births = {role: questions.births(leaves) for role, questions in self._roles.items()}
        answers = await cycle.ask([*about.values(), *filter(None, births.values())])
        standings: dict[Role, TargetStatus | Missing] = {}
        for role, question in about.items():
            answer = answers[question]
            understood = self._roles[role].understood
            standings[role] = answer if isinstance(answer, Missing) else understood(answer, cycle.at)
        late = {role: self._roles[role].births(leaves) for role in ROLES if not births[role]}
        births |= late
        if any(late.values()):
            answers |= await cycle.ask(filter(None, late.values()))
        return standings, {role: answers[question] for role, question in births.items() if question}

    async def _second(
        self, cycle: "_Cycle", standings: Mapping[Role, TargetStatus | Missing], born: Mapping[Role, Answer]
    ) -> dict[Leaf, list[DialectAnswer]]:
        """All leaves in every dialect spoken."""
        spoken: dict[Role, Spoken] = {}
        for role, questions in self._roles.items():
            standing = standings[role]
            if not isinstance(standing, TargetStatus):
                spoken[role] = questions.spoken((), _names(born.get(role)))
            elif standing.up:
                spoken[role] = questions.spoken(standing.without_down(), _names(born.get(role)))
        asked = self._questions.about(spoken)
        found = await cycle.ask_joined(asked)
        parts: dict[Leaf, list[DialectAnswer]] = {}
        for number, question in enumerate(asked):
            leaf, dialect = question.leaf, question.dialect
            values = _grouped(leaf, dialect, found[f"{number}"])
            new = _grouped(leaf, dialect, found.get(f"{number}+", []))
            unknown = born.get(leaf.series.role)
            if isinstance(unknown, Missing) and not values and not isinstance(leaf, Gauge):
                new = unknown
            parts.setdefault(leaf, []).append(DialectAnswer(dialect, values, new))
        return parts

    def _complain(self, failures: Sequence[SourceError]) -> None:
        if failures:
            causes = "; ".join(dict.fromkeys(f.detail for f in failures))
            self._complaints.say("%d queries to %s failed: %s", len(failures), self._url, causes)


class _Cycle:
    """The queries of one read: all about one moment, each until `end` (of the loop's clock)."""

    def __init__(
        self, client: httpx.AsyncClient, url: httpx.URL, at: float, more: Mapping[str, str], max_bytes: int
    ) -> None:
        self._client = client
        self._url = url
        self._more = more
        self._max_bytes = max_bytes
        self._began = asyncio.get_running_loop().time()
        self.at = at
        self.end = self._began
        self.failures: list[SourceError] = []

    async def ask(self, queries: Iterable[str]) -> dict[str, Answer]:
        """The answer to each query, asked at once; what failed or is late is missing."""
        wanted = list(dict.fromkeys(queries))
        return dict(zip(wanted, await asyncio.gather(*(self._ask(q) for q in wanted)), strict=True))

    async def ask_joined(self, questions: Iterable[Question]) -> dict[str, Answer]:
        """The answer to each question under its tag, asked in few queries."""
        chunks = in_few_queries(questions)
        queries = [promql.join_expressions(chunk) for chunk in chunks]
        answers = await self.ask(queries)
        found: dict[str, Answer] = {}
        for chunk, query in zip(chunks, queries, strict=True):
            answer = answers[query]
            if isinstance(answer, Missing):
                found.update(dict.fromkeys((tag for tag, _ in chunk), answer))
                continue
            by_tag: dict[str, list[Sample]] = {tag: [] for tag, _ in chunk}
            for sample in answer:
                by_tag.get(sample[0].get(promql.TAG, ""), []).append(sample)
            found.update(by_tag)
        return found

    async def _ask(self, query: str) -> Answer:
        try:
            async with asyncio.timeout_at(self.end):
                return await instant_query(
                    self._client, self._url, query, self.at, more=self._more, max_bytes=self._max_bytes
                )
        except TimeoutError:
            error = SourceError(MissingCode.TIMEOUT, f"timed out after {round(self.end - self._began, 2):g} s")
        except SourceError as refused:
            error = refused
        self.failures.append(error)
        # An API that is not there (404) was not read; absent is said of what an answer lacks.
        unread = error.code is MissingCode.ABSENT
        return Missing(code=MissingCode.TARGET_DOWN if unread else error.code, detail=error.detail)


def query_options(settings: PrometheusSettings) -> Mapping[str, str]:
    """What goes with every query, besides the query."""
    return {} if settings.sigv4 else FRESH


def place(url: httpx.URL) -> str:
    """Where a Prometheus is, in words."""
    return f"{url.scheme}://{url.netloc.decode()}"


def _names(born: Answer | None) -> frozenset[str]:
    return frozenset(labels.get(promql.NAME, "") for labels, _ in born) if isinstance(born, list) else frozenset()


def _grouped(leaf: Leaf, dialect: Dialect, answer: Answer) -> dict[tuple[str, ...], float] | Missing:
    return answer if isinstance(answer, Missing) else by_group(leaf, dialect, answer)
