"""One run against its label: times, grace periods, alarms, flaps, cause, bottleneck and advice."""

from typing import Any

import pytest

from copilot.rules.model import ActionType, BottleneckClassification, ReportedState
from lab.judge import Miss, Share, action_matches, judge
from lab.labels import Label
from tests.evaluations import issue, scale_workers
from tests.lab.runs import run, said, scored

CRITICAL = {"states": ["critical"]}
STRESSED = {"states": ["stressed"], "never": ["critical"]}
EITHER = {"states": ["stressed", "critical"]}
MAYBE = {"states": ["happy", "stressed"], "never": ["critical"]}
HAPPY = {"states": ["happy"], "never": ["critical", "unknown"]}
NOTHING_WRONG = {"states": ["happy"], "never": ["stressed", "critical", "unknown"]}
BLIND = {"states": ["unknown"], "never": ["critical"]}

IN_TIME = ((40, "stressed"), (60, "critical"), (350, "stressed"), (380, "happy"))


def at(score_wrong: tuple[Miss, ...]) -> list[float]:
    return [m.at_sec for m in score_wrong]


def test_a_verdict_that_comes_and_goes_in_time_has_nothing_wrong() -> None:
    score = scored(CRITICAL, *IN_TIME)
    assert score.wrong == ()
    assert score.fine
    assert (score.to_stressed_sec, score.to_critical_sec) == (40, 60)
    assert (score.worst, score.missed, score.flaps, score.false_alarms) == ("critical", False, 0, 0)
    assert score.states == Share(right=score.states.judged, judged=6 + 25 + 1)


def test_nothing_is_judged_before_stressed_is_due_and_happy_is_wrong_from_then_on() -> None:
    assert scored(CRITICAL, (50, "stressed"), *IN_TIME[1:]).wrong == ()
    late = scored(CRITICAL, (70, "stressed"), (90, "critical"), *IN_TIME[2:])
    assert at(late.wrong) == [50, 60]
    assert late.false_happies == 2
    assert late.wrong[0].right == (ReportedState.STRESSED, ReportedState.CRITICAL)


def test_stressed_is_right_until_critical_is_due_and_wrong_from_then_on() -> None:
    assert scored(CRITICAL, (40, "stressed"), (100, "critical"), *IN_TIME[2:]).wrong == ()
    late = scored(CRITICAL, (40, "stressed"), (130, "critical"), *IN_TIME[2:])
    assert at(late.wrong) == [100, 110, 120]
    assert late.critical_when_due == Share(right=17, judged=20)
    assert late.false_happies == 0


def test_an_incident_that_never_shows_is_missed() -> None:
    assert scored(CRITICAL, (40, "stressed"), (400, "happy")).missed
    assert scored(EITHER).missed
    assert not scored(EITHER, (40, "stressed"), (400, "happy")).missed
    assert scored(EITHER | {"reaches": "critical"}, (40, "stressed"), (400, "happy")).missed
    assert not scored(MAYBE).missed


def test_critical_after_the_fault_is_too_late_for_it() -> None:
    assert scored(EITHER | {"reaches": "critical"}, (40, "stressed"), (300, "critical"), (360, "stressed")).missed


def test_critical_where_it_is_not_allowed_is_false_even_in_grace() -> None:
    score = scored(STRESSED, (10, "stressed"), (20, "critical"), (40, "stressed"), (360, "happy"))
    assert at(score.wrong) == [20, 30]
    assert (score.false_criticals, score.false_alarms, score.flaps) == (2, 1, 1)
    assert score.critical_rightly == Share(right=0, judged=2)
    assert score.broken_never == ()


def test_what_is_never_to_be_said_is_judged_from_two_minutes_into_the_run() -> None:
    assert scored(HAPPY, (60, "unknown"), (70, "happy")).broken_never == ()
    assert scored(HAPPY, (70, "unknown"), (80, "happy")).broken_never == ("unknown",)


def test_an_alarm_before_the_fault_is_false() -> None:
    score = scored(CRITICAL, (-30, "stressed"), (-10, "happy"), *IN_TIME)
    assert at(score.wrong) == [-30, -20]
    assert (score.false_alarms, score.flaps) == (1, 1)


def test_a_recovery_passes_through_stressed_and_must_end() -> None:
    lingering = scored(CRITICAL, *IN_TIME[:2], (380, "stressed"))
    assert [(m.at_sec, m.said.value) for m in lingering.wrong] == [
        (360, "critical"),
        (370, "critical"),
        (410, "stressed"),
    ]
    assert lingering.false_alarms == 0
    assert lingering.false_criticals == 2


def test_a_recovery_begins_when_no_old_task_waits_any_more() -> None:
    late = ((40, "stressed"), (60, "critical"), (390, "stressed"))
    assert scored(CRITICAL, *late, of=run(waiting_until_sec=340)).wrong == ()
    assert at(scored(CRITICAL, *late).wrong) == [360, 370, 380, 410]


def test_a_relapse_in_the_fault_is_a_flap_and_a_false_happy() -> None:
    score = scored(STRESSED, (40, "stressed"), (150, "happy"), (170, "stressed"), (360, "happy"))
    assert (score.flaps, score.false_happies) == (1, 2)


@pytest.mark.parametrize("when", [-20, 0, 50, 200, 310])
def test_where_nothing_is_wrong_stressed_is_a_false_alarm_at_any_time(when: int) -> None:
    score = scored(NOTHING_WRONG, (when, "stressed"), (when + 20, "happy"))
    assert (score.false_alarms, score.flaps, score.states.judged - score.states.right) == (1, 1, 2)


