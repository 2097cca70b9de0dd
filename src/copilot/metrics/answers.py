"""The answers of a Prometheus as inputs of metrics/resolve.py: leaves in all dialects, and which targets are up.

A role's targets are the (job, instance) pairs that have its presence metric; `up` shows whether they were scraped.
Without `up`, a target with the presence metric counts as up.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from types import MappingProxyType
from typing import TypeVar

from whenever import Instant

from copilot.metrics.continuity import ANOTHER_PROCESS, DELTAS, UNCLEAR
from copilot.metrics.dialects import NAMESPACE_ALIASES, SERVICE_ALIASES, Dialect
from copilot.metrics.promql import TAG, group_labels
from copilot.metrics.resolve import PRESENCE_METRIC, RoleState, Vectors
from copilot.metrics.window import Vector, aggregate, quantiles
from copilot.rules.signals.expressions import Gauge, Leaf, Matcher, Quantile, Role
from copilot.rules.signals.readings import Missing, MissingCode, ProcessRead

V = TypeVar("V")
Sample = tuple[Mapping[str, str], float]
Target = tuple[str, str]
"""Job and instance."""
MAX_EXCLUDED = 50

NAMES, ROLE, SAMPLES, UP, FELL, SUMS, STARTED = "names", "role", "samples", "up", "fell", "sums", "started"
"""The parts of the query for a role's targets: the sample names each has now; those that are Temporal's own worker; how
many samples of the presence metric each had in the window (that worker, of its database calls); whether it is up; those
whose counters fell in the window; the least sums of durations of each, which stand still between two scrapes; when each
started (epoch seconds)."""
ENOUGH_SUMS = 5
BREAKS = {"jumps": ANOTHER_PROCESS, "deltas": DELTAS, "mixes": UNCLEAR}
"""The parts that name targets whose series do not continue each other, and why."""


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One role's targets at one time: the sample names of all, the names of their labels `namespace` and
    `service_name`, and which of them are up, have the presence metric with a sample in the window, are down, are known
    to `up`, or are stale (returned by the look-back, without a sample in the window); `gone`: those that had the
    presence metric in the window, and are up without it; `broken`: why series of a target do not continue each other;
    `again`: targets that are the process of another one, which counts.
    `samples`: the most that any target that is up had in the window. `started`: when targets did (epoch seconds)."""

    role: Role
    names: frozenset[str] = frozenset()
    namespace: str = "namespace"
    up: frozenset[Target] = frozenset()
    present: frozenset[Target] = frozenset()
    down: frozenset[Target] = frozenset()
    listed: frozenset[Target] = frozenset()
    stale: frozenset[Target] = frozenset()
    gone: frozenset[Target] = frozenset()
    broken: Mapping[Target, str] = field(default_factory=dict)
    again: Mapping[Target, Target] = field(default_factory=dict)
    samples: int = 0
    started: Mapping[Target, float] = field(default_factory=dict)
    service_name: str = "service_name"

    def without_down(self) -> tuple[Matcher, ...]:
        """Matchers that leave out targets that are down (their rates continue for a window, shrinking), stale (their
        gauges continue for the look-back), gone, broken or another's process, and jobs whose targets others scrape."""
        out = self.down | self.stale | self.gone | self.broken.keys() | self.again.keys()
        instances = sorted({i for _, i in out if i} - {i for _, i in self.up - self.gone})
        if not self.up:
            return ()
        left_out = {"instance": instances, "job": sorted(self.twins)}
        return tuple(
            Matcher(label, "!~", "|".join(escape_regex(v) for v in values[:MAX_EXCLUDED]))
            for label, values in left_out.items()
            if values
        )

    @property
    def twins(self) -> frozenset[str]:
        """Jobs each of whose targets another job scrapes too, as behind two services: their series count twice."""
        alive, every = _by_job(self.up), _by_job(self.up | self.down)
        scraped: set[str] = set()
        twins = set()
        for job in sorted(every, key=lambda j: (-len(alive[j]), -len(every[j]), j)):
            if "" not in every[job] and every[job] <= scraped:
                twins.add(job)
            scraped |= alive[job]
        return frozenset(twins)


