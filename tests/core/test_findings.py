"""What is named as the cause, whose problem it is, and what is advised."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from copilot.rules.findings.context import Action
from copilot.rules.findings.registry import FINDINGS
from copilot.rules.model import ActionType, SuggestedAction
from copilot.rules.scaling import RESTART_TO_REDISTRIBUTE, ScalingRule, broken_rule, offered
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from tests.cluster_signals import after, blind, healthy, judged, play, workers_down

full = workers_down(60.0, workers__activity_slots_available=0.0, workers__activity_slots_used=4.0).model_copy(
    update={"targets": {"server": 1, "worker": 2}}
)
MADE: dict[str, Callable[..., Signals]] = {"healthy": healthy, "workers_down": workers_down, "blind": blind}


def test_each_finding_says_which_other_looks_most_like_it_and_what_tells_them_apart() -> None:
    names = {finding.name for finding in FINDINGS}
    for finding in FINDINGS:
        other, difference = finding.looks_like
        assert other in names - {finding.name}, finding.name
        assert difference.startswith("Here ")
        assert "; there " in difference


CAUSES: dict[str, tuple[Signals, str | None, str]] = {
    "nothing is wrong": (healthy(), None, "healthy"),
    "no free slot": (full, "slots_exhausted", "worker_limited"),
} | {
    case["what"]: (MADE[case["signals"]](**case["changes"]), case["finding"], case["bottleneck"])
    for case in tomllib.loads(Path(__file__).with_name("causes.toml").read_text(encoding="utf-8"))["cause"]
}


@pytest.mark.parametrize(("signals", "cause", "bottleneck"), CAUSES.values(), ids=CAUSES)
def test_the_cause_is_named_first_and_the_bottleneck_told(signals: Signals, cause: str | None, bottleneck: str) -> None:
    evaluation = after(signals)
    assert (evaluation.top_factor, evaluation.bottleneck.value) == (cause, bottleneck)


def test_dead_workers_are_to_be_started_and_the_server_left_alone() -> None:
    evaluation = after(workers_down(60.0))
    (action,) = evaluation.findings[0].suggested_actions
    assert (action.action_type, action.target_service) == (ActionType.SCALE, "workers")
    assert "240 tasks in the backlog, oldest 1 min" in evaluation.summary


def test_a_server_that_refuses_work_gets_no_worker_advice() -> None:
    evaluation = after(CAUSES["namespace rate limit"][0])
    assert all(a.target_service != "workers" for f in evaluation.findings for a in f.suggested_actions)


ADD = Action("add_workers", ActionType.SCALE, "workers", "Add workers.", 0.5)


def scale(direction: str, target: str = "workers") -> SuggestedAction:
    return SuggestedAction(
        action_type=ActionType.SCALE,
        target_service=target,
        description="",
        confidence=0.5,
        risk_level="low",
        parameters={"direction": direction},
    )


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"workers__workflow_slots_available": 0.0}, ScalingRule.NEVER_SCALE_DOWN_AT_ZERO),
        ({"workers__activity_slots_available": 0.0}, ScalingRule.NEVER_SCALE_DOWN_AT_ZERO),
        ({"workers__activity_slots_available": None}, ScalingRule.NEVER_SCALE_DOWN_AT_ZERO),
        ({"poller__pending_polls": 0.0}, ScalingRule.NEVER_SCALE_DOWN_AT_ZERO),
    ],
)
def test_14_workers_are_never_scaled_down_while_none_is_free(
    changes: dict[str, float | None], rule: ScalingRule | None
) -> None:
    signals = healthy(**changes)
    assert broken_rule(scale("down"), signals) == rule
    assert broken_rule(scale("up"), signals) is None
    assert broken_rule(scale("down", "history"), signals) is None


def test_scaling_workers_that_cache_workflows_comes_with_the_sticky_queue_warning() -> None:
    signals = healthy(worker_cache__sticky_size=40.0)
    (up,) = offered([ADD], signals)
    assert up.rule == ScalingRule.STICKY_QUEUE_WARNING
    (bare,) = offered([ADD], healthy(worker_cache__sticky_size=0.0))
    assert bare.rule == ""


def test_full_workers_that_cache_are_scaled_first_and_restarted_to_redistribute_after() -> None:
    signals = healthy(worker_cache__sticky_size=40.0, workers__workflow_slots_available=0.0)
    first, then = offered([ADD], signals)
    assert (first.key, then.key) == (ADD.key, RESTART_TO_REDISTRIBUTE.key)
    assert then.rule == ScalingRule.RESTART_TO_REDISTRIBUTE


def test_pollers_are_not_raised_while_they_outnumber_slots() -> None:
    more = scale("up").model_copy(update={"parameters": {"raise": "pollers"}})
    assert broken_rule(more, healthy(workers__activity_pollers=400.0)) is ScalingRule.POLLER_EXECUTOR_MISMATCH
    assert broken_rule(more, healthy()) is None


def test_the_chain_from_full_slots_to_work_not_done_is_told_link_by_link() -> None:
    why = after(full).narrative.why.partition("Cause and effect")[2]
    links = [
        "all 4 activity slots are in use",
        "workers stop polling",
        "240 tasks in the backlog, oldest 1 min",
        "no workflows completed while 3/s are started",
    ]
    assert [why.index(link) for link in links] == sorted(why.index(link) for link in links)


def test_the_chain_of_a_server_that_refuses_goes_through_history() -> None:
    stuck = healthy(
        persistence__throttled_per_sec=200.0, history__tasks_acked_per_sec=5.0, workflow_completion__success_per_sec=0.5
    )
    told = "200 database calls/s are refused → history completes 5 of 67 task attempts/s → 0.5"
    assert told in after(stuck).narrative.why


def test_a_gate_that_fired_once_blames_nobody() -> None:
    evaluation = after(healthy(persistence__latency_p99_ms=900.0), ticks=1)
    assert evaluation.verdict.fired() == ("persistence_latency",)
    assert (evaluation.top_factor, evaluation.bottleneck.value) == (None, "healthy")


def test_full_slots_are_remembered_for_a_window_when_their_reading_is_lost() -> None:
    blurred = full.model_copy(update={"readings": full.readings | {"workers.activity_slots_available": None}})
    ticks = [healthy()] * 5 + [full] * 4 + [blurred] * 6
    named = [e.top_factor for e in judged(ticks)[0][9:]]
    assert named[:3] == ["slots_exhausted"] * 3
    assert named[-1] != "slots_exhausted"


def test_while_a_state_holds_its_last_cause_stays_named() -> None:
    evaluations, _ = play([healthy()] * 5 + [workers_down(60.0)] * 4 + [healthy()] * 8)
    after_it = evaluations[9:]
    holding = [e for e in after_it if e.verdict.health_state.value != "happy" and not e.verdict.fired()]
    assert holding
    assert {(e.top_factor, e.bottleneck.value) for e in holding} == {("no_pollers", "worker_limited")}
    assert holding[0].summary.startswith("Recovering from “No pollers”. Nothing is over its limit")
    assert (after_it[-1].verdict.health_state.value, after_it[-1].top_factor) == ("happy", None)


@pytest.mark.parametrize(("ticks", "cause"), [(6, "no_pollers"), (40, "frontend_slow")], ids=["its wake", "another"])
def test_what_is_only_slow_soon_after_an_outage_is_not_what_it_recovers_from(ticks: int, cause: str) -> None:
    down = [healthy()] * 3 + [workers_down(60.0 + 10 * n) for n in range(10)]
    slow = [healthy(frontend__latency_p99_ms=3000.0)] * ticks
    last = play([*down, *slow, healthy()])[0][-1]
    assert (last.verdict.health_state.value, last.top_factor) == ("stressed", cause)
    assert last.summary.startswith("Recovering from")


def test_one_moments_starts_that_stay_in_their_rate_for_a_window_are_no_burst() -> None:
    spike = [healthy()] * 6 + [healthy(demand__starts_per_sec=15.0)] * 3
    assert not any(f.finding == "load_burst" for e in judged(spike * 3)[0] for f in e.findings)
    suffers = healthy(demand__starts_per_sec=15.0, matching__workflow_backlog_age_sec=31.0, matching__backlog_count=9.0)
    assert judged([healthy()] * 6 + [suffers] * 2)[0][-1].top_factor == "load_burst"


def test_load_that_stays_is_a_burst_for_minutes_and_usual_after_a_while() -> None:
    evaluations = judged([healthy()] * 5 + [healthy(demand__starts_per_sec=15.0)] * 300)[0]
    named = ["load_burst" in [f.finding for f in e.findings] for e in evaluations]
    assert all(named[8:40])
    assert not named[-1]


def test_the_morning_after_a_quiet_night_is_no_burst() -> None:
    day, night = [healthy()] * 130, [healthy(demand__starts_per_sec=0.0)] * 600
    morning = judged(day + night + [healthy()] * 6)[0][-6:]
    assert not any(f.finding == "load_burst" for e in morning for f in e.findings)


def test_a_burst_under_which_nothing_suffers_does_not_hide_what_is_broken() -> None:
    broken = healthy(demand__starts_per_sec=15.0, workflow_tasks__failed_per_sec=13.7, workflow_tasks__attempts_p99=9.8)
    assert [f.finding for f in after(broken, ticks=8).findings] == ["workflow_task_failures", "load_burst"]


def test_a_lost_reading_does_not_change_the_cause() -> None:
    lost = workers_down(60.0, poller__pending_polls=None, poller__recent_pollers=1.0)
    why = {**lost.missing, "poller.pending_polls": Missing(code=MissingCode.TIMEOUT)}
    blurred = lost.model_copy(update={"missing": why})
    named = [e.top_factor for e in judged([healthy()] * 5 + [workers_down(60.0)] * 4 + [blurred] * 3)[0][6:]]
    assert named == ["no_pollers"] * len(named)
