"""A small algebra over metrics. One definition of a signal is compiled to PromQL or computed from scrapes.

A *leaf* is what a metrics source can answer: a rate, a gauge, a quantile, grouped or not. *Arithmetic* over leaves is
done here, after each leaf was resolved to a value, no traffic, or missing: in PromQL `rate(a) + rate(b)` is empty until
both families exist, and a counter family exists only after its first event.

Units: leaves over timers give seconds whatever the dialect reports; `Scale` makes milliseconds of them.
"""

from dataclasses import dataclass
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
    """`sum by (…) (rate(counter[W]))`, in 1/s. `witness` is a family of the same role that is always there: while it
    has samples and the target was read, an absent counter is zero (law 1)."""

    series: Selector
    by: tuple[str, ...] = ()
    witness: str = ""
    suffix: Literal["", "_count", "_sum"] = ""


@dataclass(frozen=True, slots=True)
class Gauge:
    """`agg by (…) (gauge)`: the newest sample of each series, aggregated. `witness` as for `Rate`, for gauges whose
    absence means zero; empty where it means missing."""

    series: Selector
    agg: Literal["sum", "max", "min"]
    by: tuple[str, ...] = ()
    witness: str = ""


@dataclass(frozen=True, slots=True)
class Quantile:
    """`histogram_quantile(q, sum by (le, …) (rate(h_bucket[W])))`, in seconds for timers, else the histogram's unit. No
    traffic in the window is `no traffic`, not zero. `timer`: whether the histogram holds durations."""

    q: float
    series: Selector
    by: tuple[str, ...] = ()
    timer: bool = True


Leaf = Rate | Gauge | Quantile


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


Expression = Leaf | Plus | Ratio | Scale


def leaves(expression: Expression) -> tuple[Leaf, ...]:
    """All leaves of an expression, left to right."""
    match expression:
        case Plus(terms):
            return tuple(leaf for term in terms for leaf in leaves(term))
        case Ratio(part, whole):
            return leaves(part) + leaves(whole)
        case Scale(of=of):
            return leaves(of)
        case _:
            return (expression,)
