"""What is asked of a Prometheus about the taxonomy's leaves, alike for one moment and for a range: all leaves in every
dialect spoken, joined into a few queries (docs/adr/0007)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from copilot.metrics import promql
from copilot.metrics.answers import (
    NAMES,
    SAMPLES,
    UP,
    Sample,
    Target,
    TargetStatus,
    answer_key,
    escape_regex,
    target_status,
)
from copilot.metrics.dialects import (
    DIALECTS,
    NAMESPACE_ALIASES,
    Dialect,
    anchor_names,
    detect_dialects,
    dialect_by_name,
    raw_name,
)
from copilot.metrics.resolve import PRESENCE_METRIC, ZERO_ROWS_MATTER, leaves_of
from copilot.rules.signals.expressions import Gauge, Leaf, Matcher, Quantile, Role, leaves
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS
from copilot.rules.signals.taxonomy import SignalSpec
from copilot.settings.clusters import PrometheusSettings

QUERIES = 4
MOST_ROWS = 5 * MAX_BREAKDOWN_ROWS


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a role is asked at some moment: in which dialects, of which series, and which names have newly born ones.
    `witness` is the witness's series a window before."""

    dialects: tuple[Dialect, ...]
    matchers: tuple[Matcher, ...]
    witness: str
    born: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Question:
    """One leaf in one dialect as PromQL. `births` asks for what births add, where `sign` has newly born series."""

    leaf: Leaf
    dialect: Dialect
    text: str
    sign: str = ""
    births: str = ""


class LeafQuestions:
    """The questions about all leaves of some signals, over a rate window."""

    def __init__(self, specs: Sequence[SignalSpec], window_sec: float) -> None:
        self.leaves = tuple(dict.fromkeys(answer_key(leaf) for leaf in leaves_of(specs)))
        self._window = window_sec
        self._whole = {answer_key(leaf) for s in specs if s.expression for leaf in leaves(s.expression)}

    def about(self, roles: Mapping[Role, Spoken]) -> list[Question]:
        """The questions to these roles, in the order of the taxonomy."""
        return [
            self._question(leaf, dialect, spoken)
            for leaf in self.leaves
            if (spoken := roles.get(leaf.series.role)) is not None
            for dialect in {raw_name(leaf, d): d for d in reversed(spoken.dialects)}.values()
        ]

    def _question(self, leaf: Leaf, dialect: Dialect, spoken: Spoken) -> Question:
        text = promql.leaf_query(leaf, dialect, self._window, spoken.matchers)
        if leaf not in self._whole and not isinstance(leaf, Quantile):
            ends = "bottomk" if leaf.series.family in ZERO_ROWS_MATTER else "topk"
            text = f"{ends}({MOST_ROWS}, {text})"
        if isinstance(leaf, Gauge):
            return Question(leaf, dialect, text)
        sign = promql.new_series_name(leaf, dialect)
        born = sign in spoken.born
        births = promql.new_series_rate(leaf, dialect, self._window, spoken.witness, spoken.matchers) if born else ""
        return Question(leaf, dialect, text, sign, births)


