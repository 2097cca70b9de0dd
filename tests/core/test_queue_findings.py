"""What is said of task queues: versions nobody runs, backlogs that drain, queues nobody wants."""

from dataclasses import replace

import pytest

from copilot.rules.signals.readings import BreakdownRow, Signals
from tests.cluster_signals import CONTEXT, after, healthy, play, with_queues, workers_down

QUEUE = {"namespace": "default", "task_queue": "orders", "task_type": "workflow"}


def row(added: float, dispatched: float, backlog: float = 0.0, age_sec: float = 0.0) -> dict[str, float]:
    return {
        "demand.tasks_added_per_sec": added,
        "matching.tasks_dispatched_per_sec": dispatched,
        "matching.backlog_count": backlog,
        "matching.workflow_backlog_age_sec": age_sec,
    }


def of_versions(signals: Signals, backlog: dict[str, float], pollers: dict[str, float]) -> Signals:
    def rows(values: dict[str, float]) -> tuple[BreakdownRow, ...]:
        return tuple(BreakdownRow(labels={**QUEUE, "worker_version": v}, value=n) for v, n in values.items())

    breakdowns = {"version.backlog_count": rows(backlog), "version.pollers": rows(pollers)}
    return signals.model_copy(update={"breakdowns": breakdowns})


def test_tasks_for_a_version_nobody_runs_are_not_a_queue_without_pollers() -> None:
    stuck = workers_down(60.0, poller__pending_polls=12.0)
    found = after(of_versions(stuck, {"shop:2": 240.0, "shop:1": 0.0}, {"shop:1": 4.0})).findings[0]
    assert found.finding == "version_without_pollers"
    assert found.title == "No workers run version `shop:2` on `orders`: 240 tasks in the backlog"
    assert "Workers there poll as `shop:1`" in found.likely_cause


@pytest.mark.parametrize(
    ("backlog", "pollers"),
    [({"shop:2": 240.0}, {"shop:2": 4.0}), ({"shop:2": 0.0}, {"shop:1": 4.0}), ({"shop:2": 240.0}, {})],
    ids=["polled", "nothing waits", "nobody polls at all"],
)
def test_a_version_is_only_blamed_when_others_are_polled_and_it_is_not(
    backlog: dict[str, float], pollers: dict[str, float]
) -> None:
    found = after(of_versions(workers_down(60.0), backlog, pollers)).findings
    assert "version_without_pollers" not in [f.finding for f in found]


def test_a_backlog_that_is_served_faster_than_it_grows_is_said_to_drain() -> None:
    draining = [
        healthy(
            matching__backlog_count=float(backlog),
            matching__workflow_backlog_age_sec=85.0,
            matching__tasks_dispatched_per_sec=40.0,
            demand__tasks_added_per_sec=31.0,
        )
        for backlog in (290, 200)
    ]
    evaluation = play([healthy()] * 5 + draining)[0][-1]
    assert (evaluation.verdict.health_state.value, evaluation.top_factor) == ("stressed", "backlog_draining")
    assert "40 tasks/s dispatched and 31/s added" in evaluation.summary


def test_workers_gone_within_a_long_rate_window_are_not_said_to_poll() -> None:
    gone = workers_down(
        97.0, demand__tasks_added_per_sec=4.1, matching__tasks_dispatched_per_sec=3.3, poller__recent_pollers=0.0
    )
    evaluation = after(gone)
    assert (evaluation.top_factor, evaluation.bottleneck.value) == ("no_pollers", "worker_limited")


def test_tasks_that_came_since_the_last_tick_are_not_called_abandoned() -> None:
    first = with_queues(healthy(), orders=row(17.5, 17.5), reports=row(0.0, 0.0))
    then = with_queues(
        healthy(matching__backlog_count=8.0, matching__workflow_backlog_age_sec=1.4),
        orders=row(17.5, 17.5),
        reports=row(0.0, 0.0, 8.0, 1.4),
    )
    evaluations, _ = play([first, first, then])
    assert [f.finding for f in evaluations[-1].findings] == []


def test_an_abandoned_queue_is_listed_and_moves_nothing() -> None:
    signals = healthy(matching__backlog_count=5.0, matching__workflow_backlog_age_sec=90_000.0)
    evaluation = after(with_queues(signals, orders=row(17.5, 17.5), attic=row(0.0, 0.0, 5.0, 90_000.0)), ticks=12)
    assert evaluation.verdict.health_state.value == "happy"
    assert [(f.finding, f.subject) for f in evaluation.findings] == [("abandoned_queue", "attic")]
    assert [a.risk_level for a in evaluation.findings[0].suggested_actions] == ["low", "high"]


IDLE = {
    f"{signal_id}_per_sec": 0.0
    for signal_id in ("demand__starts", "demand__requests", "demand__tasks_added", "matching__tasks_dispatched")
}


@pytest.mark.parametrize(
    ("age", "ignored", "state"),
    [(90_000.0, (), "happy"), (3600.0, ("attic",), "happy"), (3600.0, (), "critical")],
    ids=["abandoned", "ignored", "missed"],
)
def test_what_nobody_misses_stalls_no_cluster_at_night(age: float, ignored: tuple[str, ...], state: str) -> None:
    night = healthy(**IDLE, matching__backlog_count=5.0, matching__workflow_backlog_age_sec=age)
    old = {"matching.backlog_count": 5.0, "matching.workflow_backlog_age_sec": age}
    context = replace(CONTEXT, ignore_task_queues=ignored)
    last = play([with_queues(night, attic=old)] * 10, context)[0][-1]
    assert last.verdict.health_state.value == state
    assert ("Idle: no demand and no backlog." in last.summary) is (state == "happy")


def test_an_ignored_queue_is_no_part_of_what_arrives_waits_and_is_served() -> None:
    attic = {
        "demand.tasks_added_per_sec": 95.0,
        "matching.tasks_spooled_per_sec": 95.0,
        "matching.backlog_count": 300.0,
        "matching.workflow_backlog_age_sec": 400.0,
    }
    orders = {"demand.tasks_added_per_sec": 5.0, "matching.tasks_dispatched_per_sec": 5.0}
    whole = healthy(
        demand__tasks_added_per_sec=100.0,
        matching__tasks_dispatched_per_sec=5.0,
        matching__tasks_spooled_per_sec=95.0,
        matching__backlog_count=300.0,
        matching__workflow_backlog_age_sec=400.0,
    )
    signals = with_queues(whole, orders=orders, attic=attic)
    for ignored, state in ((("attic",), "happy"), ((), "critical")):
        last = play([signals] * 10, replace(CONTEXT, ignore_task_queues=ignored))[0][-1]
        assert last.verdict.health_state.value == state
