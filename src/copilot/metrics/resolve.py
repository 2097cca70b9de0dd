"""Numbers to readings: each leaf becomes a value, no traffic, or missing with a reason; then arithmetic over leaves.

Scraped pages and Prometheus share this step. An absent counter is zero only while the presence metric of its role is
there, a first event counts, and a quantile or ratio of nothing is no traffic.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from whenever import Instant

from copilot.metrics.dialects import sample_name
from copilot.metrics.processes import OF_PROCESSES, STARTED, described
from copilot.metrics.window import TOO_COARSE, AtLeast, ScrapeWindow, TargetScrapes, Vector, compute, epoch_seconds
from copilot.rules.signals import expressions as ex
from copilot.rules.signals.expressions import Gauge, Leaf, Quantile, Role, leaves
from copilot.rules.signals.readings import (
    MAX_BREAKDOWN_ROWS,
    MAX_PROCESSES,
    BreakdownRow,
    Missing,
    MissingCode,
    ProcessRead,
    Signals,
)
from copilot.rules.signals.spec import Measure, SignalSpec
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.signals.versions import SINCE, Release, lowest

PRESENCE_METRIC: dict[Role, str] = {"server": ex.SERVER_PRESENCE_METRIC, "worker": ex.WORKER_PRESENCE_METRIC}
ZERO_ROWS_MATTER = frozenset(
    {"pending_polls", "task_latency_queue", "temporal_worker_task_slots_available", "temporal_worker_task_slots_used"}
)
"""Families whose breakdown keeps rows of zero: no pollers, no free slots, no task done on a host."""

TOLERATED_FAILURES = 1
STALE_INTERVALS = 2.5
_LABELS = {"taskqueue": "task_queue"}


NO_TRAFFIC = math.nan
"""Read, and nothing happened that could be measured."""
Resolved = float | Missing
ALL_NAMESPACES = "all namespaces, Temporal's own too: the label namespace is hidden"
_STILL = Missing(
    code=MissingCode.TARGET_DOWN,
    detail="no counter of the server moved in the window: what is read is old, or every process hangs",
)


def measurable(spec: SignalSpec, roles: Iterable[Role]) -> bool:
    """Whether the pages of these roles hold the signal."""
    return spec.expression is not None and {leaf.series.role for leaf in leaves(spec.expression)} <= set(roles)


def leaves_of(specs: Iterable[SignalSpec]) -> tuple[Leaf, ...]:
    """All leaves of the signals, their breakdowns and substitutes, those that describe processes, and those that show
    which labels the server's series have."""
    found: list[Leaf] = [*OF_PROCESSES, *STARTED.values(), *ex.LABELED.values()]
    for measure in measures(specs):
        for leaf in leaves(measure.expression):
            found.append(leaf)
            if isinstance(leaf, Quantile) and leaf.series.role == "worker":
                found += (ex.summary_of(leaf), ex.count_of(leaf))
        found += [measure.breakdown] if measure.breakdown else ()
    return tuple(dict.fromkeys(found))


def measures(specs: Iterable[SignalSpec]) -> Iterator[Measure]:
    """How metrics give these signals: their own expressions, then their substitutes'."""
    for spec in specs:
        if spec.expression is not None:
            yield Measure("", spec.expression, spec.breakdown, spec.emitted_by)
        if spec.substitute is not None:
            yield spec.substitute


@dataclass(frozen=True, slots=True)
class RoleState:
    """The targets of one role at one time.

    `up`: whether a target is up, else `why_down` says why none is. `partly_down`: why a target is down while others are
    up; `no_rate`: why no target has a rate yet; both empty where that is not so. `present`: whether a target has the
    presence metric, `throughout`: whether one had it since its window began. `place`: where series of the role are
    looked up, for messages. `unread`: names of the targets that are down. `targets`: how many are up; None where that
    is not known. `processes`: all targets."""

    up: bool
    why_down: Missing
    partly_down: str
    no_rate: str
    present: bool
    throughout: bool
    place: str
    unread: tuple[str, ...] = ()
    targets: int | None = None
    processes: tuple[ProcessRead, ...] = ()