def in_few_queries(questions: Iterable[Question]) -> list[list[tuple[str, str]]]:
    """Tag and expression of every question, in as many lists as there are to be queries: neighbours, needed together,
    in one. A question's tag is its number; that of its births has a plus behind it."""
    asked: list[tuple[str, str]] = []
    for number, question in enumerate(questions):
        asked.append((f"{number}", question.text))
        if question.births:
            asked.append((f"{number}+", question.births))
    size = max(1, -(-len(asked) // QUERIES))
    return [asked[n : n + size] for n in range(0, len(asked), size)]


REMEMBER_SEC = 3600.0
MOST_REMEMBERED = 200
# The server's own workers speak the SDK's names too, in other units.
OWN: dict[Role, tuple[Matcher, ...]] = {"server": (), "worker": (Matcher("service_name", "!=", "worker"),)}


class RoleQuestions:
    """One role's questions, in all dialects it may speak until it was heard, then in those it does.

    `dialects` are those heard last; `seen` whether a target of the role lived within the last hour."""

    def __init__(self, role: Role, settings: PrometheusSettings, window_sec: float) -> None:
        self.role: Role = role
        self.matchers = (*OWN[role], *promql.parse_matchers(settings.selector))
        self.dialects: tuple[Dialect, ...] = ()
        self.seen = False
        self._up = promql.parse_matchers(settings.selector)
        self._window = window_sec
        self._prefix = settings.prefix
        chosen = settings.dialect.get(role)
        self._possible = (dialect_by_name(chosen),) if chosen else tuple(d for d in DIALECTS if d.role == role)
        self._chosen = chosen is not None
        suffixes = [d.counter for d in self._possible] if role == "server" else [""]
        self._witnesses = tuple(dict.fromkeys(settings.prefix + PRESENCE_METRIC[role] + suffix for suffix in suffixes))
        self._targets: dict[Target, float] = {}
        self._last_seen = float("-inf")

    def targets(self) -> str:
        """Which sample names the role's targets have, how many samples of the witness, and whether they are up."""
        spelled = [replace(d, prefix=self._prefix) for d in self._possible]
        anchors = dict.fromkeys([*(mark for d in spelled for mark in anchor_names(d)), *self._witnesses])
        names = promql.selector("", (Matcher("__name__", "=~", "|".join(anchors)), *self.matchers))
        window = promql.duration(self._window)
        counts = " or ".join(f"count_over_time({promql.selector(n, self.matchers)}[{window}])" for n in self._witnesses)
        parts = [
            (NAMES, f"count by (__name__, job, instance) ({names})"),
            (SAMPLES, f"max by (job, instance) ({counts})"),
            (UP, f"max by (job, instance) ({promql.selector('up', self._up)}) and on (job, instance) ({counts})"),
        ]
        if remembered := self._up_of(self._targets):
            parts.append(remembered)
        for alias in NAMESPACE_ALIASES:
            parts.append((alias, f"count ({self._witness((Matcher(alias, '!=', ''),))})"))
        return promql.join_expressions(parts)

    def ups(self, targets: Iterable[Target]) -> str:
        """Whether these targets, which `targets` may not ask about, are up; empty if there is nothing to ask."""
        found = self._up_of(set(targets) - self._targets.keys())
        return promql.join_expressions([found]) if found else ""

    def _up_of(self, targets: Iterable[Target]) -> tuple[str, str] | None:
        instances = sorted({i for _, i in targets if i})[:MOST_REMEMBERED]
        if not instances:
            return None
        chosen = promql.selector(
            "up", (*self._up, Matcher("instance", "=~", "|".join(escape_regex(i) for i in instances)))
        )
        return UP, f"max by (job, instance) ({chosen})"

    def spoken(self, without: tuple[Matcher, ...], born: frozenset[str] = frozenset()) -> Spoken:
        """How the role's leaves are asked for now."""
        return Spoken(self.dialects, (*self.matchers, *without), self._witness_before, born)

    def understood(self, samples: Iterable[Sample], at: float) -> TargetStatus:
        """The answer to `targets`, asked at `at`. Dialects and targets are remembered."""
        found = target_status(self.role, self._witnesses, samples, self._targets)
        if self._chosen:
            heard = [replace(d, prefix=self._prefix, namespace=found.namespace) for d in self._possible]
        else:
            heard = detect_dialects(found.names, self.role, prefix=self._prefix, namespace=found.namespace)
        if not heard and not self.dialects and found.up:
            heard = [replace(self._possible[0], prefix=self._prefix, namespace=found.namespace)]
        self.dialects = tuple(heard) or self.dialects
        kept = {t: last for t, last in self._targets.items() if t in found.listed and at - last < REMEMBER_SEC}
        self._targets = kept | dict.fromkeys(found.up, at)
        self._last_seen = at if found.up else self._last_seen
        self.seen = at - self._last_seen < REMEMBER_SEC or bool(found.down)
        return found

    def births(self, leaves: Iterable[Leaf], dialects: Collection[Dialect] = ()) -> str:
        """Which of the counters the leaves read have new series, in these dialects (those heard last, unless some are
        given); empty while nobody knows how they are spelled."""
        counted = [leaf for leaf in leaves if not isinstance(leaf, Gauge)]
        heard = dialects or self.dialects
        names = {promql.new_series_name(leaf, d) for d in heard for leaf in counted if leaf.series.role == self.role}
        return (
            promql.new_series_names(sorted(names), self._window, self._witness_before, self.matchers) if names else ""
        )

    @property
    def _witness_before(self) -> str:
        """The witness's series a window ago."""
        return self._witness(offset=f" offset {promql.duration(self._window)}")

    def _witness(self, matchers: Sequence[Matcher] = (), offset: str = "") -> str:
        chosen = (promql.selector(name, (*matchers, *self.matchers)) + offset for name in self._witnesses)
        return "(" + " or ".join(chosen) + ")"
