"""Numbers to readings: each leaf becomes a value, no traffic, or missing with a reason; then arithmetic over leaves.

Scraped pages and Prometheus share this step. An absent counter is zero only while the presence metric of its role is
there, a first event counts, and a quantile or ratio of nothing is no traffic.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from whenever import Instant

from copilot.metrics.dialects import sample_name
from copilot.metrics.window import ScrapeWindow, TargetScrapes, Vector, compute
from copilot.rules.signals.expressions import (
    SERVER_PRESENCE_METRIC,
    SERVICES,
    WORKER_PRESENCE_METRIC,
    Expression,
    Gauge,
    Leaf,
    Plus,
    Quantile,
    Ratio,
    Role,
    Scale,
    leaves,
)
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, BreakdownRow, Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SignalSpec

PRESENCE_METRIC: dict[Role, str] = {"server": SERVER_PRESENCE_METRIC, "worker": WORKER_PRESENCE_METRIC}
ZERO_ROWS_MATTER = frozenset(
    {"pending_polls", "temporal_worker_task_slots_available", "temporal_worker_task_slots_used"}
)
"""Families whose breakdown keeps rows of zero: no pollers, no free slots."""

TOLERATED_FAILURES = 1
STALE_INTERVALS = 2.5
_LABELS = {"taskqueue": "task_queue"}


@dataclass(frozen=True, slots=True)
class NoTraffic:
    """Read, and nothing happened that could be measured."""


NO_TRAFFIC = NoTraffic()
Resolved = float | NoTraffic | Missing


def measurable(spec: SignalSpec, roles: Iterable[Role]) -> bool:
    """Whether the pages of these roles hold the signal."""
    return spec.expression is not None and {leaf.series.role for leaf in leaves(spec.expression)} <= set(roles)


def leaves_of(specs: Iterable[SignalSpec]) -> tuple[Leaf, ...]:
    """All leaves of the signals' expressions and breakdowns, and the one that shows which services' pages are read."""
    found: dict[Leaf, None] = {SERVICES: None}
    for spec in specs:
        if spec.expression is not None:
            found.update(dict.fromkeys(leaves(spec.expression)))
        if spec.breakdown is not None:
            found[spec.breakdown] = None
    return tuple(found)


class MetricInputs(Protocol):
    """The leaves and targets of one source at one time: scraped pages, or what a Prometheus answered."""

    @property
    def roles(self) -> Collection[Role]:
        """The roles whose signals this source is expected to have."""
        ...

    def vector(self, leaf: Leaf) -> Vector | Missing:
        """The leaf by group, as PromQL computes it; empty without series, missing where the query failed."""
        ...

    def is_up(self, role: Role) -> bool:
        """Whether a target of the role is up."""
        ...

    def targets(self) -> dict[Role, int]:
        """How many targets of each role are up; without roles where that is not known."""
        ...

    def why_down(self, role: Role) -> Missing:
        """Why no target of the role is up."""
        ...

    def why_partly_down(self, role: Role) -> str:
        """Why a target of the role is down while others are up; empty when all are up."""
        ...

    def why_no_rate(self, role: Role) -> str:
        """Why no target of the role has a rate yet; empty when one has."""
        ...

    def has_presence_metric(self, role: Role, name: str, *, throughout: bool) -> bool:
        """Whether a target has this presence metric now and, with `throughout`, had it when its window began."""
        ...

    def place(self, role: Role) -> str:
        """Where series of the role are looked up, for messages."""
        ...


def read_scrapes(
    specs: Iterable[SignalSpec],
    targets: Sequence[TargetScrapes],
    now: Instant,
    window_sec: float,
    *,
    interval_sec: float,
) -> Signals:
    """The signals of the targets' pages at `now`, with rates over `window_sec`, scraped every `interval_sec` seconds.

    A target is down when its last good read is older than two and a half intervals, or two reads failed since."""
    return resolve_signals(specs, ScrapeInputs(targets, now, window_sec, interval_sec), now)


def resolve_signals(specs: Iterable[SignalSpec], inputs: MetricInputs, now: Instant) -> Signals:
    """The readings of all signals that these inputs can have."""
    specs = [spec for spec in specs if measurable(spec, inputs.roles)]
    resolver = _Resolver(inputs, specs)
    values: dict[str, float | None] = {}
    quiet: list[str] = []
    missing: dict[str, Missing] = {}
    rows: dict[str, tuple[BreakdownRow, ...]] = {}
    for spec in specs:
        assert spec.expression is not None
        found = resolver.resolve(spec.expression)
        values[spec.id] = found if isinstance(found, float) else None
        if isinstance(found, NoTraffic):
            quiet.append(spec.id)
        elif isinstance(found, Missing):
            missing[spec.id] = found
        if spec.breakdown is not None and not isinstance(found, Missing):
            vector = inputs.vector(spec.breakdown)
            breakdown = () if isinstance(vector, Missing) else breakdown_rows(spec.breakdown, vector)
            if breakdown:
                rows[spec.id] = breakdown
    return Signals(
        time=now,
        readings=values,
        no_traffic=tuple(quiet),
        missing=missing,
        targets=dict(sorted(inputs.targets().items())),
        breakdowns=rows,
    )


class ScrapeInputs:
    """Scraped targets, each that is up with its newest window."""

    def __init__(self, targets: Sequence[TargetScrapes], now: Instant, window_sec: float, interval_sec: float) -> None:
        self._targets = targets
        oldest = now.timestamp(unit="nanosecond") / 1e9 - STALE_INTERVALS * interval_sec
        self._windows = [
            ScrapeWindow.latest(t, window_sec, presence_metric=PRESENCE_METRIC[t.role])
            for t in targets
            if t.times and t.failures <= TOLERATED_FAILURES and t.times[-1] >= oldest
        ]

    @property
    def roles(self) -> Collection[Role]:
        return {t.role for t in self._targets}

    def vector(self, leaf: Leaf) -> Vector | Missing:
        return compute(leaf, self._windows)

    def is_up(self, role: Role) -> bool:
        return bool(self._of(role))

    def targets(self) -> dict[Role, int]:
        return {role: len(self._of(role)) for role in self.roles}

    def why_down(self, role: Role) -> Missing:
        down = [t for t in self._targets if t.role == role]
        reason = _why_down(down[0]) if down else f"no {role} page is configured"
        more = f" (and {len(down) - 1} more)" if len(down) > 1 else ""
        failure = down[0].failure if down else None
        # HTTP 404 means that the page was not read; absent is for what a page lacks.
        code = failure.code if failure and failure.code is not MissingCode.ABSENT else MissingCode.TARGET_DOWN
        return Missing(code=code, detail=reason + more)

    def why_partly_down(self, role: Role) -> str:
        windows = self._of(role)
        unread = [t for t in self._targets if t.role == role and all(w.target is not t for w in windows)]
        return _why_down(unread[0]) if unread else ""

    def why_no_rate(self, role: Role) -> str:
        if any(len(v.pages) > 1 for v in self._of(role)):
            return ""
        return f"the {role} pages were read once so far, a rate needs two"

    def has_presence_metric(self, role: Role, name: str, *, throughout: bool) -> bool:
        return any(v.has(name) and (not throughout or (len(v.pages) > 1 and v.has(name, 0))) for v in self._of(role))

    def place(self, role: Role) -> str:
        return f"the {role} pages"

    def _of(self, role: Role) -> list[ScrapeWindow]:
        return [v for v in self._windows if v.target.role == role]


class _Resolver:
    """Resolves expressions over one set of inputs, each leaf once."""

    def __init__(self, inputs: MetricInputs, specs: Iterable[SignalSpec]) -> None:
        self._inputs = inputs
        self._emitted_by = {leaf: s.emitted_by for s in specs if s.expression for leaf in leaves(s.expression)}
        self._resolved: dict[Leaf, Resolved] = {}

    def resolve(self, expression: Expression) -> Resolved:
        match expression:
            case Plus(terms):
                return _plus([self.resolve(t) for t in terms])
            case Ratio(part, whole):
                return _ratio(self.resolve(part), self.resolve(whole))
            case Scale(of, factor, offset):
                found = self.resolve(of)
                return factor * found + offset if isinstance(found, float) else found
            case _:
                if expression not in self._resolved:
                    self._resolved[expression] = self._leaf(expression)
                return self._resolved[expression]

    def _leaf(self, leaf: Leaf) -> Resolved:
        role = leaf.series.role
        if not self._inputs.is_up(role):
            return self._inputs.why_down(role)
        vector = self._inputs.vector(leaf)
        if isinstance(vector, Missing):
            return vector
        if vector:
            value = next(iter(vector.values())) if not leaf.by else math.fsum(vector.values())
            if math.isfinite(value):
                return value
            if math.isnan(value) and isinstance(leaf, Quantile):
                return NO_TRAFFIC
            where = self._inputs.place(role)
            return Missing(code=MissingCode.PARSE, detail=f"{sample_name(leaf)} is {value} on {where}")
        return self._absent(leaf)

    def _absent(self, leaf: Leaf) -> Resolved:
        """A leaf without any sample: zero, no traffic, or missing."""
        role, where = leaf.series.role, self._inputs.place(leaf.series.role)
        presence_metric = PRESENCE_METRIC[role] if isinstance(leaf, Quantile) else leaf.presence_metric
        down = self._inputs.why_partly_down(role)
        if presence_metric and role == "server" and down:
            return Missing(code=MissingCode.TARGET_DOWN, detail=f"{leaf.series.family} is on no page read, and {down}")
        counted = not isinstance(leaf, Gauge)
        if counted and (short := self._inputs.why_no_rate(role)):
            return Missing(code=MissingCode.ABSENT, detail=short)
        if presence_metric and self._inputs.has_presence_metric(role, presence_metric, throughout=counted):
            return self._of_others(leaf) or (NO_TRAFFIC if isinstance(leaf, Quantile) else 0.0)
        lacking = f"{leaf.series.family} is not on {where}"
        return Missing(
            code=MissingCode.ABSENT, detail=f"{lacking}, nor is {presence_metric}" if presence_metric else lacking
        )

    def _of_others(self, leaf: Leaf) -> Missing | None:
        """Why the presence metric says nothing about the leaf: only other services' pages were read. None where a page
        of its service was, or where too little was read to know."""
        service = self._emitted_by.get(leaf, "")
        if not service or self._inputs.why_no_rate("server"):
            return None
        services = self._inputs.vector(SERVICES)
        if isinstance(services, Missing):
            return services
        lacking = f"{leaf.series.family} is not on {self._inputs.place('server')}, and none of them is {service}'s"
        return None if (service,) in services else Missing(code=MissingCode.ABSENT, detail=lacking)


def _why_down(target: TargetScrapes) -> str:
    if target.failure is not None:
        return f"{target.name}: {target.failure.detail or target.failure.code}"
    return f"{target.name}: " + ("not read lately" if target.times else "not read yet")


def _plus(terms: Sequence[Resolved]) -> Resolved:
    for term in terms:
        if isinstance(term, Missing):
            return term
    values = [t for t in terms if isinstance(t, float)]
    return math.fsum(values) if values else NO_TRAFFIC


def _ratio(part: Resolved, whole: Resolved) -> Resolved:
    for side in (part, whole):
        if isinstance(side, Missing):
            return side
    if not isinstance(part, float) or not isinstance(whole, float) or whole == 0:
        return NO_TRAFFIC
    return part / whole


def breakdown_rows(leaf: Leaf, vector: Vector) -> tuple[BreakdownRow, ...]:
    """The rows of a grouped leaf, at most 20, largest first; where rows of zero matter, the smallest 20."""
    zero_matters = leaf.series.family in ZERO_ROWS_MATTER
    found = [(group, v) for group, v in vector.items() if math.isfinite(v) and (v != 0 or zero_matters)]
    found.sort(key=lambda item: (item[1] if zero_matters else -item[1], item[0]))
    chosen = sorted(found[:MAX_BREAKDOWN_ROWS], key=lambda item: (-item[1], item[0]))
    return tuple(BreakdownRow(labels=_row_labels(leaf.by, group), value=value) for group, value in chosen)


def _row_labels(names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    return {
        _LABELS.get(name, name): value.lower() if name == "task_type" else value
        for name, value in zip(names, values, strict=True)
    }
