"""PromQL's `rate()` and `histogram_quantile()` over plain numbers, as Prometheus computes them."""

import math
from collections.abc import Iterable, Mapping, Sequence


def extrapolated_rate(times: Sequence[float], values: Sequence[float], start: float, end: float) -> float | None:
    """`rate()` of one counter whose samples lie in [start, end] (seconds), in 1/s; None with fewer than two samples.

    A fall is a reset. The increase is extrapolated to the window's ends where the samples come near enough (1.1 of
    their average distance), else by half a distance; never below the point where the counter would have been zero."""
    count = len(values)
    if count < 2 or end <= start:
        return None
    increase = values[-1] - values[0]
    previous = values[0]
    for value in values:
        if value < previous:
            increase += previous
        previous = value
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


def histogram_quantile(q: float, buckets: Mapping[float, float]) -> float:
    """`histogram_quantile()` of upper bound → cumulative count (or rate). NaN without observations, without a +Inf
    bucket, or with that bucket alone. Linear within a bucket, the lowest starts at 0, counts that fall are levelled."""
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return math.nan
    counts: list[float] = []
    highest = -math.inf
    for bound in bounds:
        highest = max(highest, buckets[bound])
        counts.append(highest)
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


def merged_buckets(histograms: Iterable[Mapping[float, float]]) -> dict[float, float]:
    """The buckets (upper bound → cumulative count or rate) of several histograms as one, over all their bounds. At a
    bound that a histogram lacks it has counted what it has at its next lower one."""
    all_of_them = list(histograms)
    if len(all_of_them) == 1:
        return dict(all_of_them[0])
    merged = dict.fromkeys(sorted({bound for buckets in all_of_them for bound in buckets}), 0.0)
    for buckets in all_of_them:
        counted = 0.0
        for bound in merged:
            counted = buckets.get(bound, counted)
            merged[bound] += counted
    return merged
