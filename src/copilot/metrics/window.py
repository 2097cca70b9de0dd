"""The newest pages of each scraped target, and leaves computed over them as PromQL computes them."""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import accumulate, chain, pairwise
from threading import Lock
from typing import Self
from weakref import WeakValueDictionary

from whenever import Instant

from copilot.metrics.continuity import Counted, Spelling, break_of, most_likely, respelled, spelling
from copilot.metrics.dialects import ANCHORS, Dialect, MetricName, sample_name
from copilot.rules.signals.expressions import (
    RESETS_OVER_SEC,
    START_TIME,
    WORKER_ROLE,
    Gauge,
    Leaf,
    Matcher,
    Quantile,
    Rate,
    Role,
)
from copilot.rules.signals.readings import Missing


def extrapolated_rate(times: Sequence[float], values: Sequence[float], start: float, end: float) -> float | None:
    """`rate()` of one counter with samples within [start, end] (seconds), in 1/s; None with fewer than two samples.

    A decrease is a reset. The increase is extrapolated to the ends of the window where the first and last samples are
    within 1.1 average intervals of them, else by half an interval; never to before the counter would have been zero."""
    count = len(values)
    if count < 2 or end <= start:
        return None
    increase = values[-1] - values[0] + sum(before for before, after in pairwise(values) if after < before)
    sampled = times[-1] - times[0]
    if sampled <= 0:
        return None
    average = sampled / (count - 1)
    to_start = times[0] - start
    to_end = end - times[-1]
    if increase > 0 and values[0] >= 0:
        to_start = min(to_start, sampled * (values[0] / increase))
    near = average * 1.1
    span = sampled + (to_start if to_start < near else average / 2) + (to_end if to_end < near else average / 2)
    return increase * (span / sampled) / (end - start)


COARSE_SEC = 1.0
TOO_COARSE = -math.inf
"""The quantile of a timer that lies in its first bucket, where that is a second wide or more: it says nothing."""


class AtLeast(float):
    """A duration of which only a lower bound can be told."""


WIDE_TIMES = 10.0


def timer_quantile(q: float, buckets: Mapping[float, float]) -> float:
    """`histogram_quantile` of durations in seconds, or `TOO_COARSE`. `AtLeast` the lower bound where it lies beyond all
    bounds, or in a bucket of seconds whose end is ten times its beginning (SDK: 10 s to 100 s)."""
    found = histogram_quantile(q, buckets)
    bounds = [0.0, *sorted(bound for bound in buckets if 0 < bound < math.inf)]
    if math.isnan(found) or len(bounds) < 2:
        return found
    place = max(1, bisect_left(bounds, found))
    below, above = bounds[place - 1], bounds[place]
    if place == 1 and above >= COARSE_SEC:
        return TOO_COARSE
    if above == bounds[-1] and q * buckets[math.inf] > max(v for bound, v in buckets.items() if bound < math.inf):
        return AtLeast(above)
    return AtLeast(below) if below >= COARSE_SEC and above >= WIDE_TIMES * below else found


def histogram_quantile(q: float, buckets: Mapping[float, float]) -> float:
    """`histogram_quantile()` of upper bound → cumulative count (or rate). NaN without observations, without a +Inf
    bucket, or with that bucket alone. Linear within a bucket; the lowest starts at 0; decreasing counts are raised."""
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return math.nan
    counts = list(accumulate((buckets[bound] for bound in bounds), max, initial=-math.inf))[1:]
    observations = counts[-1]
    if observations == 0 or math.isnan(observations):
        return math.nan
    rank = q * observations
    index = next((i for i, c in enumerate(counts[:-1]) if c >= rank), len(counts) - 1)
    if index == len(counts) - 1:
        return bounds[-2]
    if index == 0 and bounds[0] <= 0:
        return bounds[0]
    lower, below = (bounds[index - 1], counts[index - 1]) if index else (0.0, 0.0)
    if counts[index] == below:
        return math.nan
    return lower + (bounds[index] - lower) * ((rank - below) / (counts[index] - below))


