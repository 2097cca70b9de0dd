"""How a state ends where some readings are lost; the laws are in tests/properties."""

from itertools import groupby

from copilot.rules.signals.readings import Missing, MissingCode
from tests.cluster_signals import every, healthy, play, states, workers_down


def test_a_tick_that_cannot_judge_a_critical_gate_counts_neither_for_nor_against_relief() -> None:
    lesser = healthy(activity_tasks__failed_per_sec=10.0)
    unread = healthy(
        activity_tasks__failed_per_sec=10.0, demand__rejected_per_sec=None, frontend__error_rate_per_sec=None
    )
    why = dict.fromkeys(unread.missing, Missing(code=MissingCode.TIMEOUT))
    unread = unread.model_copy(update={"missing": why})
    down = [healthy()] * 3 + [workers_down(60.0 + 10 * n) for n in range(10)]
    assert states([*down, lesser, unread, lesser])[-4:] == ["critical"] * 3 + ["stressed"]


def test_what_went_missing_while_it_was_bad_is_not_good_however_long_it_is_missing() -> None:
    failing = healthy(activity_tasks__failed_per_sec=10.0)
    unread = healthy(activity_tasks__failed_per_sec=None)
    hour = states([healthy()] * 3 + [failing] * 3 + [unread] * 60 + [healthy()] * 3, every(60.0))
    assert hour[6:] == ["stressed"] * 62 + ["happy"]


STORM = healthy(activity_tasks__failed_per_sec=10.0)


def stressed_periods(storms: int, minutes_apart: int, after: int = 20) -> list[int]:
    """How many minutes each stressed period lasts with storms of one minute, judged every half a minute."""
    storm = [STORM] * 2 + [healthy()] * (2 * minutes_apart - 2)
    seen = states([healthy()] * 4 + storm * storms + [healthy()] * 2 * after, every(30.0))
    return [len(list(run)) // 2 for state, run in groupby(seen) if state == "stressed"]


def test_storms_that_come_back_within_minutes_are_one_incident_from_the_second_on_and_a_single_one_ends_as_ever() -> (
    None
):
    assert stressed_periods(1, 5) == stressed_periods(1, 30)
    first, *rest = stressed_periods(10, 5)
    assert [first] == stressed_periods(1, 5)
    assert len(rest) == 1
    assert rest[0] >= 8 * 5 + 10
    assert len(stressed_periods(3, 30)) == 3


def test_what_had_seemed_over_says_why_it_is_not_yet() -> None:
    quiet = [healthy()] * 8
    told = play([*quiet, STORM, STORM, *quiet, STORM, STORM, *quiet], every(30.0))[0]
    assert told[-1].verdict.relapses == 1
    assert "because it had seemed over before and came back" in told[-1].narrative.meaning
    assert "because" not in told[12].narrative.meaning
