"""Signals of an imagined cluster with one sick process, a limit on one queue, or polls that are lost: the least that
shows each."""

from copilot.rules.signals.readings import BreakdownRow, Signals
from tests.cluster_signals import healthy, with_queues

POLL = {"operation": "PollWorkflowTaskQueue", "namespace": "default"}
QUEUED: dict[str, float] = {
    "matching.backlog_count": 200.0,
    "matching.workflow_backlog_age_sec": 85.0,
    "matching.tasks_spooled_per_sec": 2.0,
    "demand.tasks_added_per_sec": 17.0,
    "matching.tasks_dispatched_per_sec": 15.0,
    "poller.pending_polls": 10.0,
}


def row(value: float, **labels: str) -> BreakdownRow:
    return BreakdownRow(labels=labels, value=value)


def with_rows(signals: Signals, signal_id: str, *rows: BreakdownRow) -> Signals:
    """With this breakdown beside the others."""
    return signals.model_copy(update={"breakdowns": {**signals.breakdowns, signal_id: rows}})


def process_down(*names: str, **changes: float | None) -> Signals:
    """These of the server's pages are not answered, others are."""
    unread = {"server": names} if names else {}
    return healthy(**changes).model_copy(update={"unread": unread})


def hosts(*acked: float, **changes: float | None) -> Signals:
    """Each history host completes so many tasks a second, and callers time out."""
    signals = healthy(**({"frontend__error_rate_per_sec": 2.0} | changes))
    rows = (row(value, instance=f"10.1.0.{n}:9090") for n, value in enumerate(acked, 1))
    return with_rows(signals, "history.tasks_acked_per_sec", *rows)


def silent(service: str, operation: str, rate: float = 1.0, **changes: float) -> Signals:
    """A backlog beside pending polls, and calls to a service that time out, on a server of four processes."""
    rows = row(rate, service_role=service, operation=operation)
    of = with_rows(limited(**changes), "calls.unanswered_per_sec", rows)
    return of.model_copy(update={"targets": of.targets | {"server": 4}})


ADD, RECORD = "MatchingClientAddWorkflowTask", "HistoryClientRecordWorkflowTaskStarted"
OWN = {"namespace": "default", "task_queue": "temporal_sys_per_ns_tq", "task_type": "workflow"}


def own_tasks(age: float, polls: float | None = 0.0, dispatched: float = 0.0, queue: str = "per_ns_tq") -> Signals:
    """A task has waited so many seconds on one of Temporal's own task queues; polls None: not counted."""
    signals = healthy(
        system_workers__backlog_age_sec=age,
        system_workers__pending_polls=polls,
        system_workers__tasks_dispatched_per_sec=dispatched,
    )
    labels = OWN | {"task_queue": f"temporal_sys_{queue}"}
    polls_rows = () if polls is None else (row(polls, **labels),)
    signals = with_rows(signals, "system_workers.pending_polls", *polls_rows)
    return with_rows(signals, "system_workers.backlog_age_sec", row(age, **labels))


def refused(cause: str, rate: float = 8.0) -> Signals:
    """Polls are refused for this cause."""
    signals = healthy(frontend__throttled_per_sec=rate)
    return with_rows(signals, "frontend.throttled_per_sec", row(rate, **POLL, resource_exhausted_cause=cause))


def dead_letters(count: float, category: str = "") -> Signals:
    """So many tasks are in the dead letter queue."""
    rows = [row(count, task_category=category)] if category else []
    return with_rows(healthy(queue__dlq_messages=count), "queue.dlq_messages", *rows)


def rare(signal_id: str, rate: float = 0.1, **labels: str) -> Signals:
    """Something rare that is a note, at this rate (0.1/s is three times in a window), with a row of these labels."""
    return with_rows(healthy(**{signal_id.replace(".", "__"): rate}), signal_id, row(rate, **labels))