def quantiles(leaf: Quantile, buckets: Iterable[tuple[Dialect, tuple[str, ...], float, float]]) -> "Vector":
    """The quantile of each group, from buckets: dialect, group, upper bound (seconds for timers), rate."""
    histograms: dict[tuple[str, ...], dict[str, dict[float, float]]] = {}
    for dialect, group, bound, rate in buckets:
        of_dialect = histograms.setdefault(group, {}).setdefault(dialect.name, {})
        of_dialect[bound] = of_dialect.get(bound, 0.0) + rate
    quantile = timer_quantile if leaf.timer else histogram_quantile
    return {group: quantile(leaf.q, merge_buckets(h.values())) for group, h in histograms.items()}


def merge_buckets(histograms: Iterable[Mapping[float, float]]) -> dict[float, float]:
    """Several histograms (upper bound → cumulative count or rate) as one, over all their bounds. A histogram without a
    bound counts there what it counts at its next lower one."""
    parts = list(histograms)
    if len(parts) == 1:
        return dict(parts[0])
    merged = dict.fromkeys(sorted({bound for buckets in parts for bound in buckets}), 0.0)
    for buckets in parts:
        counted = 0.0
        for bound in merged:
            counted = buckets.get(bound, counted)
            merged[bound] += counted
    return merged


RESETS_FAMILY: dict[Role, str] = {role: counter for role, (counter, _) in ANCHORS.items()}
"""The counter whose resets show that a process restarted."""

Vector = dict[tuple[str, ...], float]
"""Group (the values of a leaf's `by` labels) → number."""


class Series:
    """One series: its metric, labels and bucket bound, and the line that it was first read from, without its value.
    Targets share it: most pages of a fleet have the same ones. So identity is equality."""

    __slots__ = ("__weakref__", "bound", "labels", "line", "metric")

    def __init__(self, metric: MetricName, labels: Mapping[str, str]) -> None:
        self.metric = metric
        self.labels = labels
        self.line = ""
        self.bound: float | None = None
        if "le" in labels:
            with suppress(ValueError):
                self.bound = float(labels["le"])


_SHARED: WeakValueDictionary[tuple[int, tuple[tuple[str, str], ...]], Series] = WeakValueDictionary()
"""The series of all targets, by the identity of their metric and by their labels."""
_SHARING = Lock()


def shared(metric: MetricName, labels: Mapping[str, str]) -> Series:
    """The one series of this metric with these labels. For pages that are parsed in several threads."""
    key = id(metric), tuple(sorted(labels.items()))
    with _SHARING:
        if (series := _SHARED.get(key)) is None:
            series = _SHARED[key] = Series(metric, dict(labels))
    return series


Page = dict[Series, float]
"""The samples of one read of one target."""
Rows = tuple[tuple[Series, tuple[str, ...], float], ...]
"""The series that a leaf reads, each with its group and bound (seconds for timers)."""