def same_processes(
    sums: Mapping[Target, frozenset[tuple[str, str, float]]], started: Mapping[Target, float]
) -> dict[Target, Target]:
    """The targets that are the process of another one under another name: they have half of their sums of durations in
    common, and started at the same moment, or neither says when and these sums are at least five."""
    found: dict[Target, Target] = {}
    for one, other in combinations(sorted(sums), 2):
        if one[1] != other[1] and started.get(one) == started.get(other) and not found.keys() & {one, other}:
            few = min(len(sums[one]), len(sums[other])) / 2
            enough = max(1, few) if one in started else max(ENOUGH_SUMS, few)
            if len(sums[one] & sums[other]) >= enough:
                found[other] = one
    return found


def _by_job(targets: Iterable[Target]) -> defaultdict[str, set[str]]:
    jobs: defaultdict[str, set[str]] = defaultdict(set)
    for job, instance in targets:
        jobs[job].add(instance)
    return jobs


def escape_regex(text: str) -> str:
    """The text as an RE2 expression that matches nothing else."""
    return "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in text)


def target_status(
    role: Role,
    presence_metrics: Collection[str],
    samples: Iterable[Sample],
    known: Collection[Target] = (),
    broken: Mapping[Target, str] = MappingProxyType({}),
) -> TargetStatus:
    """A role's targets from the answer to the query for them; `known` are those it had before, `broken` those whose
    series do not continue each other, and why."""
    names: set[str] = set()
    here: set[Target] = set()
    counts: dict[Target, int] = {}
    up: dict[Target, bool] = {}
    sums: dict[Target, set[tuple[str, str, float]]] = {}
    started: dict[Target, float] = {}
    namespace, service_name = "namespace", "service_name"
    for labels, value in samples:
        target = labels.get("job", ""), labels.get("instance", "")
        name, part = labels.get("__name__", ""), labels.get(TAG, "")
        if part == NAMES:
            names.add(name)
            if name in presence_metrics:
                here.add(target)
        elif part == ROLE:
            here.add(target)
        elif part == SAMPLES:
            counts[target] = int(value) if math.isfinite(value) else 0
        elif part == UP:
            up[target] = value != 0
        elif part == STARTED and math.isfinite(value):
            started[target] = value
        elif part == SUMS:
            sums.setdefault(target, set()).add((name, labels.get("operation", ""), value))
        elif part in NAMESPACE_ALIASES:
            namespace = part
        elif part in SERVICE_ALIASES:
            service_name = part
    up = {t: read for t, read in up.items() if t in counts or t in known}
    down = {t for t, read in up.items() if not read}
    stale = {t for t in here if not counts.get(t)}
    present = here - stale - down - broken.keys()
    alive = present | (up.keys() - down - broken.keys())
    again = same_processes({t: frozenset(sums[t]) for t in alive & sums.keys()}, started)
    return TargetStatus(
        role,
        frozenset(names),
        namespace,
        up=frozenset(alive - again.keys()),
        present=frozenset(present - again.keys()),
        again=again,
        down=frozenset(down),
        listed=frozenset(up),
        stale=frozenset(stale),
        gone=frozenset(t for t in alive - here if counts.get(t)),
        broken={t: why for t, why in broken.items() if t not in down},
        samples=max((counts.get(t, 0) for t in alive), default=0),
        started=started,
        service_name=service_name,
    )


DialectAnswer = tuple[Dialect, Mapping[tuple[str, ...], float] | Missing]
"""What a query for one leaf gave in one dialect, group → number: its values, or what series new in the window add."""


def by_group(leaf: Leaf, dialect: Dialect, samples: Iterable[tuple[Mapping[str, str], V]]) -> dict[tuple[str, ...], V]:
    """Samples (or series) by the values of the labels that the leaf's query groups by."""
    labels = group_labels(leaf, dialect)
    return {tuple(found.get(name, "") for name in labels): value for found, value in samples}


def merge_dialects(leaf: Leaf, parts: Sequence[DialectAnswer]) -> Vector | Missing:
    """The leaf over all dialects of a fleet: sums add up, a quantile is that of all buckets, in seconds. Missing if a
    part is missing."""
    whole: list[tuple[Dialect, Vector]] = []
    for dialect, found in parts:
        if isinstance(found, Missing):
            return found
        whole.append((dialect, dict(found)))
    if isinstance(leaf, Quantile):
        return _quantiles(leaf, whole)
    units = {d: d.scale(0.0) if isinstance(leaf, Gauge) and leaf.timer else 1.0 for d, _ in whole}
    return aggregate(leaf, ((group, value / units[d]) for d, values in whole for group, value in values.items()))


