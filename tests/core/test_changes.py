"""Changes: which stand before a problem and in which order, and what an evaluation shows of the server's processes."""

from typing import Any

import pytest
from whenever import Instant

from copilot.explain import explained
from copilot.explain.changes import before_words, with_changes
from copilot.rules.changes import changes_before, changes_seen
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.rules.signals.change import Change
from copilot.rules.signals.readings import BreakdownRow, ProcessRead, ServerFacts, Signals
from tests.cluster_signals import START, healthy, play, with_queues, workers_down
from tests.core.test_queue_findings import QUEUE, row


def incident() -> Evaluation:
    """No pollers on `orders`; the gates fire from the sixth tick on, a minute after START."""
    stuck = with_queues(workers_down(60.0), orders=row(4.0, 0.0, 240.0, 60.0))
    return play([healthy()] * 6 + [stuck] * 4)[0][-1]


def change(minutes: float, text: str = "a change", **touches: Any) -> Change:
    """A change so many minutes before the first evidence."""
    began = incident().began or START
    return Change(
        cluster="test", at=began.subtract(seconds=round(60 * minutes)), **{"kind": "deploy", **touches, "text": text}
    )


def test_a_problem_begins_with_the_first_gate_that_fires_and_ends_when_the_cluster_is_happy() -> None:
    stuck = workers_down(60.0)
    begun = [e.began for e in play([healthy()] * 2 + [stuck] * 5 + [healthy()] * 30)[0]]
    assert begun[:2] == [None, None]
    assert set(begun[2:8]) == {begun[2]} != {None}
    assert begun[-1] is None


def test_what_touches_the_queue_in_trouble_comes_first_then_the_whole_cluster_then_the_nearest() -> None:
    told = [
        change(1, "elsewhere", task_queue="refunds"),
        change(2, "everywhere"),
        change(9, "here", task_queue="billing, orders"),
        change(25, "here too", namespace="default", task_queue="orders"),
        change(31, "too long ago", task_queue="orders"),
        change(-1, "after it began", task_queue="orders"),
    ]
    before = changes_before(told, incident())
    assert [b.change.text for b in before] == ["here", "here too", "everywhere", "elsewhere"]
    assert before[0].shares == ("task_queue",)
    assert [before_words(b) for b in before[:1]] == ["9 min before: here"]
    assert changes_before(told, play([healthy()] * 3)[0][-1]) == ()


def test_the_explanation_cites_the_first_change_and_blames_none() -> None:
    evaluation = explained(incident())
    by_ada = change(3, "checkout 1.4.2", who="ada", task_queue="orders")
    cited = with_changes(evaluation, changes_before([change(2), by_ada], evaluation))
    assert cited.narrative.trigger.endswith("3 min before: checkout 1.4.2, by ada.")
    assert cited.verdict == evaluation.verdict
    assert with_changes(evaluation, ()) is evaluation


def of_builds(shares: dict[str, float], **failing: float) -> Signals:
    rows = tuple(BreakdownRow(labels={**QUEUE, "worker_version": v}, value=s) for v, s in shares.items())
    return healthy(**failing).model_copy(update={"breakdowns": {"version.task_failure_ratio": rows}})


FAILING = {"workflow_tasks__failed_per_sec": 2.0, "worker_tasks__workflow_task_failures_per_sec": 2.0}


@pytest.mark.parametrize(
    ("shares", "command"),
    [
        ({"shop:b42": 0.3, "shop:b41": 0.0}, "--deployment-name shop --build-id b41`"),
        ({"shop:b 42": 0.3, "shop:$(rm)": 0.01}, "--build-id '$(rm)'`"),
        ({"shop:b42": 0.3, "unversioned": 0.0}, "--deployment-name shop --unversioned`"),
    ],
)
def test_a_build_that_alone_fails_is_the_cause_and_new_work_is_routed_back(
    shares: dict[str, float], command: str
) -> None:
    found = explained(play([healthy()] * 5 + [of_builds(shares, **FAILING)] * 3)[0][-1]).findings
    assert [f.finding for f in found[:2]] == ["version_failing", "workflow_task_failures"]
    assert "fails 30 % of its workflow tasks on `orders`" in found[0].title
    first = found[0].suggested_actions[0]
    assert first.key == "route_back"
    assert command in first.description
    assert found[1].suggested_actions == ()


@pytest.mark.parametrize(
    "shares",
    [{"shop:b42": 0.3}, {"shop:b42": 0.3, "shop:b41": 0.2}, {"shop:b42": 0.3, "other:b41": 0.0}, {"shop:b42": 0.04}],
    ids=["alone", "both fail", "another deployment", "hardly"],
)
def test_builds_are_not_told_apart_without_evidence(shares: dict[str, float]) -> None:
    found = play([healthy()] * 5 + [of_builds(shares, **FAILING)] * 3)[0][-1].findings
    assert found[0].finding == "workflow_task_failures"
    assert "version_failing" not in [f.finding for f in found]


def test_a_build_that_fails_more_moves_no_state() -> None:
    last = play([healthy()] * 5 + [of_builds({"shop:b42": 0.3, "shop:b41": 0.0})] * 3)[0][-1]
    assert last.verdict.health_state == "happy"
    assert [f.finding for f in last.findings] == ["version_failing"]


def test_restarts_of_server_processes_in_a_row_are_one_change_and_another_version_is_one() -> None:
    names, ticks = ("h1", "h2", "h3"), []
    for number in range(8):
        read = tuple(
            ProcessRead(name, "server", services=("history",), restarts=float(number > 2 + place))
            for place, name in enumerate(names)
        )
        facts = ServerFacts(version="1.32.0" if number < 4 else "1.33.0")
        ticks.append(healthy().model_copy(update={"processes": read, "server": facts}))
    seen: dict[str, Change] = {}
    versions: dict[str, Instant] = {}
    evaluations, memories = play_with_memories(ticks)
    for evaluation, memory in zip(evaluations, memories, strict=True):
        seen |= {c.digest: c for c in changes_seen(evaluation, versions)}
        versions = memory.server_versions
    assert sorted((c.kind, c.text) for c in seen.values()) == [
        ("restart", "3 of 3 processes of the server restarted (history)"),
        ("server_version", "the server runs version 1.33.0, before: 1.32.0"),
    ]


def play_with_memories(ticks: list[Signals]) -> tuple[list[Evaluation], list[Memory]]:
    """The evaluations of the ticks, and the memory after each."""
    lives = [play(ticks[: number + 1]) for number in range(len(ticks))]
    return [evaluations[-1] for evaluations, _ in lives], [memory for _, memory in lives]
