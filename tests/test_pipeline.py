"""The steps that workflows, command line and replay share."""

import pytest
from whenever import Instant

from copilot import pipeline
from copilot.errors import SettingsError
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import ReportedState
from copilot.rules.signals.readings import MissingCode
from copilot.rules.thresholds import Thresholds
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.settings.load import Settings
from tests.evaluations import NOON, signals

CONTEXT = Context(cluster="night", interval_sec=30, window_sec=60)
NOWHERE = MetricsEndpoint(url="http://127.0.0.1:1/metrics", role="server")


def ticks(count: int) -> list[Instant]:
    return [NOON.add(seconds=30 * n) for n in range(count)]


def test_a_replay_gives_what_the_rules_said_tick_by_tick() -> None:
    read = [signals(t) for t in ticks(4)]
    said = list(pipeline.replay(read, CONTEXT))
    memory = Memory()
    for tick, evaluation in zip(read, said, strict=True):
        expected, memory = evaluate(tick, memory, CONTEXT)
        assert evaluation == expected
    assert said[0].evaluation_id == f"night:{NOON.timestamp()}"


def test_a_replay_reads_no_further_than_it_was_asked_to() -> None:
    read = iter([signals(t) for t in ticks(3)])
    said = pipeline.replay(read, CONTEXT)
    next(said)
    assert len(list(read)) == 2


def test_memory_is_taken_up_from_the_last_stored_tick_as_if_the_loop_had_gone_on() -> None:
    first, second = (signals(t) for t in ticks(2))
    evaluation, after = evaluate(first, Memory(), CONTEXT)
    kept = pipeline.snapshot(evaluation, Memory(), CONTEXT)
    resumed = pipeline.memory_after(evaluate, kept, CONTEXT, second.time)
    assert resumed == after


@pytest.mark.parametrize("age_sec", [-1, 901])
def test_memory_too_old_or_from_the_future_is_not_taken_up(age_sec: int) -> None:
    evaluation, _ = evaluate(signals(NOON), Memory(), CONTEXT)
    kept = pipeline.snapshot(evaluation, Memory(), CONTEXT)
    assert pipeline.memory_after(evaluate, kept, CONTEXT, NOON.add(seconds=age_sec)) is None


def test_memory_of_another_release_is_not_taken_up() -> None:
    evaluation, _ = evaluate(signals(NOON), Memory(), CONTEXT)
    kept = pipeline.snapshot(evaluation, Memory(), CONTEXT).model_copy(update={"memory_before": {"mood": "fine"}})
    assert pipeline.memory_after(evaluate, kept, CONTEXT, NOON) is None


def test_a_blind_tick_knows_nothing_and_says_why() -> None:
    blind = pipeline.all_missing(NOON, ["frontend.reachable"], "nobody was there")
    why = blind.why_missing("frontend.reachable")
    assert why is not None
    assert (why.code, why.detail) == (MissingCode.TIMEOUT, "nobody was there")
    evaluation, _ = evaluate(blind, Memory(), CONTEXT)
    assert evaluation.verdict.health_state is not ReportedState.HAPPY


def test_thresholds_are_kept_under_a_hash_that_follows_their_values() -> None:
    field = next(name for name, value in Thresholds() if isinstance(value, float))
    changed = Thresholds.model_validate({field: getattr(Thresholds(), field) * 1.01})
    assert Thresholds().digest() == Thresholds().digest()
    assert changed.digest() != Thresholds().digest()


def test_a_replay_takes_the_rules_of_the_cluster_with_the_recordings_name() -> None:
    settings = Settings(clusters=(ClusterSettings(name="night", metrics=(NOWHERE,), ignore_task_queues=("old",)),))
    assert pipeline.with_rules_of(CONTEXT, settings).ignore_task_queues == ("old",)
    with pytest.raises(SettingsError, match="no cluster named 'day'"):
        pipeline.with_rules_of(Context(cluster="day", interval_sec=30, window_sec=60), settings)
