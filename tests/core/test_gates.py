"""Each gate: healthy, breached, at its boundary, with its input missing, without traffic."""

import pytest

from copilot.explain.gates import gate_sentence
from copilot.rules.flow import Flow, cluster_flow, queue_flows
from copilot.rules.gates.registry import GATES, judge
from copilot.rules.memory import Memory, QueueMemory
from copilot.rules.model import GateResult, Severity
from copilot.rules.signals.readings import Signals
from tests.cluster_signals import START, healthy, play, seen_by_gates, with_queues, workers_down


def gates(signals: Signals, memory: Memory | None = None) -> dict[str, GateResult]:
    return {g.name: g for g in judge(seen_by_gates(signals, memory))}


def fired(signals: Signals, memory: Memory | None = None) -> set[str]:
    return {name for name, gate in gates(signals, memory).items() if gate.fired}


BREACHED = {
    "frontend_unreachable": healthy(frontend__reachable=0.0),
    "requests_rejected": healthy(demand__rejected_per_sec=3.0, demand__requests_per_sec=5.0),
    "work_stalled": workers_down(20.0),
    "backlog_age": healthy(matching__activity_backlog_age_sec=31.0, matching__backlog_count=4.0),
    "frontend_errors": healthy(frontend__error_rate_per_sec=0.5),
    "frontend_latency": healthy(frontend__latency_p99_ms=1001.0),
    "rate_limited": healthy(frontend__throttled_per_sec=7.0),
    "persistence_errors": healthy(persistence__error_rate_per_sec=2.0),
    "persistence_latency": healthy(persistence__latency_p99_ms=101.0),
    "persistence_throttled": healthy(persistence__throttled_per_sec=130.0),
    "history_throttled": healthy(history__throttled_per_sec=100.0),
    "history_latency": healthy(history__task_queue_latency_p99_sec=49.0),
    "shard_churn": healthy(history__shard_churn_rate_per_sec=5.1),
    "workflow_task_failures": healthy(workflow_tasks__failed_per_sec=1.7),
    "workflow_task_attempts": healthy(workflow_tasks__attempts_p99=2.1),
    "activity_failures": healthy(activity_tasks__failed_per_sec=10.0),
    "activity_timeouts": healthy(activity_tasks__timed_out_per_sec=10.0),
    "queries_unanswered": healthy(queries__unanswered_per_sec=1.1, queries__requested_per_sec=2.0),
    "lists_failing": healthy(visibility__lists_failed_per_sec=1.1, visibility__lists_per_sec=2.0),
    "application_failures": healthy(workflow_completion__completion_rate=0.4, workflow_completion__failed_per_sec=1.7),
}


def test_a_healthy_cluster_fires_nothing_and_every_gate_is_judged() -> None:
    judged = gates(healthy())
    assert {n for n, g in judged.items() if g.fired is not False} == set()
    assert list(judged) == [gate.name for gate in GATES]


@pytest.mark.parametrize(("name", "signals"), BREACHED.items(), ids=BREACHED)
def test_a_breached_gate_fires_and_says_why_with_its_numbers(name: str, signals: Signals) -> None:
    gate = gates(signals)[name]
    assert gate.fired
    assert gate_sentence(gate, signals)
    assert gate.threshold is not None
    assert gate.evidence


@pytest.mark.parametrize(("name", "signals"), BREACHED.items(), ids=BREACHED)
def test_a_gate_whose_input_is_missing_is_not_judged(name: str, signals: Signals) -> None:
    evidence = gates(signals)[name].evidence
    gone = {i.replace(".", "__"): None for i in evidence if i in healthy().readings}
    if "matching.backlog_age_sec" in evidence:
        gone |= {f"matching__{t}_backlog_age_sec": None for t in ("workflow", "activity")}
    if name == "requests_rejected":
        gone |= {"frontend__error_rate_per_sec": None}
    gate = gates(healthy(**gone))[name]
    assert (gate.fired, gate.unjudged) == (None, "missing")


