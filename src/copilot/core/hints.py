"""What would turn a signal on where it is missing, or what it means that nothing measures it. Facts of server 1.32.

A signal's own entry, else its group's, else what is true of all signals of its source. Another setup may need more than
one of the things named.
"""

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
