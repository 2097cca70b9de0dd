"""Executions whose workflow tasks fail again and again, at a back-off longer than a window, while other work flows."""

from dataclasses import replace

import pytest

from copilot.rules.flow import cluster_flow
from copilot.rules.gates.context import GateContext
from copilot.rules.gates.pressure import WORKFLOW_TASK_ATTEMPTS
from copilot.rules.memory import Memory, stuck_learned
from copilot.rules.signals.readings import Signals
from copilot.rules.thresholds import Thresholds
from tests.cluster_signals import CONTEXT, START, healthy, play, states

EACH_HALF_MINUTE = replace(CONTEXT, interval_sec=30.0, window_sec=60.0)


def retried(attempts: float = 9.46, *, timed_out: float = 0.3, worker_fails: float | None = 0.3) -> Signals:
    """Other work flows; in this window some tasks were tried once more. No rate of failures is over its limit."""
    return healthy(
        workflow_tasks__attempts_p99=attempts,
        workflow_tasks__timed_out_per_sec=timed_out,
        worker_tasks__workflow_task_failures_per_sec=worker_fails,
    )


@pytest.mark.parametrize(("attempts", "ticks"), [(9.46, 11), (15.5, 41)])
def test_tasks_that_fail_after_many_attempts_stress_until_their_next_attempt_was_due(
    attempts: float, ticks: int
) -> None:
    seen = states([healthy()] * 3 + [retried(attempts)] * 2 + [healthy()] * 44, EACH_HALF_MINUTE)
    assert seen == ["happy"] * 5 + ["stressed"] * (ticks + 1) + ["happy"] * (43 - ticks)


def test_tasks_that_fail_seldom_do_not_make_a_cluster_happy_between_two_attempts() -> None:
    waits = [healthy()] * 9
    every_ten_minutes = [*[retried(15.5)] * 2, *waits, *waits] * 12
    told, _ = play([*waits, *[retried()] * 2, *waits, *every_ten_minutes], EACH_HALF_MINUTE)
    assert {e.verdict.health_state.value for e in told[11:]} == {"stressed"}
    between = told[15]
    assert between.findings[0].finding == "workflow_task_failures"
    assert between.summary.startswith("Workflow tasks fail in the workers.")
    assert between.verdict.fired() == ("workflow_task_attempts",)
    assert "keep failing, at attempt 9.5 or later" in between.narrative.trigger


def test_tasks_that_no_longer_fail_in_the_workers_are_stuck_no_more() -> None:
    rolled_back = [retried(worker_fails=0.0)] * 3
    seen = states([healthy()] * 3 + [retried()] * 6 + rolled_back + [healthy()] * 5, EACH_HALF_MINUTE)
    assert seen[-6:] == ["stressed"] * 3 + ["happy"] * 3


@pytest.mark.parametrize("tail", [retried(worker_fails=0.0), retried(timed_out=0.03)])
def test_the_last_of_a_window_is_no_sign_that_tasks_succeed(tail: Signals) -> None:
    seen = states([healthy()] * 3 + [retried()] * 2 + [tail] + [healthy()] * 9, EACH_HALF_MINUTE)
    assert seen[5:] == ["stressed"] * 10


def test_one_or_two_tasks_that_fail_are_no_matter_of_the_cluster() -> None:
    assert set(states([healthy()] * 3 + [retried(timed_out=0.03)] + [healthy()] * 8, EACH_HALF_MINUTE)) == {"happy"}


def test_what_failed_in_an_outage_that_is_just_over_is_not_stuck() -> None:
    for seconds, learned in ((1, {}), (0, {"stuck_attempts": 9.46, "stuck_at": START})):
        memory = Memory(recovering_until=START.add(seconds=seconds))
        assert stuck_learned(memory, retried(), Thresholds(), 30.0, recovering=seconds > 0) == learned


def test_a_second_or_third_attempt_is_one_slow_moment() -> None:
    assert set(states([healthy()] * 3 + [retried(3.7)] + [healthy()] * 8, EACH_HALF_MINUTE)) == {"happy"}


def test_tasks_that_wait_for_their_next_attempt_count_while_no_other_is_done() -> None:
    signals = healthy(workflow_tasks__attempts_p99=None)
    quiet = signals.model_copy(update={"missing": {}, "no_traffic": ("workflow_tasks.attempts_p99",)})
    for seconds, fires in ((329, True), (330, False)):
        memory = Memory(stuck_attempts=9.46, stuck_at=START.subtract(seconds=seconds))
        for tick, otherwise in ((quiet, None), (healthy(), False)):
            view = GateContext(tick, cluster_flow(tick), {}, memory, Thresholds(), 30.0, START)
            assert WORKFLOW_TASK_ATTEMPTS.judge(view).fired is (fires or otherwise)
