"""Readings over a window: a value, no traffic, or missing with the reason; absence understood."""

import pytest

from copilot.rules.signals.readings import Missing, MissingCode
from tests.scraped import Pages, read, recorded

PRESENCE = 'service_requests{service_name="frontend",operation="StartWorkflowExecution",namespace="default"}'


def healthy(grown: float = 0.01) -> tuple[Pages, Pages]:
    server, worker = Pages("server"), Pages("worker")
    for n in range(7):
        server.add_bytes(10 * n, recorded("server"), grown=1 + grown * n)
        worker.add_bytes(10 * n, recorded("worker"), grown=1 + grown * n)
    return server, worker


def test_a_healthy_cluster_has_every_signal_its_pages_hold() -> None:
    signals = read(*healthy(), at=61)
    assert set(signals.missing) == {"connection_pool.utilization_pct"}
    assert signals.targets == {"server": 1, "worker": 1}
    assert signals.value("poller.pending_polls") == 21 + 13
    assert signals.value("workers.workflow_slots_available") == 50
    assert signals.value("poller.sync_match_rate") == 1.0
    assert signals.value("frontend.error_rate_per_sec") == 0.0
    assert signals.value("workflow_completion.timed_out_per_sec") == 0.0
    assert 0.9 < (signals.value("workflow_completion.completion_rate") or 0) < 1.0
    assert 50 < (signals.value("workers.wft_schedule_to_start_p95_ms") or 0) <= 100


def test_both_dialects_of_the_sdk_give_the_same_ids() -> None:
    plain, suffixed = Pages("worker"), Pages("worker")
    for n in range(7):
        plain.add_bytes(10 * n, recorded("worker"), grown=1 + n / 100)
        suffixed.add_bytes(10 * n, recorded("worker_suffixed"), grown=1 + n / 100)
    one, other, both = (read(*pages, at=61) for pages in ((plain,), (suffixed,), (plain, suffixed)))
    assert one.readings.keys() == other.readings.keys() == both.readings.keys()
    assert all(s.covered(i) for s in (one, other, both) for i in s.readings)
    for name in ("wft_execution_p95_ms", "activity_schedule_to_start_p95_ms"):
        values = [s.value(f"workers.{name}") or 0 for s in (one, other, both)]
        assert all(1 < v < 200 for v in values)
        assert min(values[:2]) <= values[2] <= max(values[:2])
    assert both.value("workers.workflow_slots_available") == sum(
        s.value("workers.workflow_slots_available") or 0 for s in (one, other)
    )


def test_a_target_watched_for_a_part_of_the_window_is_not_diluted() -> None:
    pages = Pages().add(40, f"{PRESENCE} 100").add(50, f"{PRESENCE} 120").add(60, f"{PRESENCE} 140")
    assert read(pages, at=60).value("demand.starts_per_sec") == pytest.approx(2.0)


def test_a_target_nobody_tried_to_read_lately_is_down() -> None:
    pages = Pages().add(0, f"{PRESENCE} 1").add(10, f"{PRESENCE} 2")
    assert read(pages, at=36).targets == {"server": 0}
    assert read(pages, at=30).targets == {"server": 1}


def test_reads_that_fail_every_third_time_still_give_values() -> None:
    pages = Pages()
    for n in range(24):
        if n % 3 == 2:
            pages.target.fail(Missing(code=MissingCode.TIMEOUT))
        else:
            pages.add(10 * n, f"{PRESENCE} {20 * n}")
        if n > 7:
            assert read(pages, at=10 * n + 1).value("demand.starts_per_sec") == pytest.approx(2.0, rel=0.01)


def test_a_page_that_is_down_costs_only_the_counters_of_its_service() -> None:
    up, down = Pages().add(50, f"{PRESENCE} 1").add(60, f"{PRESENCE} 3"), Pages()
    down.target.fail(Missing(code=MissingCode.TARGET_DOWN, detail="Connection refused"))
    signals = read(up, down, at=60)
    assert signals.targets == {"server": 1}
    assert signals.value("demand.starts_per_sec") == pytest.approx(0.2)
    assert signals.value("frontend.error_rate_per_sec") == 0.0
    assert signals.missing["workflow_tasks.failed_per_sec"].code == MissingCode.TARGET_DOWN
    assert signals.unread == {"server": ("http://server/metrics",)}


def test_breakdowns_hold_the_largest_twenty_rows_without_zeros() -> None:
    pages = Pages()
    for at in (50, 60):
        failing = [
            f'activity_task_fail{{namespace="default",taskqueue="q{i}",activityType="A"}} {i * (at - 50)}'
            for i in range(30)
        ]
        pages.add(at, f"{PRESENCE} {at}", *failing)
    rows = read(pages, at=60).rows("activity_tasks.failed_per_sec")
    assert [r.labels["task_queue"] for r in rows] == [f"q{i}" for i in range(29, 9, -1)]


def test_queues_nobody_polls_keep_their_row_of_zero() -> None:
    polls = [
        f'pending_polls{{namespace="default",taskqueue="q{i}",task_type="Workflow",partition="{p}"}} {i}'
        for i in range(30)
        for p in range(2)
    ]
    rows = read(Pages().add(60, f"{PRESENCE} 1", *polls), at=60).rows("poller.pending_polls")
    assert len(rows) == 20
    assert rows[-1].labels == {"namespace": "default", "task_queue": "q0", "task_type": "workflow"}
    assert [r.value for r in rows] == [2.0 * i for i in range(19, -1, -1)]


@pytest.mark.parametrize(
    ("services", "lost"), [(("frontend",), ("matching", "history")), (("history", "matching"), ("frontend",))], ids=str
)
def test_the_pages_of_one_service_are_no_presence_metric_for_what_another_counts(
    services: tuple[str, ...], lost: tuple[str, ...]
) -> None:
    page = recorded("server").splitlines(keepends=True)
    of_these = b"".join(line for line in page if any(f'service_name="{s}"'.encode() in line for s in services))
    server = Pages()
    for number in range(3):
        server.add_bytes(10 * number, of_these, grown=1 + number / 10)
    signals = read(server, at=20)
    told = {
        "frontend": "demand.starts_per_sec",
        "history": "workflow_tasks.failed_per_sec",
        "matching": "matching.tasks_dispatched_per_sec",
    }
    assert {service for service, signal_id in told.items() if signals.value(signal_id) is None} == set(lost)