@cache
def _test(matcher: Matcher) -> Callable[[str], bool]:
    value = matcher.value
    if matcher.op in ("=", "!="):
        return value.__eq__ if matcher.op == "=" else value.__ne__
    full = re.compile(value, re.DOTALL).fullmatch
    return lambda text: (full(text) is not None) == (matcher.op == "=~")


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether a series with these labels is selected."""
    return all(_test(matcher)(labels.get(matcher.label, "")) for matcher in matchers)


class TargetScrapes:
    """The pages of one target of the last `window_sec` seconds, and the failed reads since the last good one.

    `resets`, `breaks`: when, lately, its process began anew, and when and why a page did not continue those before it.
    A page that spells its families otherwise is the first one: those before it are dropped.
    `parsed`: the series of lines parsed before, for the parser; emptied when series on no page any more are dropped."""

    def __init__(self, role: Role, name: str, known_names: Mapping[str, MetricName], *, window_sec: float) -> None:
        self.role: Role = role
        self.name = name
        self.known_names = known_names
        self.window_sec = window_sec
        self.times: list[float] = []
        self.pages: list[Page] = []
        self.failures = 0
        self.failure: Missing | None = None
        self.resets: list[float] = []
        self.breaks: list[tuple[float, str]] = []
        self._spelling: Spelling = {}
        self.parsed: dict[str, Series] = {}
        self._known: set[Series] = set()
        self._named: dict[str, list[Series]] = {}
        self._rows: dict[Leaf, tuple[int, Rows]] = {}

    def intern(self, raw_name: str, labels: Mapping[str, str]) -> Series:
        """The series of one of the known raw sample names with these labels."""
        series = shared(self.known_names[raw_name], labels)
        if series not in self._known:
            self._known.add(series)
            self._named.setdefault(series.metric.name, []).append(series)
        return series

    def record(self, at: Instant, page: Page) -> None:
        """Add a page read at `at`. Drops pages that left the window, and those with a later time."""
        time, spelled = epoch_seconds(at), spelling((s.metric, s.bound) for s in page)
        if cut := respelled(self._spelling, spelled, RESETS_FAMILY[self.role]):
            self.times, self.pages, self.resets, self.breaks = [], [], [], []
        self._spelling = spelled
        if self.pages and self._began_anew(page):
            self.resets.append(time)
        if why := break_of([self._counted(read) for read in (*self.pages, page)]):
            self.breaks.append((time, why))
        self.breaks = [(at, why) for at, why in self.breaks if time - self.window_sec < at]
        self.resets = [reset for reset in self.resets if time - RESETS_OVER_SEC < reset]
        kept = slice(bisect_left(self.times, time - self.window_sec), bisect_left(self.times, time))
        self.times = [*self.times[kept], time]
        self.pages = [*self.pages[kept], page]
        self.failures, self.failure = 0, None
        if cut or len(self._known) > 2 * len(page) + 2000:
            self.forget()

    def _began_anew(self, page: Page) -> bool:
        """Whether a counter of the role's calls is smaller than it was, or gone; of Temporal's own worker, a counter of
        its database calls."""
        before = self.pages[-1]
        named = self.named(RESETS_FAMILY[self.role]) or self.named(WORKER_ROLE.family)
        counters = [s for s in named if s in before]
        return any(page.get(s, 0.0) < before[s] for s in counters)

    def _counted(self, page: Page) -> Counted:
        started = next((page[s] for s in self.named(START_TIME) if s in page), None)
        return Counted({s: page[s] for s in self.named(RESETS_FAMILY[self.role]) if s in page}, started)

    def fail(self, why: Missing) -> None:
        """Record a failed read."""
        self.failures += 1
        self.failure = why

    @property
    def broken(self) -> str:
        """Why its pages give no rates: they do not continue each other. Empty where they do."""
        return most_likely(why for _, why in self.breaks)

    def named(self, name: str) -> Sequence[Series]:
        """All recent series of a sample name, in the taxonomy's spelling."""
        return self._named.get(name, ())

    def rows(self, leaf: Leaf) -> Rows:
        """The series of this target that the leaf reads."""
        series = self.named(sample_name(leaf))
        seen, rows = self._rows.get(leaf, (-1, ()))
        if seen != len(series):
            rows = _rows(leaf, series, self.name)
            self._rows[leaf] = len(series), rows
        return rows

    @property
    def remembered(self) -> int:
        """How many series are known."""
        return len(self._known)

    def forget(self) -> None:
        """Forget the series that are on no page any more."""
        alive = set().union(*self.pages)
        known = [s for of_name in self._named.values() for s in of_name if s in alive]
        self._known, self._named = set(known), {}
        for series in known:
            self._named.setdefault(series.metric.name, []).append(series)
        self._rows = {}
        self.parsed.clear()


def epoch_seconds(at: Instant) -> float:
    """Seconds since the epoch."""
    return at.timestamp(unit="nanosecond") / 1e9


def _rows(leaf: Leaf, series: Sequence[Series], target: str) -> Rows:
    """The rows of a leaf. Pages have no label `instance`: it is the target's name, as in a Prometheus."""
    matchers = [(m.label, _test(m)) for m in leaf.series.match]
    lowest: dict[Dialect, float] = {}
    for s in series:
        if isinstance(leaf, Quantile) and leaf.timer and s.bound is not None:
            lowest[s.metric.dialect] = min(s.bound, lowest.get(s.metric.dialect, math.inf))
    units = {dialect.name: dialect.scale(bound) for dialect, bound in lowest.items()}
    rows = []
    for s in series:
        counts = s.bound is not None or not isinstance(leaf, Quantile)
        if counts and all(test(s.labels.get(label, "")) for label, test in matchers):
            group = tuple(s.labels.get(label, target if label == "instance" else "") for label in leaf.by)
            rows.append((s, group, (s.bound or 0.0) / units.get(s.metric.dialect.name, 1.0)))
    return tuple(rows)


