"""A fault that shows at once has the cluster read again before the next tick is due; one that lasts does not."""

import pytest

from copilot.rules.early import read_again_early
from copilot.rules.evaluate import evaluate
from copilot.rules.memory import Memory
from copilot.rules.signals.readings import Signals
from tests.cluster_signals import CONTEXT, at, healthy

LOST = {"targets": {"server": 1, "worker": 1}}
UNANSWERED = {"demand__requests_per_sec": 6.0, "demand__answered_per_sec": 4.0}


def asked(*ticks: Signals) -> list[bool]:
    """Whether each of these ticks, 30 s apart after three of a healthy cluster, asks for an early one."""
    memory, answers = Memory(), []
    for number, signals in enumerate((*[healthy()] * 3, *ticks)):
        evaluation, after = evaluate(at(signals, number * 30), memory, CONTEXT)
        answers.append(read_again_early(evaluation, memory, after))
        memory = after
    assert not any(answers[:3])
    return answers[3:]


@pytest.mark.parametrize(
    "faulty",
    [
        pytest.param(healthy(frontend__reachable=0.0), id="the frontend does not answer"),
        pytest.param(healthy(frontend__throttled_per_sec=40.0), id="requests are refused"),
        pytest.param(healthy(**UNANSWERED), id="requests stay without an answer"),
        pytest.param(healthy().model_copy(update=LOST), id="a page is lost"),
    ],
)
def test_the_first_sign_of_a_fault_that_shows_at_once_asks_for_an_early_tick_and_only_the_first(
    faulty: Signals,
) -> None:
    assert asked(faulty, faulty)[:2] == [True, False]


@pytest.mark.parametrize(
    "slow",
    [
        pytest.param(healthy(persistence__latency_p99_ms=900.0), id="a quantile of what was completed"),
        pytest.param(healthy(worker_tasks__workflow_task_failures_per_sec=9.0, workflow_tasks__failed_per_sec=9.0),
                     id="code that fails"),
        pytest.param(healthy().model_copy(update={"targets": {"server": 1, "worker": 9}}), id="more workers"),
    ],
)  # fmt: skip
def test_what_is_no_sudden_fault_waits_for_its_turn(slow: Signals) -> None:
    assert asked(slow, slow) == [False, False]


def test_a_critical_cluster_is_read_as_planned() -> None:
    unreachable = healthy(frontend__reachable=0.0)
    lost = unreachable.model_copy(update=LOST)
    assert asked(*[unreachable] * 4, lost)[-1] is False