def _quantiles(leaf: Quantile, parts: Iterable[tuple[Dialect, Vector]]) -> Vector:
    buckets: list[tuple[Dialect, tuple[str, ...], float, float]] = []
    for dialect, values in parts:
        for (le, *group), value in values.items():
            with suppress(ValueError):
                buckets.append((dialect, tuple(group), float(le), value))
    lowest: dict[Dialect, float] = {}
    for dialect, _, bound, _ in buckets:
        lowest[dialect] = min(bound, lowest.get(dialect, math.inf))
    units = {dialect: dialect.scale(bound) if leaf.timer else 1.0 for dialect, bound in lowest.items()}
    return quantiles(leaf, ((d, group, bound / units[d], value) for d, group, bound, value in buckets))


def prometheus_inputs(
    statuses: Mapping[Role, TargetStatus | Missing],
    parts: Mapping[Leaf, Sequence[DialectAnswer]],
    *,
    place: str,
    window_sec: float,
    recently_up: Collection[Role] = (),
) -> tuple[dict[Role, RoleState], Vectors]:
    """The answers of a Prometheus, as inputs of `resolve_signals`.

    `statuses`: each role's targets, missing where the query failed. `parts`: by leaf (see `answer_key`), those of all
    dialects. `recently_up`: roles with targets that were up lately; without that, a role without targets may be down or
    not in this Prometheus at all."""

    @cache
    def vector(leaf: Leaf) -> Vector | Missing:
        status = statuses[leaf.series.role]
        found = merge_dialects(leaf, parts.get(answer_key(leaf), ()))
        return status if isinstance(status, Missing) and not found else found

    def state(role: Role, status: TargetStatus | Missing) -> RoleState:
        if isinstance(status, Missing):
            answered = any(leaf.series.role == role and found for leaf, found in parts.items())
            return RoleState(answered, status, status.detail, "", False, False, f"the {role} targets of {place}")
        return _state(role, status, window_sec, place, recent=role in recently_up)

    return {role: state(role, status) for role, status in statuses.items()}, vector


def _state(role: Role, status: TargetStatus, window_sec: float, place: str, *, recent: bool) -> RoleState:
    name, partly_down, no_rate, twins = PRESENCE_METRIC[role], "", "", status.twins
    if status.down:
        job, instance = min(status.down)
        more = f" (and {len(status.down) - 1} more)" if len(status.down) > 1 else ""
        partly_down = f"up is 0 for {instance or 'a target'} of job {job or '?'}{more}"
    elif status.broken:
        (job, instance), why = min(status.broken.items())
        partly_down = f"{instance or 'a target'} of job {job or '?'}: {why}"
    if status.samples < 2:
        found = "one sample" if status.samples else "no sample"
        no_rate = f"{found} of {name} in {window_sec:g} s, a rate needs two: "
        no_rate += "ask again if it just started, else set window_sec to four scrape intervals"
    return RoleState(
        up=bool(status.up),
        why_down=Missing(code=MissingCode.TARGET_DOWN, detail=partly_down or f"no target has {name} in {place}"),
        partly_down=partly_down,
        no_rate=no_rate,
        present=bool(status.present),
        throughout=bool(status.present) and status.samples > 1,
        place=f"the {role} targets of {place}",
        unread=tuple(f"{i} ({job})" if job else i for job, i in sorted(status.down) if job not in twins),
        targets=sum(job not in twins for job, _ in status.up) if status.up or recent else None,
        processes=tuple(_processes(role, status)),
    )


def _processes(role: Role, status: TargetStatus) -> Iterator[ProcessRead]:
    """The targets, those that are not read first."""
    down = Missing(code=MissingCode.TARGET_DOWN, detail="its scrape fails: up is 0")
    broken = [(frozenset({t}), Missing(code=MissingCode.TARGET_DOWN, detail=why)) for t, why in status.broken.items()]
    for targets, missing in ((status.down, down), *broken, (status.up - status.again.keys(), None)):
        for job, instance in sorted(t for t in targets if t[0] not in status.twins):
            at = status.started.get((job, instance))
            started = Instant.from_timestamp(at) if at else None
            yield ProcessRead(instance, role, job, started=started, missing=missing)


def answer_key(leaf: Leaf) -> Leaf:
    """The leaf under which its answer is stored: all quantiles of a histogram share one answer."""
    return Quantile(0.0, leaf.series, leaf.by, leaf.timer) if isinstance(leaf, Quantile) else leaf