Vectors = Callable[[Leaf], Vector | Missing]
"""A leaf by group, as PromQL computes it, at one time; empty without series, missing where the query failed."""


def read_scrapes(
    specs: Iterable[SignalSpec],
    targets: Sequence[TargetScrapes],
    now: Instant,
    window_sec: float,
    *,
    interval_sec: float,
    versions: Collection[str] = (),
) -> Signals:
    """The signals of the targets' pages at `now`, with rates over `window_sec`, scraped every `interval_sec` seconds.
    `versions`: see `resolve_signals`.

    A target is down when its last good read is older than two and a half intervals, or two reads failed since, or its
    pages do not continue each other."""
    oldest = epoch_seconds(now) - STALE_INTERVALS * interval_sec
    windows = [
        ScrapeWindow.latest(t, window_sec, presence_metric=PRESENCE_METRIC[t.role])
        for t in targets
        if t.times and t.failures <= TOLERATED_FAILURES and t.times[-1] >= oldest and not t.broken
    ]
    of_role = {role: [w for w in windows if w.target.role == role] for role in {t.role for t in targets}}
    states = {role: _state(role, [t for t in targets if t.role == role], up) for role, up in of_role.items()}
    return resolve_signals(specs, states, lambda leaf: compute(leaf, windows), now, versions)


def resolve_signals(
    specs: Iterable[SignalSpec],
    roles: Mapping[Role, RoleState],
    vector_of: Vectors,
    now: Instant,
    versions: Collection[str] = (),
) -> Signals:
    """The readings of all signals that these roles can have: scraped pages, or what a Prometheus answered. `versions`:
    those of the server that are known from elsewhere; of these and those that the pages show the lowest counts."""
    specs = [spec for spec in specs if measurable(spec, roles)]
    resolver = _Resolver(roles, vector_of, specs, versions)
    found: dict[str, Resolved] = {}
    rows: dict[str, tuple[BreakdownRow, ...]] = {}
    origins: dict[str, str] = {}
    for spec in specs:
        assert spec.expression is not None
        value, breakdown = resolver.resolve(spec.expression), spec.breakdown
        if isinstance(value, Missing) and value.not_there and (other := spec.substitute) is not None:
            instead = resolver.resolve(other.expression)
            if not isinstance(instead, Missing):
                value, breakdown, origins[spec.id] = instead, other.breakdown, other.name
        found[spec.id] = value
        if not isinstance(value, Missing) and resolver.hides("namespace", spec.expression):
            origins[spec.id] = ALL_NAMESPACES
        if isinstance(spec.expression, ex.Shares) and not isinstance(of := resolver.shares(spec.expression), Missing):
            rows[spec.id] = _breakdown_rows(spec.expression.limit, of)
        if breakdown is not None and not isinstance(value, Missing):
            vector = vector_of(breakdown)
            if of_signal := () if isinstance(vector, Missing) else _breakdown_rows(breakdown, vector):
                rows[spec.id] = of_signal
    return Signals(
        time=now,
        readings={i: None if isinstance(v, Missing) or math.isnan(v) else float(v) for i, v in found.items()},
        at_least=tuple(i for i, v in found.items() if isinstance(v, AtLeast)),
        no_traffic=tuple(i for i, v in found.items() if not isinstance(v, Missing) and math.isnan(v)),
        missing={i: value for i, value in found.items() if isinstance(value, Missing)},
        targets={role: state.targets for role, state in sorted(roles.items()) if state.targets is not None},
        unread={role: state.unread for role, state in roles.items() if state.up and state.unread},
        processes=tuple(described([p for s in roles.values() for p in s.processes][:MAX_PROCESSES], vector_of)),
        breakdowns=rows,
        sources=origins,
    )


