"""Limits that are near: found after ten minutes, with the time that is left, and happy until work is throttled."""

from collections.abc import Callable

import pytest

from copilot.explain.explanation import ExplainedEvaluation
from copilot.rules.limits import NearLimit
from copilot.rules.memory import Memory
from copilot.rules.signals.readings import BreakdownRow, Signals
from tests.cluster_signals import START, every, healthy, play
from tests.new_causes import row, with_rows

ACTIONS = "limits.actions_used_share"


def using(share: float | None, **changes: float | None) -> Signals:
    rows: tuple[BreakdownRow, ...] = () if share is None else (row(share, namespace="shop.a1b2c"),)
    return with_rows(healthy(limits__actions_used_share=share, **changes), ACTIONS, *rows)


def after(minutes: int, share: Callable[[int], float | None], **last: float | None) -> ExplainedEvaluation:
    """The last evaluation of a tick a minute, the last ones with these changes."""
    ticks = [using(share(n), **(last if n > minutes - 4 else {})) for n in range(minutes + 1)]
    return play(ticks, every(60))[0][-1]


def test_a_limit_that_is_near_for_ten_minutes_is_found_with_the_time_left() -> None:
    rising = lambda n: 0.8 + 0.005 * n  # noqa: E731
    assert "near_limit" not in [f.finding for f in after(9, rising).findings]
    [found] = [f for f in after(12, rising).findings if f.finding == "near_limit"]
    assert found.title == "86 % of the limit of actions is used"
    assert "`shop.a1b2c` has been over 80 %" in found.likely_cause
    assert "all of it is used in about 29 min" in found.likely_cause


@pytest.mark.parametrize(
    "share", [lambda _: 0.79, lambda n: 0.9 if n % 5 else 0.5, lambda _: None], ids=["below", "hourly", "missing"]
)
def test_what_is_not_near_for_ten_minutes_is_no_finding(share: Callable[[int], float | None]) -> None:
    assert "near_limit" not in [f.finding for f in after(14, share).findings]


def test_a_limit_that_is_near_is_happy_and_one_that_throttles_is_stressed_by_the_throttling() -> None:
    near = after(14, lambda _: 0.95)
    assert (near.verdict.health_state, near.findings[0].finding) == ("happy", "near_limit")
    throttled = after(14, lambda _: 1.0, frontend__throttled_per_sec=5.0)
    assert (throttled.verdict.health_state, throttled.findings[0].finding) == ("stressed", "rate_limited")


def test_no_time_is_told_where_no_trend_is() -> None:
    def of(*shares: float) -> float | None:
        return NearLimit(START, tuple((START.add(seconds=60 * n), s) for n, s in enumerate(shares))).left_sec()

    assert of(0.8, 0.85, 0.9) is None, "too few"
    assert of(0.9, 0.89, 0.88, 0.87, 0.86) is None, "it falls"
    assert of(0.82, 0.95, 0.81, 0.94, 0.83, 0.93) is None, "no line"
    assert of(0.8, 0.82, 0.84, 0.86, 0.88) == pytest.approx(360.0)
    assert Memory().limits == {}
