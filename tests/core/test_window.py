"""Leaves over the scrapes of a window: what PromQL says of the same samples."""

import math

import pytest

from copilot.metrics.window import (
    TOO_COARSE,
    AtLeast,
    ScrapeWindow,
    compute,
    epoch_seconds,
    extrapolated_rate,
    histogram_quantile,
    timer_quantile,
)
from copilot.rules.signals.expressions import Gauge, Matcher, Op, Quantile, Rate, Selector
from tests.scraped import START, Pages

T0 = epoch_seconds(START)


def rate(values: dict[float, float], window: tuple[float, float] = (0, 60)) -> float | None:
    return extrapolated_rate(list(values), list(values.values()), *window)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({5: 105, 15: 115, 25: 125, 35: 135, 45: 145, 55: 155}, 1.0, id="steady, near both ends"),
        pytest.param({0: 100, 30: 130, 60: 20}, (30 + 20) / 60, id="a reset adds what was counted since"),
        pytest.param({30: 1000, 40: 1010, 50: 1020}, (20 * 35 / 20) / 60, id="far from an end by half an interval"),
        pytest.param({8: 2, 18: 12, 28: 22, 38: 32, 48: 42, 58: 52}, (50 * 54 / 50) / 60, id="not below zero"),
        pytest.param({30: 5.0}, None, id="one sample"),
        pytest.param({}, None, id="no sample"),
    ],
)
def test_a_rate_is_that_of_promql(values: dict[float, float], expected: float | None) -> None:
    assert rate(values) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("q", "buckets", "expected"),
    [
        (0.5, {1: 10, 2: 20, math.inf: 20}, 1.0),
        (0.75, {1: 10, 2: 20, math.inf: 20}, 1.5),
        (0.25, {1: 10, 2: 20, math.inf: 20}, 0.5),
        (0.99, {1: 10, 2: 20, math.inf: 40}, 2.0),
        (0.9, {1: 10, 2: 9, 4: 20, math.inf: 20}, 3.6),
        (0.5, {-1: 10, 2: 12, math.inf: 12}, -1.0),
    ],
)
def test_a_quantile_is_interpolated_in_its_bucket(q: float, buckets: dict[float, float], expected: float) -> None:
    assert histogram_quantile(q, buckets) == pytest.approx(expected)


HITS = Selector("server", "hits")


def exact(pages: Pages, end: float, window: float = 60) -> ScrapeWindow:
    return ScrapeWindow(pages.target, T0 + end - window, T0 + end)


def test_rates_are_summed_by_labels_over_series_and_targets() -> None:
    leaf = Rate(HITS, by=("queue",))
    first, second = Pages(leaves=[leaf]), Pages(leaves=[leaf])
    for at in (0, 30, 60):
        first.add(at, f'hits{{queue="a",partition="0"}} {at}', f'hits{{queue="a",partition="1"}} {2 * at}')
        second.add(at, f'hits{{queue="a"}} {3 * at}', f"hits {at}")
    vector = compute(leaf, [exact(first, 60), exact(second, 60)])
    assert vector == {("a",): pytest.approx(6.0), ("",): pytest.approx(1.0)}


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("=", "Poll", 1),
        ("!=", "Poll", 2 + 4 + 8),
        ("=~", "Poll", 1),
        ("=~", "Poll.*", 1 + 2),
        ("!~", "Poll.*", 4 + 8),
        ("!~", "Poll.*|", 4),
        ("=", "", 8),
        ("=~", ".+", 1 + 2 + 4),
    ],
)
def test_matchers_are_anchored_and_an_absent_label_is_empty(op: Op, value: str, expected: int) -> None:
    leaf = Gauge(Selector("server", "hits", (Matcher("operation", op, value),)), "sum")
    pages = Pages(leaves=[leaf]).add(
        60, 'hits{operation="Poll"} 1', 'hits{operation="PollX"} 2', 'hits{operation="StartPoll"} 4', "hits 8"
    )
    assert compute(leaf, [exact(pages, 60)]) == {(): expected}


def test_a_gauge_is_its_newest_sample_and_gone_with_it() -> None:
    leaf = Gauge(HITS, "max", by=("queue",))
    pages = Pages(leaves=[leaf]).add(0, 'hits{queue="a"} 9', 'hits{queue="b"} 1').add(30, 'hits{queue="b"} 5')
    assert compute(leaf, [exact(pages, 60)]) == {("b",): 5.0}


