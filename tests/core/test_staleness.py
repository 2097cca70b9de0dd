import pytest

from copilot.core.assessment import BottleneckClassification, HealthState, ReportedState, Transition
from copilot.core.staleness import age_sec, as_of
from tests.evaluations import NOON, evaluation


@pytest.mark.parametrize(
    ("interval", "age", "state", "stale"),
    [
        pytest.param(30, 0, "critical", False, id="just made"),
        pytest.param(30, 45, "critical", False, id="one and a half intervals"),
        pytest.param(30, 45.001, "critical", True, id="a moment more"),
        pytest.param(30, 90, "critical", True, id="three intervals"),
        pytest.param(30, 90.001, "unknown", True, id="a moment more than three intervals"),
        pytest.param(10, 15, "critical", False, id="short interval, not stale"),
        pytest.param(10, 89, "critical", True, id="short interval, 90 s are the least"),
        pytest.param(10, 90.5, "unknown", True, id="short interval, blind"),
        pytest.param(60, 91, "critical", True, id="long interval, stale"),
        pytest.param(60, 180.5, "unknown", True, id="long interval, blind"),
        pytest.param(30, -20, "critical", False, id="made by a clock ahead of ours"),
    ],
)
def test_a_verdict_nobody_renews_is_stale_then_unknown(interval: float, age: float, state: str, stale: bool) -> None:
    read = as_of(evaluation("critical", interval=interval), NOON.add(seconds=age))
    assert (read.verdict.health_state.value, read.verdict.stale) == (state, stale)


def test_becoming_unknown_keeps_the_last_known_state_and_says_since_when() -> None:
    verdict = as_of(evaluation("stressed", interval=30), NOON.add(minutes=10)).verdict
    assert verdict.last_known_state is HealthState.STRESSED
    assert verdict.since == NOON.add(seconds=90)
    assert verdict.transition == Transition(
        before=ReportedState.STRESSED, after=ReportedState.UNKNOWN, time=NOON.add(seconds=90)
    )


def test_an_evaluation_that_was_unknown_already_keeps_its_own_since() -> None:
    said = evaluation("unknown", interval=30)
    read = as_of(said, NOON.add(minutes=10))
    assert read.verdict.since == said.verdict.since
    assert read.verdict.last_known_state is said.verdict.last_known_state


def test_a_verdict_nobody_renews_is_trusted_with_nothing_it_said() -> None:
    said = evaluation("happy")
    read = as_of(said, NOON.add(minutes=10))
    assert read.verdict.confidence == 0
    assert read.bottleneck is BottleneckClassification.UNKNOWN
    assert read.summary == f"Nothing has been heard since 2026-11-22T12:00:00Z. Before that: {said.summary}"


@pytest.mark.parametrize("minutes", [0, 1, 10])
def test_the_evidence_stays_and_reading_twice_is_reading_once(minutes: int) -> None:
    said = evaluation("critical")
    later = NOON.add(minutes=minutes)
    read = as_of(said, later)
    assert (read.signals, read.verdict.gates, read.findings) == (said.signals, said.verdict.gates, said.findings)
    assert as_of(read, later) == read


def test_age_is_never_negative() -> None:
    assert age_sec(evaluation(), NOON.subtract(seconds=5)) == 0
    assert age_sec(evaluation(), NOON.add(seconds=5)) == 5
