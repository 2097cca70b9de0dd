"""Sick processes, limits on one queue and lost polls; readings that cannot be; and queues that no one owns."""

from dataclasses import replace
from typing import Any

import pytest

from copilot.rules.bottleneck import draining, limited_flows, workers_gone
from copilot.rules.flow import Flow, queue_flows, random_name
from copilot.rules.gates.context import GateContext
from copilot.rules.gates.registry import BY_NAME
from copilot.rules.memory import Memory, QueueMemory, full_slots, partly_full_slots
from copilot.rules.model import GateResult
from copilot.rules.signals.credible import credible
from copilot.rules.signals.expressions import HIDDEN
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.rules.signals.versions import Release, lowest, release
from tests.cluster_signals import START, every, healthy, play, seen_by_gates, with_queues
from tests.new_causes import (
    QUEUED,
    SHOWN,
    dead_letters,
    hosts,
    limited,
    no_answer,
    not_polling,
    process_down,
    rare,
    row,
    unserved,
    with_rows,
)
from tests.scraped import Pages, read

ORDERS = "default/orders/workflow"
SLOTS_FREE = ("workers__workflow_slots_available", "workers__activity_slots_available")
AGO = START.subtract(seconds=60)


def view(signals: Signals, **memory: object) -> GateContext:
    """What gates look at, with this memory."""
    return seen_by_gates(signals, Memory(**memory))


def of_orders(signals: Signals, **past: object) -> tuple[GateContext, Flow]:
    """The view with a memory of the queue `orders`, and its flow."""
    context = view(signals, queues={ORDERS: QueueMemory(**past)})  # type: ignore[arg-type]
    return context, context.queues[ORDERS]


def found(signals: Signals) -> list[str]:
    return [f.finding for f in play([healthy()] * 5 + [signals] * 6)[0][-1].findings]


@pytest.mark.parametrize("name", SHOWN)
def test_a_cause_is_found_where_it_shows_and_not_where_something_like_it_does(name: str) -> None:
    shown, like = SHOWN[name]
    assert name in found(shown)
    assert name not in found(like)


@pytest.mark.parametrize(
    ("signals", "name"),
    [
        (hosts(0.0, 17.0, frontend__error_rate_per_sec=0.0), "history_host_stalled"),
        (hosts(0.0, 0.2), "history_host_stalled"),
        (hosts(0.0, 0.0), "history_host_stalled"),
        (limited(matching__tasks_dispatched_per_sec=0.0), "dispatch_limited"),
        (limited(workers__workflow_slots_available=0.0, workers__workflow_slots_used=100.0), "dispatch_limited"),
        (limited(frontend__latency_p99_ms=3000.0), "dispatch_limited"),
        (limited(matching__backlog_count=0.0), "dispatch_limited"),
        (not_polling(poller__pending_polls=1.0), "workers_not_polling"),
        (not_polling(matching__tasks_dispatched_per_sec=0.1), "workers_not_polling"),
    ],
    ids=["no gate", "few tasks", "all hosts", "undispatched", "full", "slow server", "no backlog", "a poll", "a task"],
)
def test_what_comes_close_is_not_it(signals: Signals, name: str) -> None:
    assert name not in found(signals)


@pytest.mark.parametrize(
    ("changes", "says", "side"),
    [
        ({}, "a rate limit of the task queue", "server_limited"),
        ({"matching__tasks_dispatched_per_sec": 0.2}, "full or hang", "server_limited"),
        ({"matching__tasks_dispatched_per_sec": 17.0}, "a worker version that no worker runs", "server_limited"),
        (dict.fromkeys(SLOTS_FREE), "full workers look the same", "unknown"),
    ],
    ids=["capped", "hardly", "left", "slots unseen"],
)  # fmt: skip
def test_tasks_that_wait_beside_polls_are_told_apart_by_how_many_are_dispatched(
    changes: dict[str, Any], says: str, side: str
) -> None:
    evaluation = play([healthy()] * 5 + [limited(**changes)] * 6)[0][-1]
    assert evaluation.findings[0].finding == "dispatch_limited"
    assert says in evaluation.findings[0].likely_cause
    assert evaluation.bottleneck.value == side