def test_bounds_are_numbers_not_text() -> None:
    leaf = Quantile(0.5, HITS, timer=False)
    one, other = Pages(leaves=[leaf]), Pages(leaves=[leaf])
    for at in (0, 60):
        one.add(at, f'hits_bucket{{le="1"}} {at}', f'hits_bucket{{le="+Inf"}} {2 * at}')
        other.add(at, f'hits_bucket{{le="1.0"}} {at}', f'hits_bucket{{le="Inf"}} {2 * at}', 'hits_bucket{le="?"} 4')
    assert compute(leaf, [exact(one, 60), exact(other, 60)]) == {(): pytest.approx(1.0)}


def test_a_timer_is_seconds_in_every_dialect_even_side_by_side() -> None:
    family = "temporal_workflow_task_execution_latency"
    leaf = Quantile(0.5, Selector("worker", family))
    plain, suffixed = Pages("worker", [leaf]), Pages("worker", [leaf])
    for at in (0, 60):
        for pages, name, bounds in ((plain, family, ("100", "500")), (suffixed, f"{family}_seconds", ("0.1", "0.5"))):
            pages.add(
                at,
                *(
                    f'{name}_bucket{{le="{le}"}} {n}'
                    for le, n in zip((*bounds, "+Inf"), (at, 3 * at, 3 * at), strict=True)
                ),
            )
    for views in ([exact(plain, 60)], [exact(suffixed, 60)], [exact(plain, 60), exact(suffixed, 60)]):
        assert compute(leaf, views) == {(): pytest.approx(0.1 + 0.4 * 0.25)}


def test_an_unsuffixed_timer_with_bounds_below_one_is_in_seconds_already() -> None:
    leaf = Quantile(0.5, Selector("worker", "t"))
    pages = Pages("worker", [leaf])
    for at in (0, 60):
        pages.add(at, f't_bucket{{le="0.1"}} {at}', f't_bucket{{le="0.2"}} {2 * at}', f't_bucket{{le="+Inf"}} {2 * at}')
    assert compute(leaf, [exact(pages, 60)]) == {(): pytest.approx(0.1)}


def test_pages_outside_the_window_are_forgotten_and_with_them_series_that_died() -> None:
    leaf = Gauge(HITS, "sum")
    pages = Pages(leaves=[leaf], window_sec=20)
    for n in range(60):
        pages.add(10 * n, *(f'hits{{id="{n}-{i}"}} 1' for i in range(100)))
    assert len(pages.target.pages) == 3
    assert len(pages.target.named("hits")) < 2500
    assert compute(leaf, [ScrapeWindow.latest(pages.target, 20)]) == {(): 100.0}


def test_a_clock_set_back_begins_the_window_anew() -> None:
    pages = Pages(leaves=[Rate(HITS)]).add(100, "hits 1").add(110, "hits 2").add(50, "hits 3")
    assert len(pages.target.times) == 1


@pytest.mark.parametrize(
    ("buckets", "expected", "lower_bound"),
    [
        pytest.param({0.1: 2, 1: 8, 5: 9, 10: 10, 100: 20, math.inf: 20}, 10.0, True, id="from 10 s to 100 s"),
        pytest.param({0.1: 2, 1: 8, 5: 9, 10: 10, math.inf: 20}, 10.0, True, id="beyond all bounds"),
        pytest.param({0.1: 2, 1: 8, 5: 9, 10: 19, math.inf: 20}, 10.0, False, id="at the last bound"),
        pytest.param({0.1: 0, 1: 0, 5: 20, 10: 20, math.inf: 20}, 4.8, False, id="from 1 s to 5 s"),
        pytest.param({0.001: 0, 0.1: 20, math.inf: 20}, 0.09505, False, id="a wide bucket of milliseconds"),
        pytest.param({5: 20, 10: 20, math.inf: 20}, TOO_COARSE, False, id="the lowest bucket"),
    ],
)
def test_a_duration_in_a_bucket_of_seconds_without_end_is_over_its_lower_bound(
    buckets: dict[float, float], expected: float, lower_bound: bool
) -> None:
    found = timer_quantile(0.95, buckets)
    assert found == (expected if math.isinf(expected) else pytest.approx(expected))
    assert isinstance(found, AtLeast) is lower_bound
