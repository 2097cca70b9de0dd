"""A run's verdicts against its label."""

from collections.abc import Callable

import pytest
from whenever import TimeDelta

from copilot.core.assessment import Evaluation
from copilot.lab.labels import Label
from copilot.lab.taken import Marks, Taken, problems
from tests.evaluations import NOON, evaluation

INTERVAL, WINDOW = 10.0, 30.0
FAULT, AFTER, END = 60.0, 360.0, 480.0
CRITICAL = Label.model_validate({"states": ["critical"], "cause": ["no_pollers"], "bottleneck": ["worker_limited"]})
HAPPY = Label.model_validate({"states": ["happy"], "never": ["stressed", "critical"]})


def at(seconds: float) -> TimeDelta:
    return TimeDelta(seconds=seconds)


def taken(judged_after: float | None = None) -> Taken:
    marks = Marks(before=NOON, fault=NOON + at(FAULT), after=NOON + at(AFTER), end=NOON + at(END))
    return Taken(scenario="x", marks=marks, taken="2026-11-22", machine={}, label_judged_after_sec=judged_after)


def run(state_at: Callable[[float], str]) -> list[Evaluation]:
    """What is said every ten seconds of a run, the state by the second."""
    seconds = [INTERVAL * n for n in range(int(END / INTERVAL))]
    return [evaluation(state_at(s), NOON + at(s), interval=INTERVAL) for s in seconds]


def found(label: Label, state_at: Callable[[float], str], judged_after: float | None = None) -> list[str]:
    return problems(label, taken(judged_after), run(state_at), WINDOW, INTERVAL)


def critical_from(start: float) -> Callable[[float], str]:
    return lambda second: "critical" if start <= second < AFTER else "happy"


def test_a_run_as_labelled_has_no_problems() -> None:
    assert found(CRITICAL, critical_from(FAULT + 90)) == []
    assert found(HAPPY, lambda _: "happy") == []


def test_a_verdict_has_the_time_the_requirements_give_it_and_no_more() -> None:
    assert found(CRITICAL, critical_from(FAULT + 100)) == []
    assert found(CRITICAL, critical_from(FAULT + 110)) == ["state happy 1 times of 20 (expected critical)"]


def test_trouble_that_comes_later_is_judged_later() -> None:
    assert found(CRITICAL, critical_from(FAULT + 190), judged_after=190.0) == []
    assert found(CRITICAL, critical_from(FAULT + 200), judged_after=190.0) != []


def test_what_must_never_be_said_may_be_said_in_the_first_two_minutes_only() -> None:
    assert found(HAPPY, lambda second: "stressed" if second < 120 else "happy") == []
    assert found(HAPPY, lambda second: "stressed" if second == 400 else "happy") == ["stressed is said"]


def test_the_worst_state_must_be_reached_where_the_label_asks_for_it() -> None:
    label = Label.model_validate({"states": ["stressed", "critical"], "reaches": "critical"})
    stressed: Callable[[float], str] = lambda second: "stressed" if FAULT <= second < AFTER else "happy"  # noqa: E731
    assert found(label, stressed) == ["critical is not reached"]
    assert found(label, lambda second: "critical" if second == 350 else stressed(second)) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"cause": ["worker_slow"]}, "cause no_pollers 20 times of 20 (expected worker_slow)"),
        ({"bottleneck": ["mixed"]}, "bottleneck worker_limited 20 times of 20 (expected mixed)"),
        ({"not_said": ["scaling history"]}, "advice 'scaling history' is given"),
    ],
)
def test_cause_bottleneck_and_advice_are_held_to_the_label(changed: dict[str, object], problem: str) -> None:
    label = Label.model_validate({"states": ["critical"], **changed})
    assert found(label, critical_from(FAULT + 90)) == [problem]


def test_a_cause_is_asked_for_on_a_happy_cluster_only_where_it_is_to_be_happy() -> None:
    either = Label.model_validate({"states": ["happy", "stressed"], "cause": ["load_burst"]})
    assert found(either, lambda _: "happy") == []
    happy = Label.model_validate({"states": ["happy"], "cause": ["poller_executor_mismatch"]})
    assert found(happy, lambda _: "happy") == ["cause none 20 times of 20 (expected poller_executor_mismatch)"]


def test_what_is_written_beside_a_recording_can_be_read_again() -> None:
    document = taken(190.0).document()
    assert Taken.model_validate_json(document) == taken(190.0)
    assert '"fault": "2026-11-22T12:01:00Z"' in document
    assert "label_judged_after_sec" not in taken().document()