def test_a_dead_letter_says_of_which_category_it_is_where_that_is_known() -> None:
    causes = [play([s])[0][-1].findings[0].likely_cause for s in (dead_letters(3.0, "timer"), dead_letters(3.0))]
    assert [c.split(" that")[0] for c in causes] == ["Tasks of category `timer`", "History tasks"]


def test_a_note_of_what_is_rare_is_kept_for_a_while_and_says_how_long_ago_it_was() -> None:
    minute = every(60.0)
    kept = play([healthy(), rare("schedules.missed_per_sec", namespace="shop"), *[healthy()] * 62], minute)[0]
    named = [[f.finding for f in e.findings] for e in kept]
    assert named == [[], *[["schedules_missing"]] * 61, [], []]
    assert kept[31].findings[0].likely_cause.endswith("The last was 30 min ago.")
    assert kept[1].findings[0].subject == kept[31].findings[0].subject


@pytest.mark.parametrize(
    ("queries", "fired"),
    [(no_answer(1.1), True), (no_answer(0.9), False), (no_answer(0.09, 0.09), False), (no_answer(0.0, 0.0), False)],
)
def test_queries_count_as_unanswered_where_most_of_several_are(queries: Signals, fired: bool) -> None:
    assert gate("queries_unanswered", queries).fired is fired


def test_a_process_that_is_down_explains_failing_requests_and_names_its_service() -> None:
    failing = process_down("http://history-2:9090/metrics", demand__rejected_per_sec=3.0)
    first = play([healthy()] * 5 + [failing] * 4)[0][-1].findings[0]
    assert first.title == "A history process does not answer: `http://history-2:9090/metrics`"
    assert "requests_rejected" in first.contributing_factors


def test_workers_that_run_and_do_not_poll_are_not_to_be_started() -> None:
    first, then = play([healthy()] * 5 + [not_polling()] * 6)[0][-1].findings
    assert (first.finding, then.finding, then.suggested_actions) == ("workers_not_polling", "no_pollers", ())


def gate(name: str, signals: Signals, **memory: object) -> GateResult:
    return BY_NAME[name].result(view(signals, **memory))


@pytest.mark.parametrize(
    ("signals", "before", "fired"),
    [
        (not_polling(), 2, True),
        (not_polling(workers=3), 2, True),
        (not_polling(workers=1), 2, False),
        (not_polling(), None, False),
        (not_polling(workers=0), 0, False),
        (healthy(), 2, False),
        (not_polling(poller__pending_polls=None), 2, None),
        (not_polling(matching__tasks_dispatched_per_sec=None), 2, None),
    ],
)
def test_polls_are_lost_while_as_many_workers_run_as_polled(
    signals: Signals, before: int | None, fired: bool | None
) -> None:
    assert gate("polls_lost", signals, polling_workers=before).fired is fired


LOST_QUEUE = {"poller.pending_polls": 0.0, "demand.tasks_added_per_sec": 0.0, "matching.tasks_dispatched_per_sec": 0.0}


@pytest.mark.parametrize(
    ("past", "changes", "fired"),
    [
        ({}, {}, True),
        ({"last_added": AGO.subtract(seconds=91)}, {}, False),
        ({"usual_share": 0.04}, {}, False),
        ({"workers": 3}, {}, False),
        ({"workers": None}, {}, False),
        ({}, {"poller.pending_polls": 1.0}, False),
        ({}, {"demand.tasks_added_per_sec": 0.1}, False),
        ({}, {"matching.backlog_count": 3.0}, False),
    ],
    ids=[
        "at once",
        "tasks ended first",
        "little of the work",
        "fewer workers",
        "no pages",
        "a poll",
        "tasks",
        "backlog",
    ],
)
def test_one_queue_may_lose_its_polls_while_others_go_on(
    past: dict[str, Any], changes: dict[str, float], fired: bool
) -> None:
    signals = with_queues(not_polling(poller__pending_polls=9.0), orders=LOST_QUEUE | changes)
    known: dict[str, Any] = {"last_polled": AGO, "last_added": AGO, "usual_share": 0.4, "workers": 2}
    result = gate("polls_lost", signals, queues={ORDERS: QueueMemory(**(known | past))})
    assert (result.fired, result.labels.get("task_queue")) == (fired, "orders" if fired else None)


