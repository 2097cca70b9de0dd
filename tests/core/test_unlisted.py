"""What is known of queues that a full breakdown leaves out."""

from typing import Any

import pytest

from copilot.rules.flow import Flow
from copilot.rules.memory import QueueMemory, infer_unlisted, keep_undispatched
from tests.cluster_signals import START, healthy

TEN_SEC_AGO, THIRTY_SEC_AGO = START.subtract(seconds=10), START.subtract(seconds=30)


def inferred(
    flow: Flow, past: QueueMemory | None = None, *, described: bool = True
) -> tuple[float | None, float | None]:
    """Dispatch rate and add rate."""
    infer_unlisted([flow], {} if past is None else {flow.key: past}, described, 30.0, START)
    return flow.dispatch_rate, flow.add_rate


def test_nobody_serves_what_nobody_polls_for() -> None:
    assert inferred(Flow(backlog=9, backlog_age_sec=40, pollers=0))[0] == 0
    assert inferred(Flow(backlog=9, backlog_age_sec=40, pollers=2))[0] is None


@pytest.mark.parametrize(("age", "served"), [(40.0, 0.0), (36.0, None)], ids=["as the clock", "slower"])
def test_a_queue_whose_oldest_task_ages_as_fast_as_the_clock_is_not_served(age: float, served: float | None) -> None:
    past = QueueMemory(ages=((THIRTY_SEC_AGO, 10.0),))
    assert inferred(Flow(backlog=9, backlog_age_sec=age), past)[0] == served
    assert inferred(Flow(backlog=9, backlog_age_sec=age), past, described=False)[0] is None


@pytest.mark.parametrize(("before", "arrives"), [(4.0, 0.5), (9.0, 0.0), (12.0, 0.0), (None, None)])
def test_of_what_is_not_served_what_arrived_is_what_more_waits(before: float | None, arrives: float | None) -> None:
    past = QueueMemory(backlog=before, last_seen=TEN_SEC_AGO)
    assert inferred(Flow(backlog=9, backlog_age_sec=40, pollers=0), past)[1] == arrives


@pytest.mark.parametrize(
    ("flow", "past", "kept"),
    [
        ({"backlog": 0.0}, {}, True),
        ({"backlog": 2.0}, {}, False),
        ({"pending_polls": 1.0}, {}, False),
        ({"dispatch_rate": 0.5}, {}, False),
        ({"pollers": 0.0}, {}, False),
        ({}, {"last_polled": THIRTY_SEC_AGO}, False),
        ({}, {"last_added": START.subtract(hours=25)}, False),
        ({}, {"backlog": 0.0}, False),
    ],
    ids=["zero", "a backlog", "polled", "dispatched", "described", "polled lately", "a day ago", "had none"],
)
def test_the_backlog_of_an_unloaded_queue_still_waits(flow: dict[str, Any], past: dict[str, Any], kept: bool) -> None:
    now = Flow("default", "orders", "workflow", add_rate=0.0, **({"dispatch_rate": 0.0} | flow))
    before: dict[str, Any] = {
        "backlog": 12.0,
        "ages": ((THIRTY_SEC_AGO, 330.0),),
        "last_added": START.subtract(seconds=400),
    } | past
    flows = {now.key: now}
    found = keep_undispatched(flows, {now.key: QueueMemory(**before)}, healthy(), 86_400.0)
    assert [(f.backlog, f.backlog_age_sec) for f in found] == ([(12.0, 360.0)] if kept else [])


def test_an_unloaded_queue_without_any_row_is_kept_where_dispatched_tasks_are_listed() -> None:
    past = QueueMemory(12.0, ((THIRTY_SEC_AGO, 330.0),), last_added=THIRTY_SEC_AGO)
    assert [f.name for f in keep_undispatched({}, {"default/orders/workflow": past}, healthy(), 600.0)] == [
        "orders (workflow)"
    ]
    unread = healthy(matching__tasks_dispatched_per_sec=None)
    assert keep_undispatched({}, {"default/orders/workflow": past}, unread, 600.0) == []


def test_what_is_listed_stays_as_it_is() -> None:
    assert inferred(Flow(backlog=9, backlog_age_sec=40, pollers=0, dispatch_rate=1.0, add_rate=2.0)) == (1.0, 2.0)
