"""The expressions of signals: one definition becomes PromQL or is computed from scrapes.

A *leaf* is a rate, gauge or quantile, grouped or not, that a metrics source gives. *Arithmetic* over leaves is done
after each leaf is a value, no traffic, or missing: in PromQL `rate(a) + rate(b)` is empty until both families exist,
and a counter family exists only after its first event.

Units: leaves over timers give seconds whatever the dialect reports; `Scale` makes milliseconds of them.
"""

from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["server", "worker"]
Op = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label matcher with PromQL's meaning: regular expressions are anchored, an absent label is the empty string."""

    label: str
    op: Op
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Series of one family on the pages of one role. `family` is the name the server's own endpoint (tally) or the
    SDK's default reporter gives it, without `_bucket`, `_count` or `_sum`; dialects translate."""

    role: Role
    family: str
    match: tuple[Matcher, ...] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """`sum by (…) (rate(counter[W]))`, in 1/s. `presence_metric`: a family of the same role that is always there. While
    it has samples and the target was read, an absent counter is zero."""

    series: Selector
    by: tuple[str, ...] = ()
    presence_metric: str = ""
    suffix: Literal["", "_count", "_sum"] = ""


@dataclass(frozen=True, slots=True)
class Gauge:
    """`agg by (…) (gauge)`: the newest sample of each series, aggregated; `each_max`: the sum of each target's largest;
    `resets`: how often a counter, and so its process, restarted within `RESETS_OVER_SEC`.
    `presence_metric` as for `Rate`, where absence means zero; empty where it means missing. `timer`: whether it is a
    duration, as a summary's quantile."""

    series: Selector
    agg: Literal["sum", "max", "min", "each_max", "resets"]
    by: tuple[str, ...] = ()
    presence_metric: str = ""
    timer: bool = False


@dataclass(frozen=True, slots=True)
class Quantile:
    """`histogram_quantile(q, sum by (le, …) (rate(h_bucket[W])))`, in seconds for timers, else the histogram's unit. No
    traffic in the window is `no traffic`, not zero. `timer`: whether the histogram holds durations."""

    q: float
    series: Selector
    by: tuple[str, ...] = ()
    timer: bool = True


RESETS_OVER_SEC = 300
Leaf = Rate | Gauge | Quantile


def summary_of(leaf: Quantile) -> Gauge:
    """The same quantile where a reporter exports summaries. They cannot be aggregated: the largest is taken."""
    label = Matcher("quantile", "=", f"{leaf.q:g}")
    return Gauge(replace(leaf.series, match=(*leaf.series.match, label)), "max", leaf.by, timer=True)


def count_of(leaf: Quantile) -> Rate:
    """How many observations there are, buckets or not."""
    return Rate(leaf.series, leaf.by, suffix="_count")


@dataclass(frozen=True, slots=True)
class Plus:
    """The sum of all terms; missing if any is missing. Terms without traffic add nothing, unless all have none."""

    terms: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """`part / whole`, 0…1 where part counts some of whole. A whole of zero is no traffic."""

    part: "Expression"
    whole: "Expression"


@dataclass(frozen=True, slots=True)
class Scale:
    """`factor · of + offset`: milliseconds of seconds, percent of a share, one minus a share."""

    of: "Expression"
    factor: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Beyond:
    """The sum over the groups of a gauge of what exceeds `base` in each: what is not Temporal's own."""

    of: Gauge
    base: float


@dataclass(frozen=True, slots=True)
class Shares:
    """`used / limit` of each group that has both, and of these the largest: a limit is reached where it is nearest, not
    on the average. Both are grouped by the same labels; a limit of zero or less is none. Missing where no group has a
    limit."""

    used: Rate | Gauge
    limit: Gauge


Expression = Leaf | Plus | Ratio | Scale | Beyond | Shares


def leaves(expression: Expression) -> tuple[Leaf, ...]:
    """All leaves of an expression, left to right."""
    match expression:
        case Plus(terms):
            return tuple(leaf for term in terms for leaf in leaves(term))
        case Ratio(part, whole):
            return leaves(part) + leaves(whole)
        case Scale(of=of):
            return leaves(of)
        case Beyond(of=gauge):
            return (gauge,)
        case Shares(used, limit):
            return (used, limit)
        case _:
            return (expression,)


SERVER_PRESENCE_METRIC = "service_requests"
WORKER_PRESENCE_METRIC = "temporal_num_pollers"

_OP: tuple[Op, ...] = ("!~", "!=", "=~", "=")


def match(*texts: str) -> tuple[Matcher, ...]:
    """`label=~value` texts → matchers."""
    matchers = []
    for text in texts:
        op = next(o for o in _OP if o in text)
        label, value = text.split(op, 1)
        matchers.append(Matcher(label, op, value))
    return tuple(matchers)


def server(family: str, *where: str) -> Selector:
    return Selector("server", family, match(*where))


def rate(family: str, *where: str, by: tuple[str, ...] = (), suffix: Literal["", "_count", "_sum"] = "") -> Rate:
    return Rate(server(family, *where), by, SERVER_PRESENCE_METRIC, suffix)


BUILDS = Gauge(server("build_information"), "max", ("instance", "service_name", "build_version"))
"""The leaf that shows the version of each process and its services."""

DATABASE_CALLS = rate("persistence_requests")
"""Never zero on a server that runs, idle or not: it keeps its membership and looks for tasks."""

SERVICES = rate(SERVER_PRESENCE_METRIC, by=("instance", "service_name"))
"""The leaf that shows which services' pages are read."""

WORKER_ROLE = server("persistence_requests", "service_name=worker")
"""Temporal's own service `worker` serves no requests, and calls the database like every other."""

START_TIME = "process_start_time_seconds"
"""Of Prometheus' own client libraries; neither the server nor an SDK writes it, the program around an SDK may."""

HIDDEN = frozenset({"__omitted__", "__temporal_sys__", "_tag_excluded_", "_unknown_", "none"})
"""Label values that stand for a name that is hidden: the breakdown by queue is off, a tag is excluded, or an SDK has
none to give."""

LABELED = {
    label: rate(SERVER_PRESENCE_METRIC, f"{label}!~|{'|'.join(sorted(HIDDEN - {'_unknown_'}))}")
    for label in ("namespace", "operation", "service_name")
}
"""By label, the leaf that shows that the server's series have it: they lack it where a tag is excluded or relabeled."""