NIGHT = {f"{i}_per_sec": 0.0 for i in ("demand__requests", "demand__starts", "matching__tasks_dispatched")}


@pytest.mark.parametrize(
    ("requested_ago", "changes", "fired"),
    [
        (30.0, {}, True),
        (60.0 + 89.0, {}, True),
        (60.0 + 91.0, {}, False),
        (30.0, {"demand__requests_per_sec": 0.1}, False),
        (30.0, {"matching__backlog_count": 1.0}, False),
    ],
    ids=["at once", "the last long polls", "requests ended first", "a request", "a backlog"],
)
def test_requests_and_polls_that_stop_at_the_same_time_are_no_quiet_night(
    requested_ago: float, changes: dict[str, float], fired: bool
) -> None:
    signals = healthy(**NIGHT | {"poller__pending_polls": 0.0} | changes).model_copy(update={"targets": {"server": 1}})
    past = {"polled_at": AGO, "requested_at": START.subtract(seconds=requested_ago)}
    assert gate("polls_lost", signals, **past).fired is fired
    assert gate("polls_lost", signals).fired is False


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (("left_over",), "No worker polls `left_over`: 60 tasks in the backlog"),
        (tuple(f"run_{n}fa8cfb85c" for n in range(3)), "No worker polls 3 task queues with random names: 180 tasks"),
        (("a", "b_fa8cfb85_7c1e_4b5a_9f21_a4d2c9e81b21"), "No worker polls `a` and 1 task queue with random names"),
    ],
)
def test_queues_that_no_worker_ever_polled_are_grouped_and_nobody_is_told_to_start_workers_first(
    names: tuple[str, ...], title: str
) -> None:
    evaluation = play([unserved(*names)] * 6)[0][-1]
    assert evaluation.findings[0].title.startswith(title)
    assert evaluation.findings[0].suggested_actions[0].description.startswith("Find out what adds these tasks.")
    polled = play([healthy(), unserved(*names, polls=2.0), *[unserved(*names)] * 6])[0][-1]
    assert polled.findings[0].finding == "no_pollers"


@pytest.mark.parametrize(
    ("name", "random"),
    [
        ("fa8cfb85-7c1e-4b5a-9f21-a4d2c9e81b21", True),
        ("test-1764556800123", True),
        ("e2e_7d9f8b6c5", True),
        ("order-fulfillment-v2", False),
        ("billing2024", False),
        ("payments", False),
    ],
)
def test_names_that_a_machine_made_for_one_use_are_told_from_those_of_people(name: str, random: bool) -> None:
    assert random_name(name) is random


def test_left_over_queues_with_random_names_make_no_cluster_critical_whatever_their_share() -> None:
    whole = unserved(*(f"run_{n}fa8cfb85c" for n in range(8)), added=9.0)
    assert {e.verdict.health_state.value for e in play([whole] * 40)[0][3:]} == {"stressed"}


def test_activities_that_still_send_heartbeats_say_look_before_you_restart() -> None:
    signals = limited(poller__pending_polls=0.0, matching__tasks_dispatched_per_sec=0.0)
    activity = {
        signal_id: tuple(r.model_copy(update={"labels": {**r.labels, "task_type": "activity"}}) for r in of)
        for signal_id, of in signals.breakdowns.items()
    }
    beating = healthy(calls__activity_heartbeats_per_sec=2.0, matching__backlog_count=200.0)
    beating = beating.model_copy(update={"breakdowns": activity})
    found = play([healthy()] * 5 + [beating] * 6)[0][-1].findings[0]
    assert found.finding == "no_pollers"
    assert "may be full" in found.likely_cause
    assert "do not restart them before" in found.suggested_actions[0].description


