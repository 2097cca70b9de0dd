"""The rules on faults that were recorded by others, from Prometheus alone: no API, gauges a minute old."""

import pytest

from tests.observed_faults import Seen, observed

STRESSED_WITHIN_SEC = 30.0 + 2 * 10.0
ORDER = ("happy", "stressed", "critical")


def said(seen: list[Seen]) -> list[str]:
    return [s.evaluation.verdict.health_state.value for s in seen]


def judged(name: str) -> list[Seen]:
    return [s for s in observed(name) if s.phase == "fault" and s.at >= STRESSED_WITHIN_SEC]


@pytest.mark.parametrize(
    ("fault", "worst", "cause", "bottleneck"),
    [
        ("workers_killed", "critical", "no_pollers", "worker_limited"),
        ("slots_exhausted", "stressed", "slots_exhausted", "worker_limited"),
        ("frontend_rps", "stressed", "rate_limited", "server_limited"),
        ("persistence_qps", "stressed", "persistence_throttled", "server_limited"),
        ("workflows_failing60", "stressed", "application_failures", "healthy"),
        ("burst5x", "stressed", "load_burst", None),
    ],
)
def test_a_fault_is_seen_in_time_and_its_cause_named(
    fault: str, worst: str, cause: str, bottleneck: str | None
) -> None:
    seen = judged(fault)
    assert set(said(seen)) <= {"stressed", "critical"}
    assert max(said([s for s in observed(fault) if s.phase == "fault"]), key=ORDER.index) == worst
    assert {s.evaluation.top_factor for s in seen} == {cause}
    assert bottleneck is None or {s.evaluation.bottleneck.value for s in seen} == {bottleneck}


def test_dead_workers_are_critical_in_time_though_gauges_lag() -> None:
    first = next(s.at for s in observed("workers_killed") if s.evaluation.verdict.health_state.value == "critical")
    assert 0 < first <= 30.0 + 60.0 + 5.0


def test_an_idle_cluster_is_happy_from_the_last_workflow_on() -> None:
    assert set(said(observed("idle")[1:])) == {"happy"}


def test_a_frozen_server_is_never_read_as_a_gentle_decline() -> None:
    frozen = [s for s in observed("server_sigstop") if s.phase == "fault" and s.at >= 10]
    assert all(s.evaluation.verdict.coverage.primary < 0.2 for s in frozen)
    assert "happy" not in said(frozen)
    assert frozen[-1].evaluation.top_factor == "metrics_blind"
