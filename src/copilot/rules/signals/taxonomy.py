"""What would turn a signal on where it is missing, or what it means that nothing measures it. Facts of server 1.32.

A signal's own entry, else its group's, else what is true of all signals of its source. Another setup may need more than
one of the things named.
"""

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from copilot.rules.signals.expressions import (
    ACTIVITY_SLOTS,
    AVAILABLE,
    BRINGS_WORK,
    CLOSED,
    CLOSED_BY,
    EMPTY_SHARE,
    FRONTEND_ERRORS,
    FRONTEND_LATENCY,
    FRONTEND_LONG_POLLS,
    MISTAKES,
    MUTABLE_STATE,
    PERSISTENCE_ERRORS,
    POLLS_FILLED,
    QUEUE,
    SERVER_PRESENCE_METRIC,
    SPOOLED,
    STICKY_HITS,
    STICKY_MISSES,
    TASKS_ADDED,
    THROTTLED,
    UPKEEP,
    USED,
    USER,
    USER_QUEUES,
    WORKFLOW_SLOTS,
    WRITES,
    Expression,
    Gauge,
    Leaf,
    Plus,
    Quantile,
    Ratio,
    Role,
    Scale,
    backlog_age,
    backlog_age_rows,
    complement,
    ms,
    rate,
    sdk_gauge,
    sdk_p95,
    sdk_rows,
    server,
    worker_rate,
)

SERVER_PAGE = (
    'a metrics endpoint with role "server" in [[clusters]], or [clusters.prometheus]: start every server process with a Prometheus listener '
    "(global.metrics.prometheus.listenAddress, or PROMETHEUS_ENDPOINT in the Docker image) and have each one read"
)
WORKER_PAGE = (
    'a metrics endpoint with role "worker" in [[clusters]], or [clusters.prometheus]: give the SDK a Prometheus reporter (Python: '
    "Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=…)))) and have every worker read"
)
API = (
    "[clusters.temporal] address (namespace, TLS and API key by a TEMPORAL_* profile), with leave to list workflows and "
    "describe task queues"
)
_SQL_POOL = (
    "server 1.32 exports the SQL pool's size and use only; waits and turnover are seen by a pooler's own metrics"
)
_HOST = "server 1.32 does not export it; container or node metrics have it, which this release does not read"
_LATENCY_PARTS = (
    "server 1.32 measures no such time (the buckets of state_transition_count are counts); its parts are "
    "history.write_latency_p99_ms and shard.semaphore_latency_p99_ms"
)
_BACKLOG = (
    f'{API}; by metrics alone it comes once a minute (dynamic config matching.backlogMetricsEmitInterval, say "3s") and '
    "not in a server's first minute"
)
_RATE = f"{SERVER_PAGE}; or [clusters.temporal] address, whose rates leave sticky queues out"
_ONCE_A_MINUTE = "; the server writes it about once a minute, so wait a minute after its start"

BY_SOURCE = {
    "server metrics": SERVER_PAGE,
    "worker metrics": WORKER_PAGE,
    "api": API,
    "none": "nothing: server 1.32 has no metric and no call that measures it",
}