@pytest.mark.parametrize(
    ("changes", "fired", "aspect"),
    [
        ({"demand__answered_per_sec": 1.9}, True, "unanswered"),
        ({"demand__answered_per_sec": 2.1}, False, "unanswered"),
        ({"demand__answered_per_sec": 4.1}, False, ""),
        ({"demand__answered_per_sec": 3.0, "demand__rejected_per_sec": 1.5}, True, ""),
        ({"demand__answered_per_sec": None}, False, ""),
        ({"demand__answered_per_sec": 0.0}, False, ""),
        ({"demand__answered_per_sec": 0.0, "state_transitions__throughput_per_sec": 0.0}, True, "unanswered"),
    ],
)
def test_requests_that_are_not_answered_are_rejected(
    changes: dict[str, float | None], fired: bool, aspect: str
) -> None:
    result = gate("requests_rejected", healthy(**changes))
    assert (result.fired, result.aspect) == (fired, aspect)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.31.2", (1, 31)),
        ("v1.32.0", (1, 32)),
        ("1_31_2", (1, 31)),
        (" 1.29 ", (1, 29)),
        ("1.33.0-rc.1", (1, 33)),
        ("1.32.0+patched", (1, 32)),
        ("2026.11.3", None),
        ("0.0.0-dev", None),
        ("", None),
        ("unknown", None),
        ("1", None),
        ("1.31x", None),
    ],
)
def test_a_version_is_understood_as_the_api_and_as_pages_write_it(text: str, expected: Release | None) -> None:
    assert release(text) == expected


def test_of_several_versions_the_lowest_counts_unless_one_of_them_is_unknown() -> None:
    assert lowest(["1.32.0", "1_9_0", "1.31.2"]) == (1, 9)
    assert lowest(["1.32.0", "devel"]) is None
    assert lowest([]) is None


@pytest.mark.parametrize(
    ("changes", "doubted", "code"),
    [
        ({"frontend__error_rate_per_sec": 301.0}, {"frontend.error_rate_per_sec"}, MissingCode.PARSE),
        ({"frontend__error_rate_per_sec": 299.0}, set(), None),
        ({"demand__rejected_per_sec": 41.0}, {"demand.rejected_per_sec"}, MissingCode.PARSE),
        ({"demand__rejected_per_sec": 9.0, "demand__requests_per_sec": 0.1}, set(), None),
        (
            {"demand__rejected_per_sec": 90.0, "frontend__error_rate_per_sec": 95.0},
            {"demand.rejected_per_sec", "frontend.error_rate_per_sec"},
            MissingCode.PARSE,
        ),
        ({"workflow_tasks__failed_per_sec": 40.0}, set(), None),
        ({"workflow_tasks__failed_per_sec": 60.0}, {"workflow_tasks.failed_per_sec"}, MissingCode.PARSE),
        ({"persistence__error_rate_per_sec": 1400.0}, {"persistence.error_rate_per_sec"}, MissingCode.PARSE),
        ({"persistence__throttled_per_sec": 1400.0}, {"persistence.throttled_per_sec"}, MissingCode.PARSE),
        ({"history__throttled_per_sec": 700.0}, {"history.throttled_per_sec"}, MissingCode.PARSE),
        ({"workflow_tasks__failed_per_sec": 180.0}, {"workflow_tasks.failed_per_sec"}, MissingCode.PARSE),
        ({"workflow_tasks__timed_out_per_sec": 180.0}, {"workflow_tasks.timed_out_per_sec"}, MissingCode.PARSE),
        ({"activity_tasks__failed_per_sec": 180.0}, {"activity_tasks.failed_per_sec"}, MissingCode.PARSE),
        (
            {"demand__tasks_added_per_sec": 0.0},
            {"demand.tasks_added_per_sec", "matching.tasks_spooled_per_sec"},
            MissingCode.NO_SOURCE,
        ),
        ({"demand__tasks_added_per_sec": 0.0, "demand__starts_per_sec": 0.0}, set(), None),
        ({"demand__tasks_added_per_sec": 0.0, "matching__tasks_dispatched_per_sec": 0.05}, set(), None),
        ({"poller__pending_polls": 0.0}, {"poller.pending_polls"}, MissingCode.NO_SOURCE),
        (
            {"poller__pending_polls": 0.0, "workers__workflow_pollers": 0.0, "workers__activity_pollers": None},
            set(),
            None,
        ),
    ],
)
def test_readings_that_cannot_be_true_are_missing(
    changes: dict[str, float | None], doubted: set[str], code: MissingCode | None
) -> None:
    signals = healthy(**changes)
    believed = credible(signals)
    lost = {i for i in believed.missing if i not in signals.missing}
    assert lost == doubted
    assert {believed.missing[i].code for i in lost} == ({code} if code else set())
    assert all(believed.value(i) is None for i in lost)


