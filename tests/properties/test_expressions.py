"""Properties of what is computed over scrapes (17: test_prometheus_agrees.py, 19: test_promql.py)."""

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from copilot.metrics.resolve import measurable, read_scrapes
from copilot.metrics.window import ScrapeWindow, compute, extrapolated_rate, histogram_quantile
from copilot.rules.signals.expressions import Plus, Ratio, Scale, rate, server
from copilot.rules.signals.readings import MissingCode
from copilot.rules.signals.spec import SignalSpec
from copilot.rules.signals.taxonomy import SPECS
from tests.core.test_window import T0
from tests.scraped import START, Pages, recorded

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=12)
GROWTH = st.floats(0, 1e6, allow_nan=False)
BOUNDS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12, unique=True)


@given(COUNTS, st.floats(0.5, 30), st.floats(0, 20))
def test_a_rate_is_never_negative_and_zero_only_without_events(counts: list[int], gap: float, lead: float) -> None:
    times = [lead + i * gap for i in range(len(counts))]
    found = extrapolated_rate(times, [float(c) for c in counts], 0.0, times[-1])
    assert found is not None
    assert found >= 0
    if all(a == b for a, b in pairwise(counts)):
        assert found == 0


@given(COUNTS, st.floats(0.5, 30))
def test_over_a_fully_sampled_window_a_rate_is_all_events_by_its_length(steps: list[int], gap: float) -> None:
    """However often the process restarted in between: what was counted since a restart counts."""
    values, total, count = [0.0], 0, 0.0
    for n, step in enumerate(steps):
        restart = n % 3 == 2 and step < values[-1]
        count = float(step) if restart else count + step
        total += step
        values.append(count)
    times = [i * gap for i in range(len(values))]
    assert extrapolated_rate(times, values, 0.0, times[-1]) == pytest.approx(total / times[-1])


@given(COUNTS, st.floats(0.5, 30), st.floats(0.01, 100))
def test_a_rate_scales_with_its_counter(counts: list[int], gap: float, factor: float) -> None:
    times = [i * gap for i in range(len(counts))]
    one = extrapolated_rate(times, [float(c) for c in counts], -gap, times[-1])
    other = extrapolated_rate(times, [c * factor for c in counts], -gap, times[-1])
    assert one is not None
    assert other == pytest.approx(one * factor)


@given(BOUNDS, st.data(), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_that_holds_its_rank_and_grows_with_q(
    bounds: list[float], data: st.DataObject, q: float, other: float
) -> None:
    ordered = [*sorted(bounds), math.inf]
    counts = data.draw(st.lists(st.integers(0, 100), min_size=len(ordered), max_size=len(ordered)))
    assume(sum(counts))
    cumulative = [float(sum(counts[: i + 1])) for i in range(len(counts))]
    found = histogram_quantile(q, dict(zip(ordered, cumulative, strict=True)))
    index = next(i for i, c in enumerate(cumulative) if c >= q * cumulative[-1])
    lower = ordered[index - 1] if index else 0.0
    upper = ordered[min(index, len(ordered) - 2)]
    assert min(lower, upper) - 1e-9 <= found <= upper + 1e-9
    again = histogram_quantile(other, dict(zip(ordered, cumulative, strict=True)))
    assert (found <= again + 1e-9) if q <= other else (again <= found + 1e-9)


LINES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.lists(st.integers(0, 9), min_size=7, max_size=7)),
    min_size=1,
    max_size=6,
    unique_by=lambda t: t[:2],
)


@given(LINES)
def test_the_groups_of_a_leaf_add_up_to_the_leaf(series: list[tuple[str, str, list[int]]]) -> None:
    total, grouped = rate("hits"), rate("hits", by=("queue",))
    pages = Pages(leaves=[total])
    for n in range(7):
        pages.add(10 * n, *(f'hits{{queue="{q}",p="{p}"}} {sum(steps[: n + 1])}' for q, p, steps in series))
    view = ScrapeWindow(pages.target, T0, T0 + 60)
    whole, parts = compute(total, [view])[()], compute(grouped, [view])
    assert sum(parts.values()) == pytest.approx(whole)
    assert {q for (q,) in parts} == {q for q, _, _ in series}


SHARES = SignalSpec("x.share", "primary", "ratio", "", None, Ratio(rate("a"), Plus((rate("a"), rate("b")))))
REST = SignalSpec("x.rest", "primary", "ratio", "", None, Scale(SHARES.expression or rate("a"), -1.0, 1.0))


@given(
    st.booleans(),
    st.lists(st.integers(0, 9), min_size=5, max_size=5),
    st.lists(st.integers(0, 9), min_size=5, max_size=5),
)
def test_a_share_is_a_value_no_traffic_or_missing_and_never_zero_for_want_of_data(
    present: bool, a: list[int], b: list[int]
) -> None:
    leaf = rate("a")
    pages = Pages(leaves=[leaf, rate("b")])
    for n in range(5):
        seen = [f"{name} {sum(steps[: n + 1])}" for name, steps in (("a", a), ("b", b)) if any(steps[: n + 1])]
        pages.add(10 * n, *(["service_requests 1"] if present else []), *seen)
    found = read_scrapes([SHARES, REST], [pages.target], START.add(seconds=40), 40.0, interval_sec=10.0)
    share, rest = found.value("x.share"), found.value("x.rest")
    if share is not None and rest is not None:
        assert 0 <= share <= 1
        assert share + rest == pytest.approx(1)
    elif present:
        assert found.quiet("x.share")
        assert not any(a[1:]) or not any(b[1:])
    else:
        assert found.quiet("x.share") or found.missing["x.share"].code == MissingCode.ABSENT


@given(st.data())
def test_whatever_is_cut_from_the_pages_every_expected_id_is_accounted_for(data: st.DataObject) -> None:
    lines = recorded("worker").decode().splitlines()
    pages = Pages("worker")
    for n in range(3):
        kept = data.draw(st.integers(0, len(lines)))
        pages.add(10 * n, *lines[kept : kept + 60])
    found = read_scrapes(SPECS.values(), [pages.target], START.add(seconds=20), 60.0, interval_sec=10.0)
    expected = {s.id for s in SPECS.values() if measurable(s, ["worker"])}
    assert set(found.readings) == expected
    assert all(found.covered(i) != (found.why_missing(i) is not None) for i in expected)
    assert server("x").role == "server"
