"""How a state ends where some readings are lost; the laws are in tests/properties."""

from copilot.core.signals import Missing, MissingCode
from tests.cluster_signals import healthy, states, workers_down


def test_a_tick_that_cannot_judge_a_critical_gate_counts_neither_for_nor_against_relief() -> None:
    lesser = healthy(activity_tasks__failed_per_sec=10.0)
    unread = healthy(
        activity_tasks__failed_per_sec=10.0, demand__rejected_per_sec=None, frontend__error_rate_per_sec=None
    )
    why = dict.fromkeys(unread.missing, Missing(code=MissingCode.TIMEOUT))
    unread = unread.model_copy(update={"missing": why})
    down = [healthy()] * 3 + [workers_down(60.0 + 10 * n) for n in range(10)]
    assert states([*down, lesser, unread, lesser])[-4:] == ["critical"] * 3 + ["stressed"]