def test_a_healthy_reading_is_left_as_it_is_and_a_doubted_one_loses_its_rows() -> None:
    signals = healthy()
    assert credible(signals) is signals
    doubted = with_rows(healthy(demand__rejected_per_sec=90.0), "demand.rejected_per_sec", row(90.0, operation="x"))
    assert credible(doubted).rows("demand.rejected_per_sec") == ()


HELD: dict[str, Any] = {"backlog_age_sec": 85.0, "add_rate": 17.0, "dispatch_rate": 17.0, "spooled": 0.0}


@pytest.mark.parametrize(
    ("changes", "ages", "ownerless"),
    [
        ({}, ((AGO, 85.0),), True),
        ({}, (), True),
        ({}, ((AGO, 60.0),), False),
        ({"pollers": 2.0}, (), False),
        ({"add_rate": None}, (), False),
        ({"add_rate": 0.0}, (), False),
        ({"spooled": 0.1}, (), False),
        ({"dispatch_rate": 15.0}, (), False),
    ],
    ids=["stays", "first seen", "moves", "described", "no rate", "idle", "stored", "behind"],
)
def test_an_age_that_stays_while_the_queue_is_dispatched_has_no_owner(
    changes: dict[str, Any], ages: object, ownerless: bool
) -> None:
    context, flow = of_orders(limited(), ages=ages)
    assert context.ownerless(replace(flow, **(HELD | changes))) is ownerless


@pytest.mark.parametrize(
    ("before", "dispatched", "elsewhere", "abandoned"),
    [
        (5.0, 0.0, 3.0, True),
        (4.0, 0.0, 3.0, False),
        (None, 0.0, 3.0, False),
        (5.0, None, 3.0, False),
        (5.0, 0.2, 3.0, False),
        (5.0, 0.0, 0.0, False),
    ],
    ids=["the same", "grown", "not seen", "unknown", "dispatched", "idle cluster"],
)
def test_without_add_rates_a_queue_is_abandoned_if_its_backlog_stays(
    before: float | None, dispatched: float | None, elsewhere: float, abandoned: bool
) -> None:
    context, flow = of_orders(limited(), backlog=before)
    old = replace(flow, add_rate=None, dispatch_rate=dispatched, backlog=5.0, backlog_age_sec=900.0)
    other = Flow("default", "mail", "workflow", dispatch_rate=elsewhere)
    assert replace(context, queues={ORDERS: old, other.key: other}).abandoned(old) is abandoned


def slots(
    free: dict[str, float], used: dict[str, float], added: dict[str, float], kind: str = "activity", polls: float = 0
) -> Signals:
    """Slots by queue, of one type, what is added by queue, and pending polls on each; all other slots are free."""
    signals = healthy()
    for signal_id, values in {
        f"workers.{kind}_slots_available": free,
        f"workers.{kind}_slots_used": used,
        "demand.tasks_added_per_sec": added,
        "poller.pending_polls": dict.fromkeys(free, polls),
    }.items():
        rows = (row(value, namespace="default", task_queue=q, task_type=kind) for q, value in values.items())
        signals = with_rows(signals, signal_id, *rows)
    return signals


