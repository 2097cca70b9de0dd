"""How actors are coloured by their signals, and that it moves nothing."""

import pytest
from pydantic import ValidationError

from copilot.rules.components import pressure_on
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.thresholds import GRADES, Grade, Thresholds
from tests.cluster_signals import healthy, play


@pytest.mark.parametrize(
    ("actor", "changes", "level", "shows"),
    [
        ("workers", {}, "low", None),
        ("workers", {"workers__activity_slots_available": 0.0}, "high", "workers.activity_slots_free"),
        ("workers", {"workers__activity_slots_used": 950.0}, "moderate", "workers.activity_slots_free"),
        (
            "workers",
            {"workers__wft_schedule_to_start_p95_ms": 300.0},
            "moderate",
            "workers.wft_schedule_to_start_p95_ms",
        ),
        ("history", {"shard__semaphore_latency_p99_ms": 1500.0}, "high", "shard.semaphore_latency_p99_ms"),
        ("history", {"cache__hit_rate": None}, "low", None),
        ("persistence", {"connection_pool__utilization_pct": 97.0}, "high", "connection_pool.utilization_pct"),
    ],
)
def test_an_actor_is_as_pressed_as_its_worst_signal(
    actor: str, changes: dict[str, float | None], level: str, shows: str | None
) -> None:
    assert pressure_on(actor, healthy(**changes), {}) == (level, shows)


def test_pressure_colours_the_actor_and_leaves_the_state_alone() -> None:
    pressed = healthy(shard__semaphore_latency_p99_ms=1500.0)
    evaluation = play([healthy()] * 3 + [pressed] * 4)[0][-1]
    history = next(s for s in evaluation.services if s.name == "history")
    assert (history.forward_progress, history.pressure) == ("ok", "high")
    assert history.dominant_signal == "shard.semaphore_latency_p99_ms"
    assert evaluation.verdict.health_state.value == "happy"


def test_a_grade_can_be_set_and_is_checked_for_its_order() -> None:
    set_ = Thresholds(pressure={"cache.hit_rate": Grade(moderate=0.99, high=0.9)})
    assert pressure_on("history", healthy(), set_.pressure) == ("moderate", "cache.hit_rate")
    with pytest.raises(ValidationError, match="must be below moderate"):
        Thresholds(pressure={"cache.hit_rate": Grade(moderate=0.5, high=0.9)})
    with pytest.raises(ValidationError, match="is not graded"):
        Thresholds(pressure={"cache.hits": Grade(moderate=0.5, high=0.9)})


def test_every_graded_signal_is_in_the_taxonomy_and_graded_in_its_direction() -> None:
    for signal_id, grade in GRADES.items():
        if not signal_id.endswith("_slots_free"):
            assert SPECS[signal_id].worse == ("down" if grade.less_is_worse else "up")