def test_a_value_at_its_threshold_does_not_fire() -> None:
    assert "backlog_age" not in fired(healthy(matching__workflow_backlog_age_sec=30.0))
    assert gates(healthy(matching__workflow_backlog_age_sec=27.0))["backlog_age"].margin == pytest.approx(0.1)


def test_what_has_no_traffic_no_source_or_is_just_over_is_neither_good_nor_bad() -> None:
    quiet = healthy(frontend__latency_p99_ms=None)
    quiet = quiet.model_copy(update={"no_traffic": ("frontend.latency_p99_ms",), "missing": {}})
    assert gates(quiet)["frontend_latency"].unjudged == "no_traffic"
    readings = {i: v for i, v in healthy().readings.items() if not i.startswith("persistence.")}
    bare = healthy().model_copy(update={"readings": readings})
    assert gates(bare)["persistence_latency"].unjudged == "not_expected"
    slow = healthy(frontend__latency_p99_ms=5000.0)
    assert gates(slow, Memory(recovering_until=START.add(seconds=1)))["frontend_latency"].unjudged == "recovering"
    assert gates(slow, Memory(recovering_until=START))["frontend_latency"].fired


def test_work_that_waits_but_shrinks_is_not_stalled() -> None:
    signals = workers_down(100.0)
    memory = Memory(queues={cluster_flow(signals).key: QueueMemory(backlog=signals.value("matching.backlog_count"))})
    assert "work_stalled" in fired(signals, memory)
    bigger = Memory(queues={cluster_flow(signals).key: QueueMemory(backlog=500.0)})
    assert "work_stalled" not in fired(signals, bigger)


def row(arrives: float, served: float, waiting: float = 0.0, age: float = 0.0) -> dict[str, float]:
    return {
        "demand.tasks_added_per_sec": arrives,
        "matching.tasks_dispatched_per_sec": served,
        "matching.backlog_count": waiting,
        "matching.workflow_backlog_age_sec": age,
        "poller.pending_polls": 0.0 if served == 0 else 10.0,
    }


def busy(**queues: dict[str, float]) -> Signals:
    waiting = sum(q["matching.backlog_count"] for q in queues.values())
    age = max(q["matching.workflow_backlog_age_sec"] for q in queues.values())
    return with_queues(healthy(matching__backlog_count=waiting, matching__workflow_backlog_age_sec=age), **queues)


STALLS = {"work_stalled", "backlog_growing"}
WITHOUT_API: dict[str, float | None] = {"poller__recent_pollers": None}
UNSEEN = {**WITHOUT_API, "frontend__reachable": None}
NO_GAUGE: dict[str, float | None] = {"matching__backlog_count": None, "matching__workflow_backlog_age_sec": None}
LAGS: dict[str, float | None] = dict.fromkeys(NO_GAUGE, 0.0)
NOTHING_MOVES: dict[str, float | None] = {"matching__tasks_dispatched_per_sec": 0.0, "demand__tasks_added_per_sec": 0.0}
HALF = healthy(
    poller__recent_pollers=2.0, demand__tasks_added_per_sec=10.0, matching__tasks_dispatched_per_sec=6.0,
    matching__tasks_spooled_per_sec=4.0,
)  # fmt: skip
DESCRIBED = {"poller.recent_pollers": 2.0, "demand.tasks_added_per_sec": 6.0, "matching.tasks_dispatched_per_sec": 6.0}
UNKNOWN = {"demand.tasks_added_per_sec": 4.0, "matching.tasks_spooled_per_sec": 4.0}