def test_only_the_killed_server_may_stress_for_a_moment() -> None:
    moment = ((20, "stressed"), (80, "happy"))
    assert scored(HAPPY, *moment, of=run("server-restart")).fine
    elsewhere = scored(HAPPY, *moment, of=run("night"))
    assert (elsewhere.false_alarms, elsewhere.flaps) == (1, 1)
    assert at(scored(HAPPY, (20, "stressed"), (110, "happy"), of=run("server-restart")).wrong) == [100]


def test_blindness_is_unknown_when_it_is_due() -> None:
    assert scored(BLIND, (90, "unknown"), (340, "happy")).fine
    late = scored(BLIND, (120, "unknown"), (340, "happy"))
    assert at(late.wrong) == [100, 110]
    assert scored(BLIND).missed
    assert scored(BLIND, (40, "stressed"), (90, "unknown"), (340, "happy")).false_alarms == 1


def test_unknown_instead_of_a_verdict_is_wrong() -> None:
    assert at(scored(CRITICAL, *IN_TIME[:2], (150, "unknown"), (170, "critical"), *IN_TIME[2:]).wrong) == [150, 160]


def test_the_rate_limits_are_judged_from_90_s_after_the_restart() -> None:
    states = ((90, "stressed"), (360, "happy"))
    assert scored(EITHER, *states, of=run("frontend-rate-limit")).wrong == ()
    assert at(scored(EITHER, *states).wrong) == [50, 60, 70, 80]


def test_a_run_that_says_so_is_judged_later() -> None:
    states = ((180, "stressed"), (360, "happy"))
    assert scored(EITHER, *states, of=run(label_judged_after_sec=180.0)).wrong == ()


def test_the_cause_is_judged_where_stressed_is_due() -> None:
    causes = STRESSED | {"cause": ["no_pollers"]}
    stressed = ((40, "stressed"), (360, "happy"))
    assert scored(causes, *stressed).cause == Share(right=25, judged=25)
    wrong = scored(causes, *stressed, findings=(issue("worker_slow"), issue("no_pollers")))
    assert wrong.cause == Share(right=0, judged=25)
    assert wrong.causes_said == {"worker_slow": 25}
    assert wrong.cause_at_end is False


def test_where_happy_is_allowed_silence_is_no_wrong_cause_but_a_cause_never_named_is() -> None:
    causes = MAYBE | {"cause": ["no_pollers"]}
    assert scored(causes).cause == Share(right=0, judged=1)
    assert scored(causes).cause_at_end is False
    assert scored(causes, (20, "stressed"), (40, "happy")).cause == Share(right=1, judged=1)
    assert scored(causes, (60, "stressed"), (100, "happy")).cause == Share(right=4, judged=4)
    assert scored(causes, (60, "stressed"), (100, "happy")).cause_at_end is True


def test_the_cause_at_the_end_of_the_fault_is_the_last_one_named() -> None:
    label = Label.model_validate(STRESSED | {"cause": ["no_pollers"]})
    first, then = said((40, "stressed")), said((40, "stressed"), findings=(issue("worker_slow"),))
    assert judge(run(), label, [*first[:20], *then[20:]]).cause_at_end is False
    assert judge(run(), label, [*then[:20], *first[20:]]).cause_at_end is True


def test_where_only_happy_is_allowed_the_cause_must_always_be_named() -> None:
    causes = HAPPY | {"cause": ["poller_executor_mismatch"]}
    assert scored(causes).cause == Share(right=0, judged=25)
    named = scored(causes, findings=(issue("poller_executor_mismatch"),))
    assert named.cause == Share(right=25, judged=25)


def test_cause_and_bottleneck_need_what_the_label_says_they_need() -> None:
    label = Label.model_validate(STRESSED | {"cause": ["x"], "bottleneck": ["server_limited"], "needs": ["sdk"]})
    told = said((40, "stressed"), (360, "happy"))
    with_sdk, without = judge(run(), label, told), judge(run(), label, told, sources=frozenset())
    assert (with_sdk.cause.judged, with_sdk.bottleneck) == (25, Share(right=0, judged=25))
    assert (without.cause, without.cause_at_end, without.bottleneck) == (Share(), None, Share())


def test_a_bottleneck_is_judged_while_something_is_wrong_and_healthy_always() -> None:
    server = BottleneckClassification.SERVER_LIMITED
    states = ((60, "stressed"), (100, "happy"))
    assert scored(MAYBE | {"bottleneck": ["worker_limited"]}, *states).bottleneck == Share(right=4, judged=4)
    assert scored(MAYBE | {"bottleneck": ["healthy"]}, bottleneck=server).bottleneck == Share(right=0, judged=25)


ADVICE: list[tuple[str, dict[str, Any], bool]] = [
    ("scale workers", {"description": "Add workers."}, True),
    ("start workers", {"description": "Add workers."}, True),
    ("scale workers", {"description": "Scale workers up.", "action_type": ActionType.ALERT}, True),
    ("scale down", {"parameters": {"direction": "up"}}, False),
    ("scale down", {"parameters": {"direction": "down"}}, True),
    ("scale workers", {"parameters": {"direction": "down"}, "description": "Fewer."}, False),
    ("scale history", {"description": "Add workers."}, False),
    ("scale history", {"description": "More hosts.", "target_service": "history"}, True),
    ("restart the server", {"action_type": ActionType.RESTART, "target_service": "frontend"}, True),
    ("restart the server", {"action_type": ActionType.RESTART, "target_service": "workers"}, False),
]


@pytest.mark.parametrize(("phrase", "changed", "forbidden"), ADVICE)
def test_an_action_matches_a_phrase_by_its_text_or_its_type(
    phrase: str, changed: dict[str, Any], forbidden: bool
) -> None:
    assert action_matches(scale_workers(**changed), phrase) is forbidden
