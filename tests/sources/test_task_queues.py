"""What descriptions of task queues come to."""

from whenever import Instant

from copilot.sources.temporal.queues import (
    ACTIVITY_AGE,
    ADDED,
    BACKLOG_COUNT,
    DISPATCHED,
    RECENT_POLLERS,
    VERSION_BACKLOG,
    VERSION_POLLERS,
    WORKFLOW_AGE,
    Description,
    Part,
    QueueKey,
    queue_readings,
)

NOW = Instant.from_utc(2026, 11, 22, 3)
NOTHING = Part()
ORDERS, MAILS = QueueKey("default", "orders"), QueueKey("other", "mails")


def queue(workflow: Part, activity: Part = NOTHING) -> Description:
    return Description(NOW, {("workflow", "unversioned"): workflow, ("activity", "unversioned"): activity})


def test_counts_and_rates_add_up_and_the_oldest_decides_the_age() -> None:
    values, rows = queue_readings(
        {
            ORDERS: queue(Part(3, 20.0, 1.0, 0.5, 2, 2), Part(4, 5.0, 1.0, 2.0, 1, 1)),
            MAILS: queue(Part(10, 8.0)),
        },
        (),
    )
    assert values == {
        BACKLOG_COUNT: 17.0,
        WORKFLOW_AGE: 20.0,
        ACTIVITY_AGE: 5.0,
        ADDED: 2.0,
        DISPATCHED: 2.5,
        RECENT_POLLERS: 3.0,
        VERSION_BACKLOG: 17.0,
        VERSION_POLLERS: 3.0,
    }
    assert [(r.labels["task_queue"], r.labels["task_type"], r.value) for r in rows[BACKLOG_COUNT]] == [
        ("mails", "workflow", 10.0),
        ("orders", "activity", 4.0),
        ("orders", "workflow", 3.0),
    ]
    assert [(r.labels["task_type"], r.value) for r in rows[DISPATCHED]] == [("activity", 2.0), ("workflow", 0.5)]
    assert [r.labels["task_type"] for r in rows[ACTIVITY_AGE]] == ["activity"]
    assert rows[RECENT_POLLERS][-1].labels == {"namespace": "other", "task_queue": "mails", "task_type": "workflow"}


def test_a_half_nobody_ever_used_is_not_said_to_lack_pollers_but_one_that_had_them_is() -> None:
    queues = {ORDERS: queue(NOTHING)}
    assert RECENT_POLLERS not in queue_readings(queues, ())[0]
    values, rows = queue_readings(queues, [(ORDERS, "workflow")])
    assert values[RECENT_POLLERS] == 0.0
    assert [r.value for r in rows[RECENT_POLLERS]] == [0.0]


def test_no_queue_at_all_means_nothing_waits() -> None:
    values, rows = queue_readings({}, ())
    assert values == dict.fromkeys((BACKLOG_COUNT, WORKFLOW_AGE, ACTIVITY_AGE, ADDED, DISPATCHED, VERSION_BACKLOG), 0.0)
    assert rows == {}


def test_the_age_of_a_version_without_a_backlog_says_nothing() -> None:
    parts = {("workflow", "shop:v1"): Part(3, 4.0), ("workflow", "shop:v2"): Part(0, 600.0)}
    assert Description(NOW, parts).of_kind("workflow")[:2] == (3, 4.0)


def test_a_version_whose_pollers_are_gone_stands_beside_the_one_that_is_polled() -> None:
    parts = {
        ("workflow", "unversioned"): NOTHING,
        ("workflow", "shop:v1"): Part(5, 30.0, pollers=1),
        ("workflow", "shop:v2"): Part(0, 0.0, pollers=3, recent=3),
        ("activity", "shop:v2"): NOTHING,
    }
    many = {QueueKey("default", f"idle-{n:02}"): queue(Part(pollers=1, recent=1)) for n in range(30)}
    values, rows = queue_readings({ORDERS: Description(NOW, parts), **many}, ())
    assert (values[VERSION_BACKLOG], values[VERSION_POLLERS]) == (5.0, 33.0)
    of_orders = {
        signal_id: {r.labels["worker_version"]: r.value for r in rows[signal_id] if r.labels["task_queue"] == "orders"}
        for signal_id in (VERSION_BACKLOG, VERSION_POLLERS)
    }
    assert of_orders == {
        VERSION_BACKLOG: {"shop:v1": 5.0, "shop:v2": 0.0},
        VERSION_POLLERS: {"shop:v1": 0.0, "shop:v2": 3.0},
    }
    assert len(rows[VERSION_BACKLOG]) == len(rows[VERSION_POLLERS]) == 20
    assert rows[VERSION_BACKLOG][0].labels == {
        "namespace": "default",
        "task_queue": "orders",
        "task_type": "workflow",
        "worker_version": "shop:v1",
    }


def test_a_queue_not_known_by_version_leaves_the_versions_out_of_the_readings() -> None:
    untold = Description(NOW, {("workflow", "unversioned"): Part(2, 1.0)}, by_version=False)
    values, rows = queue_readings({ORDERS: queue(Part(1, 1.0)), MAILS: untold}, ())
    assert values[BACKLOG_COUNT] == 3.0
    assert VERSION_BACKLOG not in {**values, **rows}
    assert VERSION_POLLERS not in {**values, **rows}