def piling(dispatched: float, spooled: float) -> Signals:
    """A gauge that lags, no API."""
    return healthy(
        matching__tasks_dispatched_per_sec=dispatched, matching__tasks_spooled_per_sec=spooled,
        matching__backlog_count=0.0, **WITHOUT_API,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("signals", "stalls"),
    [
        (with_queues(HALF, orders=DESCRIBED, attic=UNKNOWN), STALLS),
        (with_queues(HALF, orders=DESCRIBED, attic=UNKNOWN | {"poller.recent_pollers": 1.0}), set()),
        (workers_down(14.9), {"backlog_growing"}),
        (workers_down(60.0, **NO_GAUGE, **UNSEEN), STALLS),
        (workers_down(60.0, **LAGS, **UNSEEN), STALLS),
        (workers_down(60.0, matching__tasks_spooled_per_sec=0.05, **NO_GAUGE, **UNSEEN), set()),
        (workers_down(60.0, matching__tasks_spooled_per_sec=0.05, **LAGS, **UNSEEN), set()),
        (workers_down(60.0, **LAGS), set()),
        (piling(13.0, 4.0), {"backlog_growing"}),
        (piling(17.0, 4.0), set()),
        (piling(13.0, 0.1), set()),
        (workers_down(60.0, demand__tasks_added_per_sec=0.0, matching__tasks_spooled_per_sec=0.0), {"work_stalled"}),
        (healthy(history__tasks_acked_per_sec=0.5, **NOTHING_MOVES), {"work_stalled"}),
        (healthy(history__tasks_acked_per_sec=0.5, demand__starts_per_sec=0.0, **NOTHING_MOVES), {"work_stalled"}),
        (
            healthy(history__tasks_acked_per_sec=0.0, history__task_processing_rate_per_sec=0.0, **NOTHING_MOVES),
            set(),
        ),
    ],
    ids=[
        "a queue the API has not described", "a queue the API has described", "a task that just arrived",
        "no API and no gauge", "no API and a gauge that lags", "fewer than three stored, no gauge",
        "fewer than three stored, a gauge that lags", "the API says that nothing waits",
        "more stored than served, before any gauge says so", "served in step", "few stored",
        "nothing arrives, work waits", "history finishes nothing while work starts",
        "history finishes nothing of what is signalled", "client mistakes alone",
    ],
)  # fmt: skip
def test_work_is_stalled_or_piles_up_where_it_does_and_not_elsewhere(signals: Signals, stalls: set[str]) -> None:
    judged = gates(signals)
    assert {name for name in STALLS if judged[name].fired} == stalls
    assert judged["work_stalled"].severity is Severity.CRITICAL


def test_a_stalled_queue_with_a_good_part_of_the_work_is_critical_and_named() -> None:
    gate = gates(busy(orders=row(10.0, 10.0), billing=row(7.0, 0.0, 200.0, 25.0)))["work_stalled"]
    assert gate.fired
    assert gate.labels["task_queue"] == "billing"


def test_a_stalled_queue_with_little_work_stresses_and_is_named() -> None:
    signals = busy(orders=row(19.0, 19.0), mail=row(1.0, 0.0, 25.0, 25.0))
    assert fired(signals) == {"queue_stalled"}
    assert gates(signals)["queue_stalled"].labels["task_queue"] == "mail"


def test_a_queue_nothing_arrives_on_moves_nothing_while_work_arrives_elsewhere() -> None:
    assert fired(busy(orders=row(17.0, 17.0), legacy=row(0.0, 0.0, 5.0, 4000.0))) == set()


def test_a_queue_that_stopped_being_fed_after_it_stalled_still_counts() -> None:
    fed, unfed = row(7.0, 0.0, 200.0, 25.0), row(0.0, 0.0, 200.0, 60.0)
    seen, _ = play([busy(orders=row(10.0, 10.0), billing=q) for q in (fed, unfed)])
    assert seen[-1].verdict.fired()