class ScrapeWindow:
    """One target's pages in [start, end], in seconds since the epoch, and the rates over them.

    `presence_metric`: a counter that appears while pages with this metric were already read is a new series that
    started at zero, so its first value counts too, also after a restart of the process. PromQL ignores it: leave it
    None to agree with PromQL."""

    def __init__(self, target: TargetScrapes, start: float, end: float, *, presence_metric: str | None = None) -> None:
        self.target = target
        self.start = start
        self.end = end
        inside = slice(bisect_left(target.times, start), bisect_right(target.times, end))
        self.times = target.times[inside]
        self.pages = target.pages[inside]
        self._presence_metric = presence_metric
        self._rates: dict[Series, float | None] = {}

    @classmethod
    def latest(cls, target: TargetScrapes, window_sec: float, *, presence_metric: str | None = None) -> Self:
        """The window that ends at the last good read. It starts `window_sec` earlier, or at the first page if there was
        no read before: a rate over time without reads would be too low."""
        end = target.times[-1]
        window = cls(target, end - window_sec, end, presence_metric=presence_metric)
        if len(window.times) > 1:
            average = (window.times[-1] - window.times[0]) / (len(window.times) - 1)
            if window.times[0] - window.start >= average * 1.1:
                window.start = window.times[0]
        return window

    def has(self, name: str, page: int = -1) -> bool:
        """Whether a page of the window (default: the newest) has samples of that name."""
        return bool(self.pages) and any(s in self.pages[page] for s in self.target.named(name))

    def rate(self, series: Series) -> float | None:
        """The series' rate in 1/s; None with fewer than two samples."""
        if series not in self._rates:
            samples = [
                (time, page[series]) for time, page in zip(self.times, self.pages, strict=True) if series in page
            ]
            first = self.times.index(samples[0][0]) if samples else 0
            if first and self._presence_metric and self.has(self._presence_metric, first - 1):
                samples.insert(0, (self.times[first - 1], 0.0))
            times, values = [time for time, _ in samples], [value for _, value in samples]
            self._rates[series] = extrapolated_rate(times, values, self.start, self.end)
        return self._rates[series]


def compute(leaf: Leaf, windows: Sequence[ScrapeWindow]) -> Vector:
    """The leaf over the windows of its role: group → number, without groups that have no samples.

    A quantile of a group without observations is NaN."""
    windows = [w for w in windows if w.target.role == leaf.series.role]
    match leaf:
        case Quantile():
            buckets = (
                (s.metric.dialect, group, bound, rate)
                for w in windows
                for s, group, bound in w.target.rows(leaf)
                if (rate := w.rate(s)) is not None
            )
            return quantiles(leaf, buckets)
        case Rate():
            return aggregate(leaf, ((group, w.rate(s)) for w in windows for s, group, _ in w.target.rows(leaf)))
        case Gauge(agg="each_max"):
            each = (aggregate(replace(leaf, agg="max"), _newest(leaf, [window])).items() for window in windows)
            return aggregate(replace(leaf, agg="sum"), chain.from_iterable(each))
        case Gauge(agg="resets"):
            counted = [(w.target, s) for w in windows for s in w.target.named(sample_name(leaf))]
            return {(target.name,) * len(leaf.by): float(len(target.resets)) for target, _ in counted}
        case Gauge():
            return aggregate(leaf, _newest(leaf, windows))


def _newest(leaf: Gauge, windows: Iterable[ScrapeWindow]) -> Iterator[tuple[tuple[str, ...], float | None]]:
    for window in windows:
        for series, group, _ in window.target.rows(leaf) if window.pages else ():
            value = window.pages[-1].get(series)
            units = series.metric.dialect.scale(0.0) if leaf.timer else 1.0
            yield group, None if value is None else value / units


def aggregate(leaf: Rate | Gauge, samples: Iterable[tuple[tuple[str, ...], float | None]]) -> Vector:
    """The samples of each group as one number: their sum, or a gauge's maximum or minimum; None is no sample."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for group, value in samples:
        if value is not None:
            groups.setdefault(group, []).append(value)
    joins: dict[str, Callable[[list[float]], float]] = {"max": _largest, "min": min, "resets": max}
    join = joins.get(leaf.agg, sum) if isinstance(leaf, Gauge) else sum
    return {group: join(values) for group, values in groups.items()}


def _largest(values: list[float]) -> float:
    """The largest number, NaN where there is none, as PromQL has it."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)