@pytest.mark.parametrize(
    ("signals", "partly"),
    [
        (slots({"a": 0, "b": 50}, {"a": 10, "b": 1}, {"a": 3, "b": 7}), True),
        (slots({"a": 0, "b": 50}, {"a": 10, "b": 1}, {"a": 1, "b": 9}), False),
        (slots({"a": 5, "b": 50}, {"a": 10, "b": 1}, {"a": 3, "b": 7}), False),
        (slots({"a": 0, "b": 50}, {"b": 1}, {"a": 3, "b": 7}), False),
        (slots({"a": 0, "b": 50}, {"a": 10, "b": 1}, {}), False),
        (slots({"a": 0, "b": 50}, {"a": 10, "b": 1}, {"a": 3, "b": 7}, "workflow"), False),
        (slots({"a": 2, "b": 50}, {"a": 98, "b": 1}, {"a": 3, "b": 7}, "workflow", polls=3), True),
        (slots({"a": 2, "b": 50}, {"a": 98, "b": 1}, {"a": 3, "b": 7}, "workflow", polls=1), False),
    ],
    ids=["a third is full", "a tenth is full", "free", "none used", "no rates", "workflow", "polled", "not polled"],
)
def test_slots_of_queues_that_carry_a_fifth_may_be_full(signals: Signals, partly: bool) -> None:
    kind = "workflow" if signals.rows("workers.workflow_slots_available") else "activity"
    assert partly_full_slots(signals) == (kind if partly else None)
    assert full_slots(signals, partly_full=True) == (kind if partly else None)
    assert full_slots(signals, partly_full=False) is None


@pytest.mark.parametrize(
    ("free", "used", "full"),
    [(0.0, 4.0, True), (4.0, 96.0, True), (6.0, 94.0, False), (0.0, 0.0, False), (None, 4.0, False)],
)
def test_slots_are_full_when_all_but_one_in_twenty_are_in_use(free: float | None, used: float, full: bool) -> None:
    signals = healthy(workers__workflow_slots_available=free, workers__workflow_slots_used=used)
    assert full_slots(signals, partly_full=False) == ("workflow" if full else None)


@pytest.mark.parametrize(
    ("pages", "listed", "gone"),
    [
        ({"mail": 4.0}, AGO, True),
        ({"mail": 4.0}, None, False),
        ({"mail": 4.0, "orders": 0.0}, AGO, False),
        ({}, AGO, False),
    ],
    ids=["others are listed", "never listed", "still listed", "no pages"],
)
def test_workers_are_gone_when_pages_list_other_queues_only(
    pages: dict[str, float], listed: object, gone: bool
) -> None:
    signals = with_queues(healthy(), orders=QUEUED, mail=QUEUED)
    rows = (row(n, namespace="default", task_queue=queue) for queue, n in pages.items())
    context, flow = of_orders(with_rows(signals, "workers.workflow_pollers", *rows), last_listed=listed)
    assert workers_gone(flow, context) is gone


@pytest.mark.parametrize(
    ("signals", "past", "named"),
    [
        (limited(), {"beside_polls": AGO}, True),
        (limited(), {"beside_polls": START.subtract(seconds=20)}, False),
        (limited(), {}, False),
        (limited(), {"beside_polls": AGO, "backlog": 201.0}, False),
        (limited(), {"beside_polls": AGO, "last_shrunk": AGO}, False),
        (limited(matching__tasks_dispatched_per_sec=0.0), {"beside_polls": AGO}, False),
        (
            with_rows(limited(), "version.backlog_count", row(9.0, task_queue="orders", worker_version="shop:2")),
            {"beside_polls": AGO},
            False,
        ),
    ],
    ids=["a window", "less", "never", "shrinks", "has shrunk", "undispatched", "versions"],
)
def test_a_queue_is_limited_whose_backlog_stays_beside_polls_for_a_window(
    signals: Signals, past: dict[str, object], named: bool
) -> None:
    context, flow = of_orders(signals, **past)
    assert limited_flows(context) == ([flow] if named else [])