def no_answer(unanswered: float, requested: float = 2.0, **labels: str) -> Signals:
    """Queries of which so many a second are not answered, beside one queue that is polled and one that is not."""
    signals = healthy(queries__unanswered_per_sec=unanswered, queries__requested_per_sec=requested)
    polls = [row(n, namespace="default", task_queue=q, task_type="workflow") for q, n in (("orders", 4), ("quiet", 0))]
    signals = with_rows(signals, "poller.pending_polls", *polls)
    return with_rows(
        signals, "queries.unanswered_per_sec", row(unanswered, **(POLL | {"operation": "QueryWorkflow"} | labels))
    )


def timed_out(rate: float, kind: str = "") -> Signals:
    """Activity attempts that time out, by kind where that is known."""
    rows = [row(rate, taskqueue="orders", activityType="charge", timeout_type=kind)] if kind else []
    signals = healthy(activity_tasks__timed_out_per_sec=rate)
    return with_rows(signals, "activity_tasks.timed_out_per_sec", *rows)


def lists(failed: float, **changes: float | None) -> Signals:
    """Lists and counts of workflows, two a second, of which so many fail."""
    return healthy(visibility__lists_failed_per_sec=failed, visibility__lists_per_sec=2.0, **changes)


def not_polling(workers: int = 2, **changes: float | None) -> Signals:
    """No poll and no dispatch, and so many workers' pages."""
    lost = {"poller__pending_polls": 0.0, "matching__tasks_dispatched_per_sec": 0.0, "demand__tasks_added_per_sec": 0.0}
    return healthy(**(lost | changes)).model_copy(update={"targets": {"server": 1, "worker": workers}})


def restarting(*times: float) -> Signals:
    """Workers that began anew so many times in five minutes."""
    rows = (row(n, instance=f"10.1.1.{i}:9464") for i, n in enumerate(times, 1))
    return with_rows(healthy(workers__restarts=sum(times)), "workers.restarts", *rows)


def restarted(*times: float, **changes: float | None) -> Signals:
    """Server processes that began anew so many times in five minutes, of six."""
    rows = (row(n, instance=f"10.1.0.{i}:9090") for i, n in enumerate(times, 1) if n)
    signals = with_rows(healthy(deploy__task_restarts=sum(times), **changes), "deploy.task_restarts", *rows)
    return signals.model_copy(update={"targets": {"server": 6, "worker": 2}})


def limited(**changes: float | None) -> Signals:
    """A queue with a backlog beside pending polls and free slots."""
    rows = QUEUED | {name.replace("__", "."): value for name, value in changes.items()}
    known = {signal_id: value for signal_id, value in rows.items() if value is not None}
    return with_queues(healthy(**{i.replace(".", "__"): v for i, v in rows.items()}), orders=known)


def unserved(*names: str, added: float = 0.5, polls: float = 0.0) -> Signals:
    """Beside a queue with all the pollers, others with old tasks."""
    old = {
        "matching.backlog_count": 60.0,
        "matching.workflow_backlog_age_sec": 4000.0,
        "demand.tasks_added_per_sec": added,
        "poller.pending_polls": polls,
    }
    busy = {"demand.tasks_added_per_sec": 17.0, "matching.tasks_dispatched_per_sec": 17.0, "poller.pending_polls": 10.0}
    whole = healthy(matching__backlog_count=60.0 * len(names), matching__workflow_backlog_age_sec=4000.0)
    return with_queues(whole, orders=busy, **dict.fromkeys(names, old))


