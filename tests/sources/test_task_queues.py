"""What descriptions of task queues come to."""

from whenever import Instant

from copilot.sources.task_queues import (
    ACTIVITY_AGE,
    BACKLOG_COUNT,
    RECENT_POLLERS,
    WORKFLOW_AGE,
    Description,
    Half,
    QueueKey,
    queue_readings,
)

NOW = Instant.from_utc(2026, 11, 22, 3)


def queue(workflow: Half, activity: Half) -> Description:
    return Description(NOW, {"workflow": workflow, "activity": activity})


NOTHING = Half(backlog=0, age=0.0, added=0.0, pollers=0)


def test_counts_add_up_and_the_oldest_decides_the_age() -> None:
    values, rows = queue_readings(
        {
            QueueKey("default", "orders"): queue(Half(3, 20.0, 1.0, 2), Half(4, 5.0, 1.0, 1)),
            QueueKey("other", "mails"): queue(Half(10, 8.0, 0.0, 0), NOTHING),
        },
        (),
    )
    assert values == {BACKLOG_COUNT: 17.0, WORKFLOW_AGE: 20.0, ACTIVITY_AGE: 5.0, RECENT_POLLERS: 3.0}
    assert [(r.labels["task_queue"], r.labels["task_type"], r.value) for r in rows[BACKLOG_COUNT]] == [
        ("mails", "workflow", 10.0),
        ("orders", "activity", 4.0),
        ("orders", "workflow", 3.0),
    ]
    assert rows[RECENT_POLLERS][-1].labels == {"namespace": "other", "task_queue": "mails", "task_type": "workflow"}


def test_a_half_nobody_ever_used_is_not_said_to_lack_pollers_but_one_that_had_them_is() -> None:
    queues = {QueueKey("default", "orders"): queue(NOTHING, NOTHING)}
    assert RECENT_POLLERS not in queue_readings(queues, ())[0]
    values, rows = queue_readings(queues, [(QueueKey("default", "orders"), "workflow")])
    assert values[RECENT_POLLERS] == 0.0
    assert [r.value for r in rows[RECENT_POLLERS]] == [0.0]


def test_no_queue_at_all_means_nothing_waits() -> None:
    values, rows = queue_readings({}, ())
    assert values == {BACKLOG_COUNT: 0.0, WORKFLOW_AGE: 0.0, ACTIVITY_AGE: 0.0}
    assert rows == {}
