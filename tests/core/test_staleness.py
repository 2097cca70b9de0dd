import pytest

from copilot.explain import explained, explained_as_of
from copilot.pipeline import all_missing
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import BottleneckClassification, Evaluation, HealthState, ReportedState, Transition
from copilot.rules.staleness import age_sec, as_of
from tests.evaluations import NOON, evaluation, signals


@pytest.mark.parametrize(
    ("interval", "age", "state", "stale"),
    [
        pytest.param(30, 0, "critical", False, id="just made"),
        pytest.param(30, 45, "critical", False, id="one and a half intervals"),
        pytest.param(30, 45.001, "critical", True, id="a moment more"),
        pytest.param(30, 89.999, "critical", True, id="a moment less than three intervals"),
        pytest.param(30, 90, "unknown", True, id="three intervals"),
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
    assert age_sec(read, NOON.add(seconds=age)) == max(0.0, age)


@pytest.mark.parametrize("interval", [2, 10, 30, 60])
def test_a_reader_says_of_every_moment_what_a_loop_that_reads_nothing_would_say(interval: float) -> None:
    """Whether the last tick had enough evidence or was blind already."""
    context = Context("default", interval, 60)
    seen, memory = evaluate(signals(NOON), Memory(), context)

    def blind_at(sec: float) -> Evaluation:
        moment = NOON.add(seconds=sec)
        return evaluate(all_missing(moment, list(seen.signals.readings), "cut off"), memory, context)[0]

    def of(e: Evaluation) -> tuple[str, bool, HealthState | None]:
        return e.verdict.health_state.value, e.verdict.stale, e.verdict.last_known_state

    for after in (*(interval * quarter / 4 for quarter in range(1, 21)), 89.5, 90, 91):
        moment, loop = NOON.add(seconds=after), of(blind_at(after))
        assert loop[0] == ("unknown" if after >= max(3 * interval, 90) else "happy"), after
        assert of(as_of(seen, moment)) == of(as_of(blind_at(after / 2), moment)) == loop, after


def test_a_blind_loop_that_died_is_unknown_since_as_long_as_one_that_lives() -> None:
    context = Context("default", 30, 60)
    seen, memory = evaluate(signals(NOON), Memory(), context)
    last, _ = evaluate(all_missing(NOON.add(seconds=80), list(seen.signals.readings), "cut off"), memory, context)
    read = explained_as_of(explained(last), NOON.add(minutes=5))
    assert read.verdict.since == NOON.add(seconds=90)
    assert read.summary.startswith("Not enough data for a verdict since 2026-11-22T12:00:00Z. Before that: ")


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
    said = explained(evaluation("happy"))
    read = explained_as_of(said, NOON.add(minutes=10))
    assert read.verdict.confidence == 0
    assert read.bottleneck is BottleneckClassification.UNKNOWN
    assert read.summary == f"No evaluation since 2026-11-22T12:00:00Z. Before that: {said.summary}"


@pytest.mark.parametrize("minutes", [0, 1, 10])
def test_the_evidence_stays_and_reading_twice_is_reading_once(minutes: int) -> None:
    said = evaluation("critical")
    later = NOON.add(minutes=minutes)
    read = as_of(said, later)
    assert (read.signals, read.verdict.gates, read.findings) == (said.signals, said.verdict.gates, said.findings)
    assert as_of(read, later) == read
