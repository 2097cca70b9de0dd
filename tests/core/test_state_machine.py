"""How a state ends where some readings are lost; the laws are in tests/properties."""

from copilot.rules.signals.readings import Missing, MissingCode
from tests.cluster_signals import every, healthy, states, workers_down


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