SHOWN: dict[str, tuple[Signals, Signals]] = {
    "server_process_down": (process_down("http://history-2:9090/metrics"), process_down()),
    "history_host_stalled": (hosts(0.0, 17.0), hosts(16.0, 17.0)),
    "server_restarting": (restarted(3.0), restarted(1.0)),
    "rolling_restart": (restarted(1.0, 1.0, 1.0), restarted(1.0)),
    "service_not_answering": (silent("matching", ADD), silent("matching", ADD, 0.1)),
    "worker_deployment_limit": (refused("WorkerDeploymentLimits"), refused("RpsLimit")),
    "busy_workflow": (healthy(clients__busy_workflow_per_sec=4.0), healthy(clients__busy_workflow_per_sec=0.3)),
    "dlq_messages": (dead_letters(3.0, "timer"), dead_letters(0.0)),
    "activity_timeouts": (timed_out(6.0, "StartToClose"), timed_out(0.2)),
    "queries_unanswered": (no_answer(1.5), no_answer(0.5)),
    "visibility_failing": (lists(1.8), lists(0.4)),
    "schedules_missing": (rare("schedules.missed_per_sec", namespace="shop"), healthy()),
    "nexus_failing": (rare("nexus.failed_per_sec", destination="billing"), rare("nexus.failed_per_sec", 0.05)),
    "archival_failing": (rare("archival.failed_per_sec"), rare("archival.failed_per_sec", 0.05)),
    "replication_lagging": (healthy(replication__delay_p99_sec=400.0), healthy(replication__delay_p99_sec=2.0)),
    "history_too_long": (
        healthy(history_length__longest_events=50_000.0),
        healthy(history_length__longest_events=20_000.0),
    ),
    "server_panic": (rare("runtime.panics_per_sec", service_name="history"), healthy()),
    "certificate_expired": (healthy(certificates__expired=1.0), healthy(certificates__expiring=None)),
    "workers_not_polling": (not_polling(), not_polling(workers=1)),
    "workers_restarting": (restarting(0.0, 3.0), restarting(1.0, 1.0)),
    "unserved_queue": (unserved("left_over"), unserved("left_over", added=5.0)),
    "workflow_task_timeouts": (
        healthy(workflow_tasks__timed_out_per_sec=3.0),
        healthy(workflow_tasks__timed_out_per_sec=3.0, workflow_tasks__failed_per_sec=3.0),
    ),
    "dispatch_limited": (limited(), limited(poller__pending_polls=1.0)),
}
"""What makes a finding appear, and what comes close and does not."""

MORE = (
    *(
        process_down(f"http://temporal-{s}:9090/metrics", demand__rejected_per_sec=3.0)
        for s in ("frontend", "matching")
    ),
    process_down("http://temporal-history-0:9090/metrics", "http://temporal-history-1:9090/metrics"),
    hosts(0.0, 12.0, 14.0, frontend__error_rate_per_sec=0.0, history__task_queue_latency_p99_sec=60.0),
    healthy(clients__busy_workflow_per_sec=30.0, frontend__latency_p99_ms=3000.0),
    dead_letters(1.0),
    *(dead_letters(40.0, category) for category in ("transfer", "visibility", "replication", "archival")),
    *(timed_out(6.0, kind) for kind in ("", "Heartbeat", "ScheduleToStart", "ScheduleToClose")),
    no_answer(2.0, operation="UpdateWorkflowExecution"),
    lists(0.0, visibility__writes_failed_per_sec=2.0),
    lists(0.0, visibility__delay_p99_sec=600.0),
    *(rare(f"schedules.{what}_per_sec", namespace="shop") for what in ("dropped", "failed")),
    rare("nexus.blocked_per_sec", destination="billing"),
    rare("nexus.failed_per_sec", destination="billing", outcome="handler_error_UPSTREAM_TIMEOUT"),
    rare("queue.dlq_writes_per_sec", task_category="timer"),
    healthy(history_length__longest_events=100_000.0),
    healthy(certificates__expiring=2.0),
    not_polling(worker_poll__long_poll_failures_per_sec=4.0),
    limited(demand__tasks_added_per_sec=30.0),
    restarting(4.0, 4.0),
    restarted(4.0, frontend__error_rate_per_sec=2.0),
    restarted(1.0, 1.0, frontend__latency_p99_ms=3000.0),
    silent("history", "HistoryClientStartWorkflowExecution", demand__rejected_per_sec=3.0),
)
"""The same causes, met in other ways."""