@pytest.mark.parametrize(
    ("dispatched", "past", "drains"),
    [(17.0, 290.0, True), (17.0, 200.0, False), (17.0, 150.0, False), (16.0, 290.0, False), (17.0, None, False)],
    ids=["shrinks", "stays", "grows", "slower", "not seen"],
)
def test_a_backlog_drains_that_is_dispatched_as_fast_and_was_seen_to_shrink(
    dispatched: float, past: float | None, drains: bool
) -> None:
    context, _ = of_orders(limited(matching__tasks_dispatched_per_sec=dispatched), backlog=past)
    assert draining(context) is drains


@pytest.mark.parametrize("hidden", ["", *sorted(HIDDEN)])
def test_a_hidden_name_is_no_queue_and_leaves_the_others_unknown(hidden: str) -> None:
    rows = (row(v, namespace="default", task_queue=q, task_type="workflow") for q, v in ((hidden, 12.0), ("a", 5.5)))
    signals = with_rows(healthy(), "demand.tasks_added_per_sec", *rows)
    flows = queue_flows(
        with_rows(
            signals, "matching.backlog_count", row(3.0, namespace="default", task_queue="b", task_type="workflow")
        )
    )
    assert {f.task_queue: f.add_rate for f in flows.values()} == {"": 12.0, "a": 5.5, "b": None}


BUILD = 'build_information{{build_version="{}",service_name="matching"}} 1'
SERVICE = 'service_requests{service_name="matching",operation="AddWorkflowTask",namespace="default"}'
OFFERED = 'syncmatch_latency_count{namespace="default",taskqueue="orders",task_type="Workflow"}'
ADDED = "demand.tasks_added_per_sec"


def matching(*versions: str, api: tuple[str, ...] = ()) -> Signals:
    """Two pages a minute apart of a matching process, without the family of added tasks."""
    pages, builds = Pages(), [BUILD.format(v) for v in versions]
    for at, n in ((0, 100), (60, 220)):
        pages.add(at, f"{SERVICE} {n}", f"{OFFERED} {n}", *builds)
    return read(pages, at=60, versions=api)


@pytest.mark.parametrize(
    ("pages", "api", "zero"),
    [
        ((), ("1.32.0",), True),
        (("1.32.0",), ("1.32.0",), True),
        ((), ("1.31.2",), False),
        ((), ("1.32.0", "1.31.2"), False),
        (("1.32.0",), ("1.31.2",), False),
        (("1.31.2",), ("1.32.0",), False),
        ((), ("1.32.0", "nightly"), False),
    ],
)
def test_the_version_is_the_lowest_of_what_pages_and_api_say(
    pages: tuple[str, ...], api: tuple[str, ...], zero: bool
) -> None:
    signals = matching(*pages, api=api)
    assert (signals.value(ADDED) == 0.0, ADDED not in signals.sources) == (zero, zero)


def test_a_version_that_nobody_knows_is_named_in_the_reason() -> None:
    why = matching(api=("nightly",)).why_missing("matching.backlog_count")
    assert why is not None
    assert why.detail.endswith("which version the server is, is unknown: it says nightly")


def test_where_added_tasks_are_not_counted_offered_ones_are_and_what_a_version_lacks_has_no_source() -> None:
    for old in (("1.31.2",), ("1.32.0", "1.31.2"), ()):
        signals = matching(*old)
        assert signals.value(ADDED) == pytest.approx(2.0)
        assert signals.sources[ADDED] == "syncmatch_latency_count"
        assert [r.labels["task_queue"] for r in signals.rows(ADDED)] == ["orders"]
    new = matching("1.32.0")
    assert (new.value(ADDED), ADDED in new.sources) == (0.0, False)
    for version, code, words in (
        ((), MissingCode.ABSENT, "which version the server is, is unknown"),
        (("1.23.0",), MissingCode.NO_SOURCE, "new in 1.25"),
    ):
        why = matching(*version).why_missing("matching.backlog_count")
        assert why is not None
        assert (why.code, words in why.detail) == (code, True)
