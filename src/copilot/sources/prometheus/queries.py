"""The PromQL of a cycle: which targets each role has, and all leaves of the taxonomy in every detected dialect, joined
into a few queries. The same for one moment and for a range (docs/adr/0007)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from copilot.metrics import answers, dialects, promql
from copilot.metrics.continuity import most_likely
from copilot.metrics.dialects import Dialect, raw_name
from copilot.metrics.processes import OF_PROCESSES, STARTED
from copilot.metrics.resolve import PRESENCE_METRIC, ZERO_ROWS_MATTER, leaves_of, measures
from copilot.rules.signals.expressions import (
    START_TIME,
    WORKER_ROLE,
    Gauge,
    Leaf,
    Matcher,
    Quantile,
    Rate,
    Role,
    leaves,
)
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS
from copilot.rules.signals.spec import SignalSpec
from copilot.settings.clusters import PrometheusSettings

ROLES: tuple[Role, ...] = ("server", "worker")
QUERIES = 4
MAX_ROWS = 5 * MAX_BREAKDOWN_ROWS
REMEMBER_SEC = 3600.0
MAX_REMEMBERED = 200
ALIASES = (*dialects.NAMESPACE_ALIASES, *dialects.SERVICE_ALIASES)
FEW_SUMS = 8
# The server's own workers use the SDK's names too, in other units.
_PARTS = {why: part for part, why in answers.BREAKS.items()} | {"": answers.FELL}
OWN: dict[Role, tuple[Matcher, ...]] = {"server": (), "worker": (Matcher("service_name", "!=", "worker"),)}


@dataclass(frozen=True, slots=True)
class RoleQuery:
    """How to query a role's leaves at some moment: the dialects, the series, and the counters with new series."""

    dialects: tuple[Dialect, ...]
    matchers: tuple[Matcher, ...]
    new_series: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LeafQuery:
    """One leaf in one dialect as PromQL. `counter` names its counter in `RoleQuery.new_series`; where it has new
    series, `additions` is the query for what they add to the rate."""

    leaf: Leaf
    dialect: Dialect
    text: str
    counter: str = ""
    additions: str = ""


class LeafQueries:
    """The queries for all leaves of some signals, over a rate window."""

    def __init__(self, specs: Sequence[SignalSpec], window_sec: float) -> None:
        of_pages = STARTED.values()
        self.leaves = tuple(
            dict.fromkeys(answers.answer_key(leaf) for leaf in leaves_of(specs) if leaf not in of_pages)
        )
        self._window = window_sec
        self._whole = {answers.answer_key(leaf) for m in measures(specs) for leaf in leaves(m.expression)}
        self._whole.update(OF_PROCESSES)

    def of(self, roles: Mapping[Role, RoleQuery]) -> list[LeafQuery]:
        """The queries for these roles, in the order of the taxonomy."""
        return [
            self._query(leaf, dialect, role)
            for leaf in self.leaves
            if (role := roles.get(leaf.series.role)) is not None
            for dialect in {raw_name(leaf, d): d for d in reversed(role.dialects)}.values()
        ]

    def _query(self, leaf: Leaf, dialect: Dialect, role: RoleQuery) -> LeafQuery:
        text = promql.leaf_query(leaf, dialect, self._window, role.matchers)
        if leaf not in self._whole and not isinstance(leaf, Quantile):
            ends = "bottomk" if leaf.series.family in ZERO_ROWS_MATTER else "topk"
            text = f"{ends}({MAX_ROWS}, {text})"
        if isinstance(leaf, Gauge):
            return LeafQuery(leaf, dialect, text)
        counter, additions = promql.new_series_name(leaf, dialect), ""
        if counter in role.new_series:
            before = _anchor_before(leaf, dialect, self._window, role.matchers)
            additions = promql.new_series_rate(leaf, dialect, self._window, before, role.matchers)
        return LeafQuery(leaf, dialect, text, counter, additions)


