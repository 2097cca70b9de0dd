"""What is named as the cause, whose problem it is, and what is advised."""

import pytest

from copilot.core.assessment import ActionType, BottleneckClassification, Evaluation, SuggestedAction
from copilot.core.scaling import ScalingRule, broken_rule, permitted
from copilot.core.signals import Signals
from tests.cluster_signals import blind, healthy, play, workers_down


def after(signals: Signals, ticks: int = 4) -> Evaluation:
    return play([healthy()] * 5 + [signals] * ticks)[0][-1]


full = workers_down(60.0, workers__activity_slots_available=0.0, workers__activity_slots_used=4.0).model_copy(
    update={"targets": {"server": 1, "worker": 2}}
)
CAUSES: dict[str, tuple[Signals, str, str]] = {
    "nobody polls": (workers_down(60.0), "no_pollers", "worker_limited"),
    "no free slot": (full, "slots_exhausted", "worker_limited"),
    "frozen server": (healthy(frontend__reachable=0.0), "server_unreachable", "server_limited"),
    "dead server": (blind(reachable=0.0), "server_unreachable", "server_limited"),
    "no metrics": (blind(), "metrics_blind", "healthy"),
    "namespace rate limit": (
        workers_down(60.0, frontend__throttled_per_sec=8.0, matching__tasks_dispatched_per_sec=2.0),
        "rate_limited",
        "server_limited",
    ),
    "persistence rate limit": (
        healthy(persistence__throttled_per_sec=200.0, history__throttled_per_sec=150.0),
        "persistence_throttled",
        "server_limited",
    ),
    "failing database": (
        healthy(persistence__error_rate_per_sec=3.0, demand__rejected_per_sec=4.0),
        "persistence_failing",
        "server_limited",
    ),
    "failing requests": (
        healthy(frontend__error_rate_per_sec=9.0, demand__rejected_per_sec=4.0),
        "frontend_errors",
        "server_limited",
    ),
    "failing workflows": (
        healthy(workflow_completion__completion_rate=0.4, workflow_completion__failed_per_sec=1.8),
        "application_failures",
        "healthy",
    ),
    "failing workflow tasks": (healthy(workflow_tasks__failed_per_sec=4.0), "workflow_task_failures", "worker_limited"),
    "retries": (healthy(activity_tasks__failed_per_sec=15.0), "retry_storm", "healthy"),
    "burst": (healthy(demand__starts_per_sec=15.0), "load_burst", "healthy"),
    "mismatch": (healthy(workers__workflow_pollers=400.0), "poller_executor_mismatch", "healthy"),
}


@pytest.mark.parametrize(("signals", "cause", "bottleneck"), CAUSES.values(), ids=CAUSES)
def test_the_cause_is_named_first_and_the_bottleneck_told(signals: Signals, cause: str, bottleneck: str) -> None:
    evaluation = after(signals)
    assert (evaluation.top_factor, evaluation.bottleneck.value) == (cause, bottleneck)


def test_a_healthy_cluster_has_nothing_to_say() -> None:
    evaluation = after(healthy())
    assert evaluation.top_factor is None
    assert evaluation.bottleneck is BottleneckClassification.HEALTHY


def test_dead_workers_are_to_be_started_and_the_server_left_alone() -> None:
    evaluation = after(workers_down(60.0))
    (action,) = evaluation.findings[0].suggested_actions
    assert (action.action_type, action.target_service) == (ActionType.SCALE, "workers")
    assert "240 tasks waiting, the oldest for 60 s" in evaluation.summary


def test_a_server_that_refuses_work_gets_no_worker_advice() -> None:
    evaluation = after(CAUSES["namespace rate limit"][0])
    assert all(a.target_service != "workers" for f in evaluation.findings for a in f.suggested_actions)


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
    assert len(permitted([scale("down"), scale("up"), scale("down", "history")], signals)) == (3 if rule is None else 2)
