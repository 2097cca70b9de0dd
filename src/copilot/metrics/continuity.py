"""Whether a target's pages continue each other: counters of one process, in one spelling, that only grow.

What restarts, begins at zero. Counters that fall otherwise are of several processes, or are deltas: OpenTelemetry's
temporality, in which each export counts what happened since the one before."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from copilot.metrics.dialects import BYTES, NUMBERS, MetricName

MANY_COUNTED = 100.0
"""So much is no longer a counter's beginning."""
FEW_COUNTED = 10.0
"""A counter of less may be another's after a restart."""
PODS = 3
"""So many processes behind one address are told from deltas by their counters alone."""

_DELTAS = "deltas: set its temporality to cumulative (OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative)"
DELTAS = f"its counters fall and rise without a restart: it exports {_DELTAS}"
ANOTHER_PROCESS = "its counters jump back and forth: its address leads to another process from read to read"
"""As a Kubernetes service does before several pods. List, or let Prometheus find, every process by itself."""
UNCLEAR = "some counters fell, others rose: its address leads to another process from read to read, "
UNCLEAR += f"or it exports {_DELTAS}"


@dataclass(frozen=True, slots=True)
class Counted:
    """A page's counters of its role's calls, and when its process started; None where it does not say."""

    counters: Mapping[Hashable, float]
    started: float | None = None

    def fell_from(self, before: "Counted") -> list[Hashable]:
        """The counters that are smaller than they were."""
        return [c for c, value in self.counters.items() if value < before.counters.get(c, 0.0)]

    def mixes(self, before: "Counted", least: float = 0.0) -> bool:
        """Whether some of the counters that were this large fell while others rose, neither being an exception."""
        then = {c: value for c, v in self.counters.items() if (value := before.counters.get(c, 0.0)) > least}
        fell, rose = (sum(sign * (self.counters[c] - v) > 0 for c, v in then.items()) for sign in (-1, 1))
        return min(fell, rose) > 0.1 * (fell + rose)


def break_of(reads: Sequence[Counted]) -> str:
    """Why the newest of these reads does not continue those before it; empty where it does, or after a restart."""
    *earlier, newest = reads
    if not earlier:
        return ""
    before, fell = earlier[-1], newest.fell_from(earlier[-1])
    if newest.started is not None and before.started is not None:
        if newest.started == before.started:
            return DELTAS if fell else ""
        return ANOTHER_PROCESS if newest.started < before.started or _jumps(earlier, newest) else ""
    mixes = newest.mixes(before)
    if fell and mixes and _of_no_process(reads) >= max(PODS, len(earlier) / 2):
        return DELTAS
    if mixes and newest.mixes(before, FEW_COUNTED):
        return ANOTHER_PROCESS if any(not newest.fell_from(read) for read in earlier) else UNCLEAR
    return ANOTHER_PROCESS if _jumps(earlier, newest) else ""


def _of_no_process(reads: Sequence[Counted]) -> int:
    """How many reads continue none of those before them, as each of deltas does."""
    return sum(
        read.mixes(reads[n]) and all(read.fell_from(other) for other in reads[: n + 1])
        for n, read in enumerate(reads[1:])
    )


def _jumps(earlier: Sequence[Counted], newest: Counted) -> bool:
    """Whether counters fell that do not begin at zero; or, from one read to the next, they rose from little to beyond
    where they had fallen from."""
    before, page = earlier[-1].counters, newest.counters
    fell = [page.get(c, 0.0) > v / 2 for c, v in before.items() if page.get(c, 0.0) < v > MANY_COUNTED]
    if fell:
        return sum(fell) >= len(fell) / 2
    little = sum(before.values())
    return any(
        sum(read.counters.values()) > max(MANY_COUNTED, 2 * little)
        and all(after.counters.get(c, 0.0) <= value <= page.get(c, 0.0) for c, value in read.counters.items())
        for read, after in pairwise(earlier)
    )


def most_likely(breaks: Iterable[str]) -> str:
    """The reason of several breaks: what most of them say, the later of two; empty without any."""
    found = list(breaks)
    return max(reversed(found), key=lambda why: (why != UNCLEAR, found.count(why)), default="")


Spelling = Mapping[str, tuple[frozenset[int], float]]
"""How a page spells each family: which of the known names, and the units of its durations in a second."""


def spelling(samples: Iterable[tuple[MetricName, float | None]]) -> Spelling:
    """The spelling of samples, each with its bucket's bound."""
    names: dict[str, set[int]] = {}
    lowest: dict[str, tuple[float, MetricName]] = {}
    for metric, bound in samples:
        names.setdefault(metric.name, set()).add(id(metric))
        if bound is not None and 0 < bound < lowest.get(metric.name, (bound + 1,))[0]:
            lowest[metric.name] = bound, metric
    units = {name: m.dialect.scale(bound) for name, (bound, m) in lowest.items() if _is_timer(name)}
    return {name: (frozenset(found), units.get(name, 0.0)) for name, found in names.items()}


def _is_timer(name: str) -> bool:
    return name.removesuffix("_bucket") not in NUMBERS | BYTES


def respelled(before: Spelling, now: Spelling, anchor: str) -> bool:
    """Whether a family is spelled otherwise than before, or the counter `anchor` is there no longer: counters under
    other names neither continue the old ones nor begin at zero."""
    if anchor in before and anchor not in now:
        return True
    both = ((before[name], now[name]) for name in before.keys() & now.keys())
    return any(
        names.isdisjoint(others) or (unit and other and unit != other) for (names, unit), (others, other) in both
    )