HINTS: dict[str, str] = {
    "state_transitions.latency_p95_ms": _LATENCY_PARTS,
    "state_transitions.latency_p99_ms": _LATENCY_PARTS,
    "history.backlog_age_sec": "server 1.32 does not export it (shardinfo_immediate_queue_backlog_age is of a later one); "
    "history.task_queue_latency_p99_sec tells of finished tasks only",
    "frontend.reachable": "[clusters.temporal] address, reachable from here; a load balancer must let grpc.health.v1 through",
    "matching.workflow_backlog_age_sec": _BACKLOG,
    "matching.activity_backlog_age_sec": _BACKLOG,
    "matching.backlog_count": _BACKLOG,
    "matching.tasks_dispatched_per_sec": _RATE,
    "demand.tasks_added_per_sec": _RATE,
    "version": f"{API}, and to list and describe worker deployments",
    "poller.pending_polls": f"{SERVER_PAGE}, matching's among them; it appears with the first worker that polls",
    "poller.recent_pollers": f"{API}; it appears with the first poller, or with the first task that waits for one",
    "workflow_tasks.attempts_p99": f"{SERVER_PAGE}, history's among them",
    "persistence": f"{SERVER_PAGE}; each process counts its own database calls, so none may be left out",
    "persistence.retry_rate_per_sec": "server 1.32 counts no retries; history.task_processing_rate_per_sec rising above "
    "history.tasks_acked_per_sec shows them",
    "persistence_contention.occ_conflicts_per_sec": "server 1.32 does not count them apart from conditional writes that "
    "lost (cas_failures_per_sec)",
    "persistence_contention.serialization_failures_per_sec": "server 1.32 does not export SQLSTATEs; the database's own "
    "statistics have them",
    "connection_pool": _SQL_POOL,
    "connection_pool.utilization_pct": "a server on MySQL or PostgreSQL: persistence_sql_in_use and "
    f"persistence_sql_max_open_conn are not there on SQLite and Cassandra{_ONCE_A_MINUTE}",
    "queue.task_backlog_depth": f"{SERVER_PAGE}, history's among them{_ONCE_A_MINUTE}",
    "queue.retry_time_spent_sec": "server 1.32 counts attempts (queue.task_attempts_p99), not the time they take",
    "cache.hit_rate": f"{SERVER_PAGE}, history's among them; it appears with the first workflow",
    "cache.evictions_per_sec": "server 1.32 counts no evictions; misses (cache.hit_rate) rise with them",
    "cache.size_bytes": "server 1.32 says how many entries the cache holds (cache_usage), not how large they are",
    "shard.hot_shard_ratio": "server 1.32 has a histogram over all shards (persistence_shard_rps) and none by shard; "
    "shard.semaphore_latency_p99_ms shows a shard at its limit",
    "grpc.in_flight_requests": f"{SERVER_PAGE}, the frontend's among them",
    "grpc.server_queue_depth": "server 1.32 exports no queue of gRPC; grpc.in_flight_requests is the nearest",
    "runtime.goroutines": f"{SERVER_PAGE}{_ONCE_A_MINUTE}",
    "runtime.blocked_goroutines": "server 1.32 exports all goroutines only (runtime.goroutines); a pprof profile tells more",
    "host": _HOST,
    "host.gc_pause_ms": f"{SERVER_PAGE}{_ONCE_A_MINUTE}",
    "deploy.task_restarts": "server 1.32 exports no start time; the orchestrator counts restarts, which this release does "
    "not read",
    "deploy.leader_changes_per_min": "server 1.32 elects no leader; a change of who owns which shard shows in "
    "deploy.membership_changes_per_min",
    "log_patterns.top_pattern_count": "[clusters.logs] in its [[clusters]] section: the files of the server's log, or a loki",
    "worker_cache": f"{WORKER_PAGE}; it appears with the first workflow a worker keeps",
    "worker_poll.long_poll_latency_ms": f"{WORKER_PAGE}; it appears when the first long poll has ended, within a minute",
    "workers.wft_schedule_to_start_p95_ms": f"{WORKER_PAGE}; it appears with the first workflow task",
    "workers.wft_execution_p95_ms": f"{WORKER_PAGE}; it appears with the first workflow task",
    "workers.activity_schedule_to_start_p95_ms": f"{WORKER_PAGE}; it appears with the first activity",
    "workers.activity_execution_p95_ms": f"{WORKER_PAGE}; it appears with the first activity",
}  # fmt: skip


def hint_for(signal_id: str, otherwise: str) -> str:
    """The signal's own hint, its group's, or that of a key of `BY_SOURCE`."""
    group = signal_id.partition(".")[0]
    return HINTS.get(signal_id) or HINTS.get(group) or BY_SOURCE[otherwise]


TAXONOMY_VERSION = "1"