def unless_still(signals: Signals, vector_of: Vectors) -> Signals:
    """The signals a Prometheus gave. None of the server's are credible where no counter moves of those that move on an
    idle server too: a collector may serve a dead process's last page for minutes."""
    vectors = [vector_of(leaf) for leaf in (ex.DATABASE_CALLS, ex.SERVICES)]
    if any(isinstance(v, Missing) or not v or any(v.values()) for v in vectors):
        return signals
    return signals.without({i: _STILL for i in signals.readings if not measurable(SPECS[i], ["worker"])})


def _state(role: Role, targets: Sequence[TargetScrapes], windows: Sequence[ScrapeWindow]) -> RoleState:
    """The state of a role with these targets, those that are up with these windows."""

    def missing(target: TargetScrapes) -> Missing:
        seen = target.broken or ("not read lately" if target.times else "not read yet")
        return target.failure or Missing(code=MissingCode.TARGET_DOWN, detail=seen)

    def why(target: TargetScrapes) -> str:
        return f"{target.name}: {missing(target).detail or missing(target).code}"

    def process(target: TargetScrapes) -> ProcessRead:
        at = Instant.from_timestamp(round(1000 * target.times[-1]), unit="millisecond") if target.times else None
        down = missing(target) if target in unread else None
        return ProcessRead(target.name, role, read_at=at, missing=down)

    unread = [t for t in targets if all(w.target is not t for w in windows)]
    more = f" (and {len(targets) - 1} more)" if len(targets) > 1 else ""
    failure = targets[0].failure
    # HTTP 404 means that the page was not read; absent is for what a page lacks.
    code = failure.code if failure and failure.code is not MissingCode.ABSENT else MissingCode.TARGET_DOWN
    name, rated = PRESENCE_METRIC[role], [w for w in windows if len(w.pages) > 1]
    return RoleState(
        up=bool(windows),
        why_down=Missing(code=code, detail=why(targets[0]) + more),
        partly_down=why(unread[0]) if unread else "",
        no_rate="" if rated else f"the {role} pages were read once so far, a rate needs two",
        present=any(w.has(name) for w in windows),
        throughout=any(w.has(name) and w.has(name, 0) for w in rated),
        place=f"the {role} pages",
        unread=tuple(t.name for t in unread if not t.broken),
        targets=len(windows),
        processes=tuple(map(process, sorted(targets, key=lambda t: t not in unread))),
    )


