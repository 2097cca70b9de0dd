"""Dialects: how reporters spell metric names and units. One row per dialect; all other code reads names through it.

The taxonomy spells families as the server's own endpoint (tally) and the SDK's default reporter do. A dialect adds its
suffixes and says how many of its time units make a second.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from copilot.rules.signals.expressions import START_TIME, Gauge, Leaf, Quantile, Rate, Role

NUMBERS = frozenset(
    {"state_transition_count", "workflow_task_attempt", "task_attempt", "pending_tasks", "history_count"}
)
"""Histograms of plain numbers. Histograms in neither this set nor `BYTES` hold durations."""
BYTES = frozenset({"history_size", "event_blob_size", "mutable_state_size"})

NAMESPACE_ALIASES = ("exported_namespace", "temporal_namespace")
"""Names of the label `namespace` where the scraped target has one of its own, or relabeling renames it."""
SERVICE_ALIASES = ("exported_service_name",)
"""The same of the label `service_name`."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One reporter's spelling: its suffixes of counters, timers, numbers and sizes. `units_per_second` None: the lowest
    bucket bound of each timer tells. `prefix` precedes names; `namespace`, `service_name`: these labels."""

    name: str
    role: Role
    counter: str = ""
    timer: str = ""
    units_per_second: float | None = None
    number: str = ""
    size: str = ""
    prefix: str = ""
    namespace: str = "namespace"
    service_name: str = "service_name"

    def scale(self, lowest_bound: float) -> float:
        """Time units in a second, for a timer whose lowest bucket bound is `lowest_bound`."""
        if self.units_per_second is not None:
            return self.units_per_second
        return 1000.0 if lowest_bound >= 1.0 else 1.0

    def spelling(self, lowest_bound: float | None) -> str:
        """Its three facts in words: how counters end, how timers end, and their unit. `lowest_bound`: that of the
        timers' buckets, which tells the unit where names do not; None: not known."""
        unit = self.units_per_second or (None if lowest_bound is None else self.scale(lowest_bound))
        named = {1.0: "in seconds", 1000.0: "in milliseconds"}.get(unit or 0.0, "in a unit that only buckets show")
        counters, timers = (f"…{suffix}" if suffix else "bare" for suffix in (self.counter, self.timer))
        return f"counters {counters}, timers {timers} {named}"

    def histogram(self, family: str) -> str:
        """The family's name before `_bucket`, `_count` and `_sum`."""
        unit = self.number if family in NUMBERS else self.size if family in BYTES else self.timer
        return self.prefix + family + unit

    def label(self, name: str) -> str:
        """Our label's name in this dialect."""
        return {"namespace": self.namespace, "service_name": self.service_name}.get(name, name)


DIALECTS = (
    Dialect("server", "server"),
    Dialect("server opentelemetry", "server", "_total", "_milliseconds", 1000.0, "_ratio", "_bytes"),
    Dialect("server opentelemetry seconds", "server", "_total", "_seconds", 1.0, "_ratio", "_bytes"),
    Dialect("server opentelemetry without units", "server", "_total"),
    Dialect("server opentelemetry without _total", "server", "", "_milliseconds", 1000.0, "_ratio", "_bytes"),
    Dialect("server with _seconds", "server", "", "_seconds", 1.0),
    Dialect("sdk default", "worker"),
    Dialect("sdk suffixed", "worker", "_total", "_seconds", 1.0),
    Dialect("sdk opentelemetry", "worker", "_total", "_milliseconds", 1000.0),
    Dialect("sdk with _total", "worker", "_total"),
    Dialect("sdk with _seconds", "worker", "", "_seconds", 1.0),
    Dialect("sdk with _milliseconds", "worker", "", "_milliseconds", 1000.0),
)

ANCHORS: dict[Role, tuple[str, str]] = {
    "server": ("service_requests", "service_latency"),
    "worker": ("temporal_request", "temporal_request_latency"),
}
"""A counter and a timer of each role that appear first: their spelling identifies the dialect."""


def dialect_by_name(name: str) -> Dialect:
    """The dialect of that name; KeyError if there is none."""
    return {d.name: d for d in DIALECTS}[name]


def anchor_names(dialect: Dialect) -> tuple[str, str]:
    """The two sample names that identify the dialect."""
    counter, timer = ANCHORS[dialect.role]
    return dialect.prefix + counter + dialect.counter, f"{dialect.histogram(timer)}_count"


def detect_dialects(names: Collection[str], role: Role, *, prefix: str = "") -> list[Dialect]:
    """The dialects of a role among these sample names, several in a mixed fleet: those whose anchor counter and timer
    are there, and, for anchors that these do not explain, those whose counter is."""
    known = [replace(d, prefix=prefix) for d in DIALECTS if d.role == role]
    found: list[Dialect] = []
    explained: set[str] = set()
    for enough in (2, 1):
        for dialect in known:
            present = [name for name in anchor_names(dialect)[:enough] if name in names]
            if len(present) == enough and not explained.issuperset(present):
                found.append(dialect)
                explained.update(present)
    return found


@dataclass(frozen=True, slots=True)
class MetricName:
    """The meaning of a raw sample name: the taxonomy's name, the dialect, and whether it only ever grows."""

    name: str
    dialect: Dialect
    cumulative: bool


def raw_name(leaf: Leaf, dialect: Dialect) -> str:
    """The sample name a leaf reads in a dialect."""
    family = leaf.series.family
    match leaf:
        case Quantile():
            return f"{dialect.histogram(family)}_bucket"
        case Gauge(timer=True):
            return dialect.histogram(family)
        case Gauge(agg="resets"):
            return dialect.prefix + family + dialect.counter
        case Gauge():
            return dialect.prefix + family
        case Rate(suffix=""):
            return dialect.prefix + family + dialect.counter
        case Rate(suffix=suffix):
            return dialect.histogram(family) + suffix


def sample_name(leaf: Leaf) -> str:
    """The taxonomy's name of the samples a leaf reads: that of a dialect without suffixes."""
    return raw_name(leaf, DIALECTS[0])


def known_names(
    role: Role, leaves: Iterable[Leaf], presence_metrics: Iterable[str], dialect_name: str | None = None
) -> dict[str, MetricName]:
    """Every raw sample name that these leaves read on a page of `role`, in every dialect or in the one named. A name
    that two dialects share has the meaning of the first; `Dialect.scale` tells their units apart by the bounds."""
    known: dict[str, MetricName] = {}
    of_role = [leaf for leaf in leaves if leaf.series.role == role]
    for dialect in DIALECTS:
        if dialect.role == role and dialect_name in (None, dialect.name):
            for leaf in of_role:
                cumulative = isinstance(leaf, Quantile) or (isinstance(leaf, Rate) and leaf.suffix != "_sum")
                known.setdefault(raw_name(leaf, dialect), MetricName(sample_name(leaf), dialect, cumulative))
            for name in presence_metrics:
                for spelled in (name, name + dialect.counter):
                    known.setdefault(spelled, MetricName(name, dialect, False))
            known.setdefault(START_TIME, MetricName(START_TIME, dialect, False))
    return known