def _anchor_before(leaf: Rate | Quantile, dialect: Dialect, window_sec: float, matchers: Sequence[Matcher]) -> str:
    """The series one window earlier of what is always there in the dialect: what appears beside it, begins at zero;
    what appears with it, is spelled otherwise from now on."""
    anchor = dialects.anchor_names(dialect)[isinstance(leaf, Quantile) or leaf.suffix != ""]
    return f"{promql.selector(anchor, matchers)} offset {promql.duration(window_sec)}"


def batches(queries: Iterable[LeafQuery]) -> list[list[tuple[str, str]]]:
    """Tag and expression of every query, in as few lists as there are to be requests; neighbors, which belong to the
    same signals, stay together. A query's tag is its number; that of its additions has a plus behind it."""
    tagged: list[tuple[str, str]] = []
    for number, query in enumerate(queries):
        tagged.append((f"{number}", query.text))
        if query.additions:
            tagged.append((f"{number}+", query.additions))
    size = max(1, -(-len(tagged) // QUERIES))
    return [tagged[n : n + size] for n in range(0, len(tagged), size)]


class RoleQueries:
    """One role's queries: in all its possible dialects until some are detected, then in those.

    `dialects` are those detected within a window, else the last ones; `seen` whether a target of the role was up within
    the last hour."""

    def __init__(self, role: Role, settings: PrometheusSettings, window_sec: float) -> None:
        self.role: Role = role
        self.matchers = (*OWN[role], *promql.parse_matchers(settings.selector))
        self.dialects: tuple[Dialect, ...] = ()
        self.seen = False
        self._up = promql.parse_matchers(settings.selector)
        self._window = window_sec
        self._prefix = settings.prefix
        chosen = settings.dialect.get(role)
        self._possible = (
            (dialects.dialect_by_name(chosen),) if chosen else tuple(d for d in dialects.DIALECTS if d.role == role)
        )
        self._chosen = chosen is not None
        suffixes = [d.counter for d in self._possible] if role == "server" else [""]
        self._presence = tuple(dict.fromkeys(settings.prefix + PRESENCE_METRIC[role] + suffix for suffix in suffixes))
        self._anchors = [dialects.anchor_names(replace(d, prefix=self._prefix)) for d in self._possible]
        self._counters = tuple(dict.fromkeys(marks[0] for marks in self._anchors))
        self._worker_role = []
        if role == "server":
            family, only = WORKER_ROLE.family, WORKER_ROLE.match
            names = (settings.prefix + family + suffix for suffix in dict.fromkeys(suffixes))
            self._worker_role = [promql.selector(name, (*only, *self.matchers)) for name in names]
        self._targets: dict[answers.Target, float] = {}
        self._breaks: dict[answers.Target, dict[tuple[float, str], None]] = {}
        self._detected: dict[Dialect, float] = {}
        self._last_up = float("-inf")

    def targets(self) -> str:
        """The sample names the role's targets have, how many samples of the presence metric, and which are up."""
        anchors = dict.fromkeys([*(mark for marks in self._anchors for mark in marks), *self._presence])
        names = promql.selector("", (Matcher("__name__", "=~", "|".join(anchors)), *self.matchers))
        window = promql.duration(self._window)
        selectors = [promql.selector(n, self.matchers) for n in self._presence] + self._worker_role
        counts = " or ".join(f"count_over_time({chosen}[{window}])" for chosen in selectors)
        up, started = (promql.selector(name, self._up) for name in ("up", START_TIME))
        timers = sorted({marks[1].removesuffix("_count") for marks in self._anchors})
        sums = promql.selector("", (Matcher("__name__", "=~", f"({'|'.join(timers)})_sum"), *self.matchers))
        parts = [
            (answers.NAMES, f"count by (__name__, job, instance) ({names})"),
            *((answers.ROLE, f"count by (job, instance) ({chosen})") for chosen in self._worker_role),
            (answers.SAMPLES, f"max by (job, instance) ({counts})"),
            (answers.UP, f"max by (job, instance) ({up}) and on (job, instance) ({counts})"),
            *(
                (_PARTS[why], text)
                for counter in self._counters
                for why, text in promql.falling(counter, self._window, self.matchers)
            ),
            (answers.SUMS, f"bottomk by (job, instance) ({FEW_SUMS}, {sums} > 0)"),
            (answers.STARTED, f"max by (job, instance) ({started}) and on (job, instance) ({counts})"),
            *self._up_of(self._targets),
            *((alias, f"count ({self._present((Matcher(alias, '!=', ''),))})") for alias in ALIASES),
        ]
        return promql.join_expressions(parts)

    def more(self, targets: Iterable[answers.Target], fell: Iterable[answers.Target]) -> str:
        """Whether these targets are up, which `targets` may not query, and how counters of those move that fell; empty
        if there is nothing to query."""
        instances = sorted({i for _, i in fell if i})[:MAX_REMEMBERED]
        these = (*self.matchers, Matcher("instance", "=~", "|".join(map(answers.escape_regex, instances))))
        mixing = [of for counter in self._counters for of in promql.mixing(counter, self._window, these)]
        parts = self._up_of(set(targets) - self._targets.keys())
        return promql.join_expressions([*parts, *((_PARTS[why], text) for why, text in mixing if instances)])

    def _up_of(self, targets: Iterable[answers.Target]) -> list[tuple[str, str]]:
        instances = sorted({i for _, i in targets if i})[:MAX_REMEMBERED]
        these = Matcher("instance", "=~", "|".join(map(answers.escape_regex, instances)))
        chosen = promql.selector("up", (*self._up, these))
        return [(answers.UP, f"max by (job, instance) ({chosen})")] if instances else []

    def query(self, without: tuple[Matcher, ...]) -> RoleQuery:
        """How to query the role's leaves now."""
        return RoleQuery(self.dialects, (*self.matchers, *without))

    def read_targets(self, samples: Iterable[answers.Sample], at: float) -> answers.TargetStatus:
        """The answer to `targets` at the time `at` (seconds since the epoch). Remembers dialects and targets."""
        samples = list(samples)
        for labels, _ in samples:
            if (why := answers.BREAKS.get(labels.get(promql.TAG, ""))) is not None:
                target = labels.get("job", ""), labels.get("instance", "")
                self._breaks.setdefault(target, {})[at, why] = None
        self._breaks = {
            target: {(time, why): None for time, why in breaks if at - time < self._window}
            for target, breaks in self._breaks.items()
        }
        broken = {t: why for t, breaks in self._breaks.items() if (why := most_likely(why for _, why in breaks))}
        found = answers.target_status(self.role, self._presence, samples, self._targets, broken)
        detected = list(self._possible)
        if not self._chosen:
            detected = dialects.detect_dialects(found.names, self.role, prefix=self._prefix)
        if not detected and not self.dialects and found.up:
            detected = [self._possible[0]]
        detected = [
            replace(d, prefix=self._prefix, namespace=found.namespace, service_name=found.service_name)
            for d in detected
        ]
        spoken = {d: last for d, last in self._detected.items() if at - last <= self._window}
        self._detected = dict.fromkeys(detected, at) | {d: last for d, last in spoken.items() if d not in detected}
        self.dialects = tuple(self._detected) or self.dialects
        known = {t: last for t, last in self._targets.items() if t in found.listed and at - last < REMEMBER_SEC}
        self._targets = known | dict.fromkeys(found.up, at)
        self._last_up = at if found.up else self._last_up
        self.seen = at - self._last_up < REMEMBER_SEC or bool(found.down)
        return found

    def new_series(self, leaves: Iterable[Leaf], detected: Collection[Dialect]) -> str:
        """Which counters of these leaves have new series, in these dialects; empty without any."""
        names: dict[str, set[str]] = {}
        counted = [leaf for leaf in leaves if not isinstance(leaf, Gauge) and leaf.series.role == self.role]
        for dialect in reversed(list(detected)):
            for leaf in counted:
                before = _anchor_before(leaf, dialect, self._window, self.matchers)
                names.setdefault(before, set()).add(promql.new_series_name(leaf, dialect))
        return " or ".join(
            promql.new_series_names(sorted(of), self._window, before, self.matchers) for before, of in names.items()
        )

    def _present(self, matchers: Sequence[Matcher] = ()) -> str:
        chosen = (promql.selector(name, (*matchers, *self.matchers)) for name in self._presence)
        return "(" + " or ".join(chosen) + ")"
