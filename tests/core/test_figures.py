"""Numbers as people write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.explain.numbers import (
    brief,
    count,
    duration,
    listed,
    measure,
    number,
    per_sec,
    percent,
    quantity,
    rate,
    span,
    took,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (brief(110.0), "110"), (brief(1234.0), "1,234"), (brief(0.4), "0.4"), (brief(17.4), "17"), (brief(2.0), "2"),
        (brief(0.067), "0.07"), (brief(0.004), "0.004"), (brief(0.0), "0"), (brief(9.97), "10"), (brief(0.996), "1"),
        (rate(2.24), "2.2/s"), (count(1, "task"), "1 task"), (count(1200, "task"), "1,200 tasks"),
        (listed(list("abcdefg")), "a, b, c, d and 3 more"), (listed(["a", "b", "c"]), "a, b and c"),
        (count(0.2, "task"), "no tasks"), (count(2, "query"), "2 queries"), (per_sec(1.0, "workflow"), "1 workflow/s"),
        (per_sec(0.4, "workflow"), "0.4 workflows/s"), (percent(0.12), "12 %"), (percent(0.996), "99.6 %"),
        (percent(0.004), "0.4 %"), (percent(1.0), "100 %"), (span(58.4), "58 s"), (span(217.0), "3 min 37 s"),
        (span(9.97), "10 s"), (took(359.0), "359 ms"), (took(4960.0), "5 s"), (took(70_000.0), "1 min 10 s"),
        (measure(0.99, "attempts"), "1 attempt"), (measure(9.06, "attempts"), "10 attempts"),
        (measure(0.5, "ratio"), "50 %"), (measure(30.0, "s"), "30 s"), (number(1204.0), "1,204"),
        (quantity(99.25, "percent"), "99.2 %"), (quantity(None, "s"), "–"), (duration(7200.0), "2 h"),
    ],
)  # fmt: skip
def test_a_number_is_written_as_people_write_it(written: str, expected: str) -> None:
    assert written == expected


@given(st.floats(1e-5, 1e9))
def test_no_number_is_written_with_an_exponent_and_none_but_zero_as_zero(value: float) -> None:
    for written in (brief(value), number(value)):
        assert re.fullmatch(r"[\d,]+(\.\d+)?", written)
        read = float(written.replace(",", ""))
        assert read > 0
        assert read == pytest.approx(
            value, rel=0.06, abs=0.0051 if value >= 0.01 else 0.00051 if value >= 5e-4 else 6e-7
        )