@pytest.mark.parametrize(
    ("age", "dispatched", "past", "behind"),
    [
        (130.0, 5.0, ((80, 100.0), (20, 125.0)), True),
        (119.0, 5.0, ((80, 100.0), (20, 125.0)), False),
        (130.0, 5.0, ((80, 150.0), (20, 125.0)), False),
        (130.0, 5.0, (), False),
        (3600.0, 12.0, ((80, 3570.0),), True),
        (3600.0, 12.0, ((80, 3596.0),), False),
    ],
    ids=["rising", "under two minutes", "falling", "without a past", "for an hour, ever older", "for an hour, as old"],
)
def test_falling_behind_needs_age_over_two_minutes_and_rising(
    age: float, dispatched: float, past: tuple[tuple[int, float], ...], behind: bool
) -> None:
    slow = healthy(
        matching__backlog_count=400.0,
        matching__activity_backlog_age_sec=age,
        matching__tasks_dispatched_per_sec=dispatched,
    )
    ages = tuple((START.subtract(seconds=ago), then) for ago, then in past)
    memory = Memory(queues={cluster_flow(slow).key: QueueMemory(ages=ages)})
    assert ("falling_behind" in fired(slow, memory)) is behind


def test_queues_are_joined_whether_their_name_was_sanitised_or_not() -> None:
    signals = with_queues(
        healthy(), **{"my-queue": {"matching.backlog_count": 3.0}, "my_queue": {"demand.tasks_added_per_sec": 1.0}}
    )
    (flow,) = queue_flows(signals).values()
    assert (flow.task_queue, flow.backlog, flow.add_rate) == ("my-queue", 3.0, 1.0)
    assert Flow("my-space", "q", "workflow").key == Flow("my_space", "q", "workflow").key


STUCK = NOTHING_MOVES | {"history__tasks_acked_per_sec": 0.5}
REFUSED: dict[str, float | None] = {"demand__rejected_per_sec": None}
ASKED: dict[str, float | None] = {"demand__requests_per_sec": None}


@pytest.mark.parametrize(
    ("name", "changes", "judged"),
    [
        ("work_stalled", STUCK | {"history__tasks_acked_per_sec": None}, False),
        ("work_stalled", STUCK | {"history__task_processing_rate_per_sec": None}, False),
        ("work_stalled", STUCK | {"demand__requests_per_sec": None}, False),
        ("requests_rejected", REFUSED, True),
        ("requests_rejected", REFUSED | {"frontend__throttled_per_sec": 8.0}, False),
        ("requests_rejected", REFUSED | {"frontend__error_rate_per_sec": 8.0}, False),
        ("frontend_errors", ASKED, True),
        ("frontend_errors", ASKED | {"frontend__error_rate_per_sec": 1.0}, False),
    ],
)
def test_a_lost_reading_clears_a_gate_only_where_others_tell_that_it_cannot_fire(
    name: str, changes: dict[str, float | None], judged: bool
) -> None:
    gate = gates(healthy(**changes))[name]
    assert (gate.fired, gate.unjudged) == ((False, gate.unjudged) if judged else (None, "missing"))


def test_one_small_queue_that_falls_behind_makes_no_cluster_critical() -> None:
    rest = row(17.3, 17.3)
    now = healthy(
        matching__backlog_count=40.0, matching__workflow_backlog_age_sec=200.0, matching__tasks_dispatched_per_sec=17.35
    )
    signals = with_queues(now, attic=row(0.2, 0.05, 40.0, 200.0), orders=rest)
    flows = {**queue_flows(signals), cluster_flow(signals).key: cluster_flow(signals)}
    younger = ((START.subtract(seconds=60), 140.0),)
    memory = Memory(queues={key: QueueMemory(ages=younger) for key in flows})
    assert "falling_behind" not in fired(signals, memory)
    large = with_queues(now, attic=row(8.0, 0.05, 40.0, 200.0), orders=rest)
    assert "falling_behind" in fired(large, memory)


def test_several_small_stalled_queues_are_stalled_together() -> None:
    stalled, busy_one = row(1.0, 0.0, 60.0, 60.0), row(10.0, 10.0)
    now = healthy(matching__backlog_count=180.0, matching__workflow_backlog_age_sec=60.0)
    one = with_queues(now, a=stalled, orders=busy_one)
    assert {"queue_stalled"} == {"queue_stalled", "work_stalled"} & set(fired(one))
    three = with_queues(now, a=stalled, b=stalled, c=stalled, orders=busy_one)
    assert {"work_stalled"} == {"queue_stalled", "work_stalled"} & set(fired(three))
