"""When a loop evaluates."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.loops.definitions import WINDOW_TICKS, Window
from copilot.loops.loop import next_tick, offset_of, slack, tick_time

INTERVALS = st.floats(min_value=2, max_value=600)
NOW = st.floats(min_value=1.7e9, max_value=2.0e9)


@pytest.mark.parametrize(
    ("of", "last", "now", "expected"),
    [
        pytest.param(next_tick, None, 1000.7, 1000, id="the first is at once"),
        pytest.param(next_tick, 990, 991.0, 1020, id="then on the next multiple"),
        pytest.param(next_tick, 985, 985.2, 1020, id="but not right after the last"),
        pytest.param(next_tick, 960, 1100.0, 990, id="one missed is due"),
        pytest.param(next_tick, 5000, 1000.5, 1031, id="with the clock set back, in an interval"),
        pytest.param(partial(next_tick, early=True), 990, 991.0, 1000, id="an early one after a third of the interval"),
        pytest.param(partial(next_tick, early=True), 1012, 1013.0, 1020, id="or as planned where that is sooner"),
        pytest.param(partial(next_tick, offset=7), 990, 991.0, 1027, id="or its offset after that"),
        pytest.param(partial(next_tick, offset=7), 967, 968.0, 997, id="again and again"),
        pytest.param(partial(tick_time, offset=7), 997, 1028.4, 1027, id="on time with an offset"),
        pytest.param(tick_time, 990, 1020.4, 1020, id="on time"),
        pytest.param(tick_time, 990, 1000.4, 1000, id="an early one has the second in which it begins"),
        pytest.param(tick_time, 990, 1027.4, 1020, id="a little late"),
        pytest.param(tick_time, 990, 1100.9, 1100, id="after being away"),
        pytest.param(tick_time, 5000, 1031.2, 5015, id="with the clock set back, half an interval after the last"),
        pytest.param(tick_time, 990, 990.4, 991, id="again in the second of the last"),
    ],
)
def test_when_the_next_tick_is_due_and_which_time_a_tick_has(
    of: Callable[[int | None, float, float], int], last: int | None, now: float, expected: int
) -> None:
    assert of(last, now, 30) == expected


@given(start=NOW, interval=INTERVALS, late=st.lists(st.floats(min_value=0, max_value=400), max_size=20))
def test_ticks_always_move_forward_and_never_lag_behind(start: float, interval: float, late: list[float]) -> None:
    last, now, offset = None, start, offset_of(f"{start}", interval)
    for delay in late:
        now = max(now, next_tick(last, now, interval, offset=offset)) + delay
        tick = tick_time(last, now, interval, offset)
        assert last is None or tick > last
        assert now - tick <= slack(interval) + 1
        last = tick


@given(
    start=NOW, interval=INTERVALS, steps=st.lists(st.floats(min_value=-7200, max_value=7200), min_size=1, max_size=8)
)
def test_a_clock_that_jumps_about_never_makes_two_ticks_of_one_time_nor_stops_the_loop(
    start: float, interval: float, steps: list[float]
) -> None:
    """Each step is a jump of the clock while the loop waits for its next tick."""
    last, now = None, start
    for step in steps:
        for jump in (step, 0.0, 0.0):
            now += jump
            wait = next_tick(last, now, interval) - now
            assert wait <= 2 * interval + 1
            now += max(0.0, wait)
            tick = tick_time(last, now, interval)
            assert last is None or tick > last
            last = tick


@given(interval=INTERVALS, ahead=st.integers(min_value=2, max_value=7200), now=NOW)
def test_a_clock_set_back_is_caught_up_with_in_twice_the_step(interval: float, ahead: int, now: float) -> None:
    last, began = int(now) + ahead, now
    while last > now + 1:
        now = float(next_tick(last, now, interval))
        last = tick_time(last, now, interval)
    assert now - began <= 2 * (ahead + interval) + 2


@given(ticks=st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9).map(float) | st.none()), max_size=30))
def test_property_2_the_window_holds_the_last_ticks_first_in_first_out(ticks: list[dict[str, float | None]]) -> None:
    window = Window()
    for time, readings in enumerate(ticks):
        window.push(time, readings)
    kept = list(enumerate(ticks))[-WINDOW_TICKS:]
    assert window.times == [time for time, _ in kept]
    for signal_id in "abc":
        column = window.readings.get(signal_id, [None] * len(kept))
        assert column == [readings.get(signal_id) for _, readings in kept]