Kind = Literal["primary", "amplifier", "worker"]
Unit = Literal["1/s", "1/min", "ms", "s", "ratio", "percent", "count", "bytes", "bool"]
Direction = Literal["up", "down"]
Source = Literal["metrics", "api", "api or metrics", "metrics or api", "logs", "none"]
MEASURED: tuple[Source, ...] = ("metrics", "api or metrics", "metrics or api")
"""The sources of signals that have an expression."""


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One signal. `worse` says which direction is worse; None where neither is. `source` says who measures it; where
    both do, the one named first wins: the API for waiting work (stock servers refresh backlog gauges once a minute),
    metrics for rates (they have the window of all other rates, and the sticky queues)."""

    id: str
    kind: Kind
    unit: Unit
    meaning: str
    worse: Direction | None
    expression: Expression | None = None
    breakdown: Leaf | None = None
    source: Source = "metrics"

    @property
    def role(self) -> Role:
        """Whose pages hold it."""
        return "worker" if self.kind == "worker" or self.id.startswith("worker.") else "server"

    @property
    def hint(self) -> str:
        """What would turn it on where it is missing; where nothing measures it, what that means."""
        by_metrics = self.source in MEASURED
        return hint_for(self.id, f"{self.role} metrics" if by_metrics else self.source)


_PRIMARY = (
    SignalSpec("state_transitions.throughput_per_sec", "primary", "1/s", "workflow state transitions written", "down",
               rate("state_transition_count", USER, suffix="_count")),
    SignalSpec("state_transitions.latency_p95_ms", "primary", "ms", "time a state transition takes", "up", source="none"),
    SignalSpec("state_transitions.latency_p99_ms", "primary", "ms", "time a state transition takes", "up", source="none"),
    SignalSpec("workflow_completion.completion_rate", "primary", "ratio", "share of closed workflows that succeeded", "down",
               Ratio(CLOSED["success"], Plus(tuple(CLOSED.values())))),
    SignalSpec("workflow_completion.success_per_sec", "primary", "1/s", "workflows closed with success", "down",
               CLOSED["success"]),
    SignalSpec("workflow_completion.failed_per_sec", "primary", "1/s", "workflows failed by their own code", "up",
               CLOSED["failed"], rate("workflow_failed", "operation=CompletionStats", USER, by=CLOSED_BY)),
    SignalSpec("workflow_completion.timed_out_per_sec", "primary", "1/s", "workflows ended by their timeout", "up",
               CLOSED["timed_out"], rate("workflow_timeout", "operation=CompletionStats", USER, by=CLOSED_BY)),
    SignalSpec("workflow_completion.terminated_per_sec", "primary", "1/s", "workflows terminated by somebody", None,
               CLOSED["terminated"]),
    SignalSpec("history.backlog_age_sec", "primary", "s", "age of the oldest history task that waits", "up", source="none"),
    SignalSpec("history.task_processing_rate_per_sec", "primary", "1/s",
               "history task attempts (retries count: it can rise while work stops)", None, rate("task_requests", USER)),
    SignalSpec("history.tasks_acked_per_sec", "primary", "1/s", "history tasks finished", "down",
               rate("task_latency_queue", USER, suffix="_count")),
    SignalSpec("history.write_latency_p99_ms", "primary", "ms", "time a workflow write takes in the database", "up",
               ms(Quantile(0.99, server("persistence_latency", "service_name=history", WRITES)))),
    SignalSpec("history.task_queue_latency_p99_sec", "primary", "s",
               "time from due to done of finished transfer tasks", "up",
               Quantile(0.99, server("task_latency_queue", "operation=~TransferActive.*", USER))),
    SignalSpec("history.throttled_per_sec", "primary", "1/s", "history task attempts refused by a limit", "up",
               rate("task_errors_throttled", "resource_exhausted_cause!=BusyWorkflow"),
               rate("task_errors_throttled", "resource_exhausted_cause!=BusyWorkflow", by=("resource_exhausted_cause",))),
    SignalSpec("history.shard_churn_rate_per_sec", "primary", "1/s", "shards opened and closed", "up",
               Plus((rate("sharditem_created_count"), rate("sharditem_removed_count"), rate("shard_closed_count")))),
    SignalSpec("frontend.reachable", "primary", "bool", "the frontend answers its health check", "down", source="api"),
    SignalSpec("frontend.error_rate_per_sec", "primary", "1/s", "requests failed by the server's fault", "up",
               rate(*FRONTEND_ERRORS), rate(*FRONTEND_ERRORS, by=("operation",))),
    SignalSpec("frontend.request_rate_per_sec", "primary", "1/s", "requests of clients and workers, without long polls", None,
               rate("service_requests", "service_name=frontend", f"operation!~Poll.*|{UPKEEP}", USER)),
    SignalSpec("frontend.throttled_per_sec", "primary", "1/s", "requests and polls refused by a rate limit", "up",
               rate(*THROTTLED, USER),
               rate(*THROTTLED, USER, by=("resource_exhausted_cause", "resource_exhausted_scope", "operation"))),
    SignalSpec("frontend.latency_p95_ms", "primary", "ms", "time an answer takes, without long polls", "up",
               ms(Quantile(0.95, FRONTEND_LATENCY))),
    SignalSpec("frontend.latency_p99_ms", "primary", "ms", "time an answer takes, without long polls", "up",
               ms(Quantile(0.99, FRONTEND_LATENCY)), ),
    SignalSpec("matching.workflow_backlog_age_sec", "primary", "s", "age of the oldest workflow task that waits", "up",
               backlog_age("Workflow"), backlog_age_rows("Workflow"), "api or metrics"),
    SignalSpec("matching.activity_backlog_age_sec", "primary", "s", "age of the oldest activity task that waits", "up",
               backlog_age("Activity"), backlog_age_rows("Activity"), "api or metrics"),
    SignalSpec("matching.backlog_count", "primary", "count", "tasks that wait in task queues", "up",
               Gauge(server("approximate_backlog_count", USER, USER_QUEUES), "sum"),
               Gauge(server("approximate_backlog_count", USER, USER_QUEUES), "sum", QUEUE), "api or metrics"),
    SignalSpec("matching.tasks_spooled_per_sec", "primary", "1/s", "tasks that found no waiting poller and were stored", "up",
               rate(*SPOOLED), rate(*SPOOLED, by=QUEUE)),
    SignalSpec("matching.tasks_dispatched_per_sec", "primary", "1/s", "tasks handed to workers", "down",
               POLLS_FILLED, rate("poll_success", USER, USER_QUEUES, by=QUEUE), "metrics or api"),
    SignalSpec("poller.poll_success_rate", "primary", "ratio", "share of long polls that got a task", None,
               complement(EMPTY_SHARE)),
    SignalSpec("poller.poll_timeout_rate", "primary", "ratio", "share of long polls that ended empty", None, EMPTY_SHARE),
    SignalSpec("poller.long_poll_latency_ms", "primary", "ms", "time a long poll lasts (p99; waiting is its purpose)", None,
               ms(Quantile(0.99, FRONTEND_LONG_POLLS))),
    SignalSpec("poller.pending_polls", "primary", "count", "long polls that wait for a task right now", "down",
               Gauge(server("pending_polls", USER, USER_QUEUES), "sum", (), SERVER_PRESENCE_METRIC),
               Gauge(server("pending_polls", USER, USER_QUEUES), "sum", QUEUE)),
    SignalSpec("poller.recent_pollers", "primary", "count", "pollers seen on task queues in the last 75 seconds", "down",
               source="api"),
    SignalSpec("poller.sync_match_rate", "primary", "ratio", "share of dispatched tasks that never had to be stored", "down",
               Ratio(rate("poll_success_sync", USER, USER_QUEUES), POLLS_FILLED)),
    SignalSpec("workflow_tasks.failed_per_sec", "primary", "1/s", "workflow tasks failed (first attempts only)", "up",
               rate("failed_workflow_tasks", USER), rate("failed_workflow_tasks", USER, by=("namespace", "failure"))),
    SignalSpec("workflow_tasks.timed_out_per_sec", "primary", "1/s", "workflow tasks a worker took and did not answer", "up",
               rate("start_to_close_timeout", "operation=TimerActiveTaskWorkflowTaskTimeout", USER)),
    SignalSpec("workflow_tasks.attempts_p99", "primary", "count", "attempts a workflow task needs", "up",
               Quantile(0.99, server("workflow_task_attempt", USER), timer=False)),
    SignalSpec("activity_tasks.failed_per_sec", "primary", "1/s", "activity attempts failed", "up",
               rate("activity_task_fail", USER),
               rate("activity_task_fail", USER, by=("namespace", "taskqueue", "activityType"))),
    SignalSpec("activity_tasks.completed_per_sec", "primary", "1/s", "activities completed", "down",
               rate("activity_success", USER)),
    SignalSpec("workflow_tasks.completed_per_sec", "primary", "1/s", "workflow tasks completed", "down",
               rate("workflow_tasks_completed", USER)),
    SignalSpec("persistence.latency_p95_ms", "primary", "ms", "time a database call takes", "up",
               ms(Quantile(0.95, server("persistence_latency")))),
    SignalSpec("persistence.latency_p99_ms", "primary", "ms", "time a database call takes", "up",
               ms(Quantile(0.99, server("persistence_latency")))),
    SignalSpec("persistence.error_rate_per_sec", "primary", "1/s", "database calls failed, without contention and limits", "up",
               rate(*PERSISTENCE_ERRORS), rate(*PERSISTENCE_ERRORS, by=("operation", "error_type"))),
    SignalSpec("persistence.request_rate_per_sec", "primary", "1/s", "database calls, refused ones included", None,
               rate("persistence_requests")),
    SignalSpec("persistence.throttled_per_sec", "primary", "1/s", "database calls refused by the server's own limit", "up",
               rate("persistence_errors_resource_exhausted"),
               rate("persistence_errors_resource_exhausted", by=("resource_exhausted_cause", "service_name"))),
    SignalSpec("persistence.retry_rate_per_sec", "primary", "1/s", "database calls repeated", "up", source="none"),
    SignalSpec("demand.starts_per_sec", "primary", "1/s", "workflow starts asked for", None,
               rate("service_requests", "service_name=frontend",
                     "operation=~StartWorkflowExecution|SignalWithStartWorkflowExecution|ExecuteMultiOperation", USER)),
    SignalSpec("demand.tasks_added_per_sec", "primary", "1/s", "tasks put on task queues", None,
               rate(*TASKS_ADDED), rate(*TASKS_ADDED, by=QUEUE), "metrics or api"),
    SignalSpec("demand.requests_per_sec", "primary", "1/s", "requests that bring work: starts and signals", None,
               rate("service_requests", "service_name=frontend", f"operation=~{BRINGS_WORK}", USER)),
    SignalSpec("demand.rejected_per_sec", "primary", "1/s", "requests that bring work and failed by the server's fault", "up",
               Plus((rate("service_errors", "service_name=frontend", f"operation=~{BRINGS_WORK}", USER),
                     rate(*THROTTLED, f"operation=~{BRINGS_WORK}", USER)))),
)  # fmt: skip

_AMPLIFIERS = (
    SignalSpec("persistence_contention.occ_conflicts_per_sec", "amplifier", "1/s", "optimistic conflicts", "up", source="none"),
    SignalSpec("persistence_contention.cas_failures_per_sec", "amplifier", "1/s", "conditional writes that lost", "up",
               rate("persistence_error_with_type", "error_type=~.*ConditionFailed.*")),
    SignalSpec("persistence_contention.serialization_failures_per_sec", "amplifier", "1/s", "SQLSTATE 40001", "up", source="none"),
    SignalSpec("connection_pool.utilization_pct", "amplifier", "percent", "database connections in use", "up",
               Scale(Ratio(Gauge(server("persistence_sql_in_use"), "sum"),
                           Gauge(server("persistence_sql_max_open_conn"), "sum")), 100.0)),
    SignalSpec("connection_pool.wait_count", "amplifier", "count", "waits for a connection", "up", source="none"),
    SignalSpec("connection_pool.wait_duration_ms", "amplifier", "ms", "time waited for a connection", "up", source="none"),
    SignalSpec("connection_pool.opens_per_sec", "amplifier", "1/s", "connections opened", "up", source="none"),
    SignalSpec("connection_pool.closes_per_sec", "amplifier", "1/s", "connections closed", "up", source="none"),
    SignalSpec("queue.task_backlog_depth", "amplifier", "count", "history tasks pending a queue (p99, once a minute)", "up",
               Quantile(0.99, server("pending_tasks"), timer=False)),
    SignalSpec("queue.retry_time_spent_sec", "amplifier", "s", "time spent in retries", "up", source="none"),
    SignalSpec("queue.task_attempts_p99", "amplifier", "count", "attempts a history task needs", "up",
               Quantile(0.99, server("task_attempt", USER), timer=False)),
    SignalSpec("queue.throttled_per_sec", "amplifier", "1/s", "history attempts refused, busy workflows included", "up",
               rate("task_errors_throttled"), rate("task_errors_throttled", by=("resource_exhausted_cause",))),
    SignalSpec("worker.poller_concurrency", "amplifier", "count", "pollers of all workers", None, sdk_gauge("temporal_num_pollers")),
    SignalSpec("worker.task_slots_available", "amplifier", "count", "free slots of all workers", "down",
               sdk_gauge("temporal_worker_task_slots_available", "worker_type!=LocalActivityWorker")),
    SignalSpec("worker.task_slots_used", "amplifier", "count", "used slots of all workers", None,
               sdk_gauge("temporal_worker_task_slots_used", "worker_type!=LocalActivityWorker")),
    SignalSpec("cache.hit_rate", "amplifier", "ratio", "history cache hits", "down",
               complement(Ratio(rate("cache_miss", MUTABLE_STATE), rate("cache_requests", MUTABLE_STATE)))),
    SignalSpec("cache.evictions_per_sec", "amplifier", "1/s", "history cache evictions", "up", source="none"),
    SignalSpec("cache.size_bytes", "amplifier", "bytes", "history cache size", None, source="none"),
    SignalSpec("shard.hot_shard_ratio", "amplifier", "ratio", "share of load on the hottest shard", "up", source="none"),
    SignalSpec("shard.lock_latency_p99_ms", "amplifier", "ms", "wait for a shard's lock", "up",
               ms(Quantile(0.99, server("lock_latency", "operation=ShardInfo")))),
    SignalSpec("shard.semaphore_latency_p99_ms", "amplifier", "ms", "wait for a shard's one write slot", "up",
               ms(Quantile(0.99, server("semaphore_latency", "operation=ShardInfo")))),
    SignalSpec("grpc.in_flight_requests", "amplifier", "count", "requests in the frontend, without polls", "up",
               Gauge(server("service_pending_requests", "service_name=frontend", "operation!~Poll.*"), "sum", (), SERVER_PRESENCE_METRIC)),
    SignalSpec("grpc.server_queue_depth", "amplifier", "count", "requests queued in gRPC", "up", source="none"),
    SignalSpec("runtime.goroutines", "amplifier", "count", "goroutines of the server process", "up",
               Gauge(server("num_goroutines"), "max")),
    SignalSpec("runtime.blocked_goroutines", "amplifier", "count", "blocked goroutines", "up", source="none"),
    SignalSpec("host.cpu_throttle_pct", "amplifier", "percent", "time throttled by the CPU quota", "up", source="none"),
    SignalSpec("host.memory_rss_bytes", "amplifier", "bytes", "resident memory", "up", source="none"),
    SignalSpec("host.gc_pause_ms", "amplifier", "ms", "garbage collection pauses (p99)", "up",
               ms(Quantile(0.99, server("memory_gc_pause_ms")))),
    SignalSpec("clients.mistakes_per_sec", "amplifier", "1/s", "requests refused because the client asked wrongly", "up",
               rate(*MISTAKES), rate(*MISTAKES, by=("operation", "error_type"))),
    SignalSpec("throttling.rate_limit_events_per_sec", "amplifier", "1/s", "refusals by any limit in any service", "up",
               rate("service_errors_resource_exhausted"),
               rate("service_errors_resource_exhausted", by=("resource_exhausted_cause", "resource_exhausted_scope"))),
    SignalSpec("throttling.admission_rejects_per_sec", "amplifier", "1/s", "refusals because the system is overloaded", "up",
               rate("service_errors_resource_exhausted", "resource_exhausted_cause=SystemOverloaded")),
    SignalSpec("deploy.task_restarts", "amplifier", "count", "restarts of server processes", "up", source="none"),
    SignalSpec("deploy.membership_changes_per_min", "amplifier", "1/min", "changes of the server's membership", "up",
               Scale(rate("membership_changed_count"), 60.0)),
    SignalSpec("deploy.leader_changes_per_min", "amplifier", "1/min", "changes of leadership", "up", source="none"),
    SignalSpec("log_patterns.top_pattern_count", "amplifier", "count", "lines of the commonest error pattern", "up", source="logs"),
)  # fmt: skip

_WORKER = (
    SignalSpec("workers.wft_schedule_to_start_p95_ms", "worker", "ms", "wait of workflow tasks that started", "up",
               sdk_p95("temporal_workflow_task_schedule_to_start_latency")),
    SignalSpec("workers.activity_schedule_to_start_p95_ms", "worker", "ms", "wait of activity tasks that started", "up",
               sdk_p95("temporal_activity_schedule_to_start_latency")),
    SignalSpec("workers.wft_execution_p95_ms", "worker", "ms", "time workflow code takes for a task", "up",
               sdk_p95("temporal_workflow_task_execution_latency")),
    SignalSpec("workers.activity_execution_p95_ms", "worker", "ms", "time activity code takes", "up",
               sdk_p95("temporal_activity_execution_latency")),
    SignalSpec("workers.workflow_slots_available", "worker", "count", "free workflow task slots", "down",
               sdk_gauge(AVAILABLE, WORKFLOW_SLOTS), sdk_rows(AVAILABLE, WORKFLOW_SLOTS)),
    SignalSpec("workers.workflow_slots_used", "worker", "count", "used workflow task slots", None,
               sdk_gauge(USED, WORKFLOW_SLOTS), sdk_rows(USED, WORKFLOW_SLOTS)),
    SignalSpec("workers.activity_slots_available", "worker", "count", "free activity slots", "down",
               sdk_gauge(AVAILABLE, ACTIVITY_SLOTS), sdk_rows(AVAILABLE, ACTIVITY_SLOTS)),
    SignalSpec("workers.activity_slots_used", "worker", "count", "used activity slots", None,
               sdk_gauge(USED, ACTIVITY_SLOTS), sdk_rows(USED, ACTIVITY_SLOTS)),
    SignalSpec("workers.workflow_pollers", "worker", "count", "workflow task pollers, sticky ones included", "down",
               sdk_gauge("temporal_num_pollers", "poller_type=~.*workflow.*")),
    SignalSpec("workers.activity_pollers", "worker", "count", "activity task pollers", "down",
               sdk_gauge("temporal_num_pollers", "poller_type=activity_task")),
    SignalSpec("worker_cache.sticky_size", "worker", "count", "workflows held in the sticky caches", None,
               sdk_gauge("temporal_sticky_cache_size")),
    SignalSpec("worker_cache.sticky_hit_rate", "worker", "ratio", "sticky cache hits", "down",
               Ratio(STICKY_HITS, Plus((STICKY_HITS, STICKY_MISSES)))),
    SignalSpec("worker_cache.sticky_miss_per_sec", "worker", "1/s", "workflows that had to be replayed", "up", STICKY_MISSES),
    SignalSpec("worker_cache.forced_evictions_per_sec", "worker", "1/s", "workflows pushed out of the cache", "up",
               worker_rate("temporal_sticky_cache_total_forced_eviction")),
    SignalSpec("worker_poll.long_poll_latency_ms", "worker", "ms", "time a worker's long poll lasts (p95, tops out at 10 s)", None,
               sdk_p95("temporal_long_request_latency")),
    SignalSpec("worker_poll.long_poll_failures_per_sec", "worker", "1/s", "long polls that failed", "up",
               worker_rate("temporal_long_request_failure")),
    SignalSpec("worker_tasks.workflow_task_failures_per_sec", "worker", "1/s", "workflow tasks failed in the worker", "up",
               worker_rate("temporal_workflow_task_execution_failed"),
               worker_rate("temporal_workflow_task_execution_failed", by=("task_queue", "workflow_type", "failure_reason"))),
    SignalSpec("worker_tasks.activity_failures_per_sec", "worker", "1/s", "activity attempts failed in the worker", "up",
               worker_rate("temporal_activity_execution_failed"),
               worker_rate("temporal_activity_execution_failed", by=("task_queue", "activity_type"))),
    SignalSpec("version.backlog_count", "worker", "count", "tasks that wait, by the worker version they wait for", "up",
               source="api"),
    SignalSpec("version.pollers", "worker", "count", "pollers seen in the last 75 seconds, by worker version", "down",
               source="api"),
)  # fmt: skip

SPECS: MappingProxyType[str, SignalSpec] = MappingProxyType({s.id: s for s in (*_PRIMARY, *_AMPLIFIERS, *_WORKER)})


@cache
def ids(kind: Kind) -> tuple[str, ...]:
    """All ids of a kind, in the table's order."""
    return tuple(s.id for s in SPECS.values() if s.kind == kind)