class _Resolver:
    """Resolves expressions over the leaves of one time, each leaf once."""

    def __init__(
        self, roles: Mapping[Role, RoleState], vector: Vectors, specs: Iterable[SignalSpec], versions: Collection[str]
    ) -> None:
        self._roles = roles
        self._known_versions = versions
        self._vector = vector
        self._emitted_by = {leaf: m.emitted_by for m in measures(specs) for leaf in leaves(m.expression)}
        self._versioned = [leaf for leaf in self._emitted_by if leaf.series.family in SINCE]
        self._leaf = cache(self._resolve_leaf)

    @cached_property
    def _versions(self) -> frozenset[str]:
        """The server's versions, several while it is upgraded; empty where neither pages nor API tell."""
        builds = self._vector(ex.BUILDS) if "server" in self._roles else {}
        on_pages = () if isinstance(builds, Missing) else (version for _, _, version in builds)
        return frozenset(filter(None, (*on_pages, *self._known_versions)))

    @cached_property
    def _release(self) -> Release | None:
        return lowest(self._versions)

    @cached_property
    def _unlabeled(self) -> frozenset[str]:
        """The labels that the server's series lack."""
        there = not isinstance(vector := self._vector(ex.SERVICES), Missing) and bool(vector)
        return frozenset(label for label, leaf in ex.LABELED.items() if there and not self._vector(leaf))

    def hides(self, label: str, expression: ex.Expression) -> bool:
        """Whether the expression selects the server's series by this label, and they lack it."""
        selected = (m.label for leaf in leaves(expression) if leaf.series.role == "server" for m in leaf.series.match)
        return label in selected and label in self._unlabeled

    def resolve(self, expression: ex.Expression) -> Resolved:
        match expression:
            case ex.Plus(terms):
                if isinstance(numbers := self._numbers(terms), Missing):
                    return numbers
                measured = [number for number in numbers if not math.isnan(number)]
                return math.fsum(measured) if measured else NO_TRAFFIC
            case ex.Ratio(part, whole):
                if isinstance(numbers := self._numbers((part, whole)), Missing):
                    return numbers
                return numbers[0] / numbers[1] if numbers[1] else NO_TRAFFIC
            case ex.Scale(of, factor, offset):
                found = self.resolve(of)
                if isinstance(found, Missing):
                    return found
                scaled = factor * found + offset
                return AtLeast(scaled) if isinstance(found, AtLeast) else scaled
            case ex.Beyond(of, base):
                if self.hides("namespace", of):
                    return _without("namespace", of)
                if isinstance(found := self.resolve(of), Missing):
                    return found
                vector = self._vector(of)
                values = () if isinstance(vector, Missing) else vector.values()
                return math.fsum(max(0.0, value - base) for value in values)
            case ex.Shares():
                shares = self.shares(expression)
                return shares if isinstance(shares, Missing) else max(shares.values())
            case _:
                return self._leaf(expression)

    def shares(self, of: ex.Shares) -> Vector | Missing:
        """What each group uses of its limit."""
        for leaf in (of.limit, of.used):
            if isinstance(why := self._leaf(leaf), Missing):
                return why
        uses, limits = self._vector(of.used), self._vector(of.limit)
        if isinstance(uses, Missing) or isinstance(limits, Missing):
            return uses if isinstance(uses, Missing) else limits if isinstance(limits, Missing) else {}
        shares = {group: uses.get(group, 0.0) / most for group, most in limits.items() if most > 0}
        return shares or Missing(
            code=MissingCode.ABSENT, detail=f"{of.limit.series.family} sets no limit: it is not over 0"
        )

    def _numbers(self, terms: Iterable[ex.Expression]) -> list[float] | Missing:
        """The terms' numbers, or the first that is missing."""
        numbers = []
        for term in terms:
            if isinstance(found := self.resolve(term), Missing):
                return found
            numbers.append(found)
        return numbers

    def _resolve_leaf(self, leaf: Leaf) -> Resolved:
        state = self._roles[leaf.series.role]
        if not state.up:
            return state.why_down
        if (label := next((x for x in ("service_name", "operation") if self.hides(x, leaf)), None)) is not None:
            return _without(label, leaf)
        vector = self._vector(leaf)
        if isinstance(vector, Missing):
            return vector
        if not vector:
            return self._without_buckets(leaf) or self._absent(leaf, state)
        value = next(iter(vector.values())) if not leaf.by else math.fsum(vector.values())
        if math.isfinite(value):
            return value
        if math.isnan(value) and (isinstance(leaf, Quantile) or (isinstance(leaf, Gauge) and leaf.timer)):
            return NO_TRAFFIC
        if value == TOO_COARSE and isinstance(leaf, Quantile):
            detail = f"too coarse to tell: it lies in the lowest bucket of {leaf.series.family}, a second wide or more"
            return Missing(code=MissingCode.ABSENT, detail=detail)
        return Missing(code=MissingCode.PARSE, detail=f"{sample_name(leaf)} is {value} on {state.place}")

    def _without_buckets(self, leaf: Leaf) -> Resolved | None:
        """A quantile of a reporter without buckets: that of its summary, or missing although there is traffic. None
        where there is neither."""
        if not isinstance(leaf, Quantile) or leaf.series.role != "worker":
            return None
        counted, summary = self._vector(ex.count_of(leaf)), self._vector(ex.summary_of(leaf))
        if isinstance(counted, Missing) or isinstance(summary, Missing) or not math.fsum(counted.values()):
            return None
        if summary:
            return self.resolve(ex.summary_of(leaf))
        detail = f"no buckets: {leaf.series.family} is exported as a count and a sum only"
        return Missing(code=MissingCode.ABSENT, detail=detail)

    def _absent(self, leaf: Leaf, state: RoleState) -> Resolved:
        """A leaf without any sample: zero, no traffic, or missing."""
        role, counted = leaf.series.role, not isinstance(leaf, Gauge)
        presence_metric = PRESENCE_METRIC[role] if isinstance(leaf, Quantile) else leaf.presence_metric
        if role == "server" and (why := self._not_emitted(leaf)) is not None:
            return why
        if counted and state.no_rate:
            return Missing(code=MissingCode.ABSENT, detail=state.no_rate)
        if presence_metric == PRESENCE_METRIC[role] and (state.throughout if counted else state.present):
            return self._of_others(leaf, state) or (NO_TRAFFIC if isinstance(leaf, Quantile) else 0.0)
        nor = f", nor is {presence_metric}" if presence_metric else ""
        return Missing(code=MissingCode.ABSENT, detail=f"{leaf.series.family} is not on {state.place}{nor}")

    def _not_emitted(self, leaf: Leaf) -> Missing | None:
        """Why a family may be on no page whatever happens: the server's version does not emit it, or is unknown and
        neither the family nor one as new was seen. None where its absence says something."""
        family = leaf.series.family
        if (since := SINCE.get(family)) is None:
            return None
        first, release = "{}.{}".format(*since), self._release
        if release is not None and release < since:
            detail = "not emitted by server {}.{}: {} is new in {}".format(*release, family, first)
            return Missing(code=MissingCode.NO_SOURCE, detail=detail)
        newer = (x for x in self._versioned if SINCE[x.series.family] >= since)
        if release is not None or any(self._vector(x) for x in newer):
            return None
        says = f": it says {', '.join(sorted(self._versions))}" if self._versions else ""
        detail = f"{family} (new in {first}) is on no page, and which version the server is, is unknown{says}"
        return Missing(code=MissingCode.ABSENT, detail=detail)

    def _of_others(self, leaf: Leaf, state: RoleState) -> Missing | None:
        """Why the presence metric says nothing about the leaf: only other services' pages were read. None where a page
        of its service was, or where too little was read to know."""
        service = self._emitted_by.get(leaf, "")
        if not service or state.no_rate:
            return None
        services = self._vector(ex.SERVICES)
        if isinstance(services, Missing):
            return services
        if any(found == service for _, found in services):
            return None
        lacking = f"{leaf.series.family} is not on {state.place}, and none of them is {service}'s"
        if state.partly_down:
            return Missing(code=MissingCode.TARGET_DOWN, detail=f"{lacking}: {state.partly_down}")
        return Missing(code=MissingCode.ABSENT, detail=lacking)


def _without(label: str, leaf: Leaf) -> Missing:
    """A leaf whose series cannot be told apart."""
    detail = f"the label {label} is on no series of service_requests, so those of {leaf.series.family} cannot be told "
    detail += "apart: keep it where metrics are relabeled, and out of the server's excludeTags"
    return Missing(code=MissingCode.ABSENT, detail=detail)


def _breakdown_rows(leaf: Leaf, vector: Vector) -> tuple[BreakdownRow, ...]:
    """The rows of a grouped leaf, at most 20, largest first; where rows of zero matter, the smallest 20."""
    zero_matters = leaf.series.family in ZERO_ROWS_MATTER
    found = [(group, v) for group, v in vector.items() if math.isfinite(v) and (v != 0 or zero_matters)]
    found.sort(key=lambda item: (item[1] if zero_matters else -item[1], item[0]))
    rows = []
    for group, value in sorted(found[:MAX_BREAKDOWN_ROWS], key=lambda item: (-item[1], item[0])):
        labels = {_LABELS.get(name, name): text for name, text in zip(leaf.by, group, strict=True)}
        if "task_type" in labels:
            labels["task_type"] = labels["task_type"].lower()
        rows.append(BreakdownRow(labels=labels, value=value))
    return tuple(rows)
