"""One run against its label: times, grace periods, alarms, flaps, cause, bottleneck and advice."""

from typing import Any

import pytest

from copilot.rules.model import ActionType, BottleneckClassification, ReportedState
from lab.judge import Share, action_matches, judge
from lab.labels import Label
from tests.evaluations import issue, scale_workers
from tests.lab.runs import run, said, scored

CRITICAL = {"states": ["critical"]}
STRESSED = {"states": ["stressed"], "never": ["critical"]}
EITHER = {"states": ["stressed", "critical"]}
REACHES = {"reaches": "critical"}
MAYBE = {"states": ["happy", "stressed"], "never": ["critical"]}
HAPPY = {"states": ["happy"], "never": ["critical", "unknown"]}
NOTHING_WRONG = {"states": ["happy"], "never": ["stressed", "critical", "unknown"]}
BLIND = {"states": ["unknown"], "never": ["critical"]}

IN_TIME = ((40, "stressed"), (60, "critical"), (350, "stressed"), (380, "happy"))


LATE = ((90, "stressed"), (360, "happy"))
MOMENT = ((20, "stressed"), (80, "happy"))
BEFORE = (*IN_TIME[:2], (390, "stressed"))
RESTART: dict[str, Any] = {"name": "server-restart"}

# What happens: label, the states that are said, the run if it is another one, and what the score says.
Judged = tuple[dict[str, Any], tuple[tuple[int, str], ...], dict[str, Any], dict[str, Any]]
JUDGED: dict[str, Judged] = {
    "a verdict that comes and goes in time": (CRITICAL, IN_TIME, {}, {
        "wrong": [], "fine": True, "to_stressed_sec": 40, "to_critical_sec": 60, "worst": "critical", "missed": False,
        "flaps": 0, "false_alarms": 0, "states": Share(right=32, judged=6 + 25 + 1)}),
    "nothing is judged before stressed is due": (CRITICAL, ((50, "stressed"), *IN_TIME[1:]), {}, {"wrong": []}),
    "happy is wrong once stressed is due": (CRITICAL, ((70, "stressed"), (90, "critical"), *IN_TIME[2:]), {}, {
        "wrong": [50, 60], "false_happies": 2}),
    "stressed is right until critical is due": (CRITICAL, ((40, "stressed"), (100, "critical"), *IN_TIME[2:]), {}, {
        "wrong": []}),
    "stressed is wrong once critical is due": (CRITICAL, ((40, "stressed"), (130, "critical"), *IN_TIME[2:]), {}, {
        "wrong": [100, 110, 120], "critical_when_due": Share(right=17, judged=20), "false_happies": 0}),
    "critical is due and never said": (CRITICAL, ((40, "stressed"), (400, "happy")), {}, {"missed": True}),
    "nothing is said": (EITHER, (), {}, {"missed": True}),
    "stressed is enough": (EITHER, ((40, "stressed"), (400, "happy")), {}, {"missed": False}),
    "critical is to be reached": (EITHER | REACHES, ((40, "stressed"), (400, "happy")), {}, {"missed": True}),
    "critical after the fault is too late": (
        EITHER | REACHES, ((40, "stressed"), (300, "critical"), (360, "stressed")), {}, {"missed": True}),
    "nothing need be said": (MAYBE, (), {}, {"missed": False}),
    "critical where it is not allowed is false even in grace": (
        STRESSED, ((10, "stressed"), (20, "critical"), (40, "stressed"), (360, "happy")), {}, {
            "wrong": [20, 30], "false_criticals": 2, "false_alarms": 1, "flaps": 1, "broken_never": (),
            "critical_rightly": Share(right=0, judged=2)}),
    "never is not judged in the first two minutes": (HAPPY, ((60, "unknown"), (70, "happy")), {}, {"broken_never": ()}),
    "never is judged after two minutes": (HAPPY, ((70, "unknown"), (80, "happy")), {}, {"broken_never": ("unknown",)}),
    "an alarm before the fault": (CRITICAL, ((-30, "stressed"), (-10, "happy"), *IN_TIME), {}, {
        "wrong": [-30, -20], "false_alarms": 1, "flaps": 1}),
    "a recovery passes through stressed and must end": (CRITICAL, (*IN_TIME[:2], (380, "stressed")), {}, {
        "wrong": [360, 370, 410], "false_alarms": 0, "false_criticals": 2}),
    "a recovery begins when no old task waits": (CRITICAL, BEFORE, {"waiting_until_sec": 340}, {"wrong": []}),
    "no old task waits from the end on": (CRITICAL, BEFORE, {}, {"wrong": [360, 370, 380, 410]}),
    "a relapse in the fault": (
        STRESSED, ((40, "stressed"), (150, "happy"), (170, "stressed"), (360, "happy")), {}, {
            "flaps": 1, "false_happies": 2}),
    "a server just restarted may stress for a moment": (HAPPY, MOMENT, RESTART, {"fine": True}),
    "no other run may": (HAPPY, MOMENT, {"name": "night"}, {"false_alarms": 1, "flaps": 1}),
    "nor for longer": (HAPPY, ((20, "stressed"), (110, "happy")), RESTART, {"wrong": [100]}),
    "blindness is unknown when it is due": (BLIND, ((90, "unknown"), (340, "happy")), {}, {"fine": True}),
    "blindness told late": (BLIND, ((120, "unknown"), (340, "happy")), {}, {"wrong": [100, 110]}),
    "blindness not told": (BLIND, (), {}, {"missed": True}),
    "blindness called stressed": (BLIND, ((40, "stressed"), (90, "unknown"), (340, "happy")), {}, {"false_alarms": 1}),
    "unknown instead of a verdict": (
        CRITICAL, (*IN_TIME[:2], (150, "unknown"), (170, "critical"), *IN_TIME[2:]), {}, {"wrong": [150, 160]}),
    "rate limits are judged from 90 s after a restart": (EITHER, LATE, {"name": "frontend-rate-limit"}, {"wrong": []}),
    "and others are not": (EITHER, LATE, {}, {"wrong": [50, 60, 70, 80]}),
    "a run that says so is judged later": (
        EITHER, ((180, "stressed"), (360, "happy")), {"label_judged_after_sec": 180.0}, {"wrong": []}),
}  # fmt: skip


@pytest.mark.parametrize(("label", "changes", "of", "expected"), JUDGED.values(), ids=JUDGED)
def test_a_run_is_judged_by_its_label(
    label: dict[str, Any], changes: tuple[tuple[int, str], ...], of: dict[str, Any], expected: dict[str, Any]
) -> None:
    score = scored(label, *changes, of=run(**of))
    found = {name: getattr(score, name) for name in expected}
    if "wrong" in found:
        found["wrong"] = [miss.at_sec for miss in score.wrong]
    assert found == expected


def test_a_wrong_evaluation_says_what_would_have_been_right() -> None:
    late = scored(CRITICAL, (70, "stressed"), (90, "critical"), *IN_TIME[2:])
    assert late.wrong[0].right == (ReportedState.STRESSED, ReportedState.CRITICAL)
    lingering = scored(CRITICAL, *IN_TIME[:2], (380, "stressed"))
    assert [miss.said for miss in lingering.wrong] == ["critical", "critical", "stressed"]


@pytest.mark.parametrize("when", [-20, 0, 50, 200, 310])
def test_where_nothing_is_wrong_stressed_is_a_false_alarm_at_any_time(when: int) -> None:
    score = scored(NOTHING_WRONG, (when, "stressed"), (when + 20, "happy"))
    assert (score.false_alarms, score.flaps, score.states.judged - score.states.right) == (1, 1, 2)


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
