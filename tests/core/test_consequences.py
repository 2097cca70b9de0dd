"""What follows an incident is not a new one: it names the cause that is over, and advises nothing of its own."""

from copilot.explain.explanation import ExplainedEvaluation
from copilot.rules.signals.readings import Signals
from tests.cluster_signals import healthy, play, states

UNREACHABLE = healthy(frontend__reachable=0.0)
ERRORS = healthy(frontend__error_rate_per_sec=2.0)
SLOW = healthy(persistence__latency_p99_ms=900.0)
CHANGED = healthy(deploy__membership_changes_per_min=4.0)
NO_SUCCESS = {"workflow_tasks__completed_per_sec": 0.5, "workflow_tasks__timed_out_per_sec": 4.0}
LATE = healthy(workflow_tasks__failed_per_sec=0.0, **NO_SUCCESS)
FAILING = healthy(workflow_tasks__failed_per_sec=4.0)


def last(*ticks: Signals) -> ExplainedEvaluation:
    """The last evaluation of a healthy cluster that then read these."""
    return play([healthy()] * 5 + list(ticks))[0][-1]


def test_after_a_frontend_that_was_away_nobody_rolls_back_the_workers() -> None:
    evaluation = last(*[UNREACHABLE] * 14, *[LATE] * 3)
    cause = evaluation.findings[0]
    assert (cause.finding, cause.phase) == ("server_unreachable", "after")
    assert [a.key for d in evaluation.findings for a in d.actions] == ["wait_and_see"]
    assert evaluation.summary.startswith("“The Temporal frontend does not answer” is over, its effects are not. Last")


def test_errors_and_slowness_soon_after_a_change_of_members_are_its_consequences() -> None:
    for after in (ERRORS, SLOW):
        findings = last(CHANGED, *[after] * 6).findings
        assert findings[0].finding == "membership_change"
        assert not any(d.actions for d in findings[1:])


def test_errors_long_after_a_change_of_members_are_not() -> None:
    assert last(CHANGED, *[healthy()] * 14, *[ERRORS] * 6).top_factor == "frontend_errors"
    assert last(CHANGED, *[healthy()] * 40, *[SLOW] * 6).top_factor == "persistence_slow"


def test_workflow_tasks_that_only_time_out_while_a_backlog_drains_are_late_and_those_that_fail_are_not() -> None:
    def draining(ticks: Signals) -> list[Signals]:
        return [with_backlog(ticks, 900.0 - 60.0 * n) for n in range(6)]

    assert last(*draining(LATE)).top_factor == "backlog_draining"
    assert last(*draining(FAILING)).top_factor == "workflow_task_failures"


def test_nothing_is_over_while_tasks_wait_and_every_worker_has_just_gone() -> None:
    gone = with_backlog(healthy(), 82.0).model_copy(update={"targets": {"server": 1, "worker": 0}})
    assert states([healthy()] * 5 + [FAILING] * 3 + [gone] * 9)[-1] == "stressed"
    assert states([healthy()] * 5 + [FAILING] * 3 + [healthy()] * 9)[-1] == "happy"


def with_backlog(signals: Signals, tasks: float) -> Signals:
    """These signals with a backlog that is dispatched faster than tasks are added."""
    more = {"matching.backlog_count": tasks, "matching.tasks_dispatched_per_sec": 40.0}
    return signals.model_copy(update={"readings": {**signals.readings, **more}})
