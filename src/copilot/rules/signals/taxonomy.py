"""The signal table: one row per signal, with everything that is particular to it. It describes Temporal server 1.32."""

from functools import cache
from types import MappingProxyType
from typing import get_args

from copilot.rules.signals.expressions import (
    DATABASE_CALLS,
    SERVER_PRESENCE_METRIC,
    WORKER_PRESENCE_METRIC,
    Beyond,
    Expression,
    Gauge,
    Plus,
    Quantile,
    Rate,
    Ratio,
    Scale,
    Selector,
    match,
    rate,
    server,
)
from copilot.rules.signals.limits import LIMITS
from copilot.rules.signals.spec import Card, CardGroup, Kind, Measure, SignalSpec

ONCE_A_MINUTE = "the server writes it about once a minute, so wait a minute after its start"
BACKLOG_METRICS = (
    'metrics alone have it once a minute (dynamic config matching.backlogMetricsEmitInterval, for example "3s") and not in a '
    "server's first minute"
)
API_RATES = "[clusters.temporal] address alone gives it too, without sticky queues"
EVERY_PROCESS = "each process counts its own database calls, so leave none out"
VERSIONS = "it also needs permission to list and describe worker deployments"
HEARTBEATS = "worker heartbeats give it too, up to a minute old: [clusters.temporal] address, server 1.30 or later"
VERSION_HEARTBEATS = "workers give it by their heartbeats, where some have a version: server 1.30 or later"
FIRST_CACHED = "it appears with the first workflow a worker caches"
FIRST_WORKFLOW_TASK = "it appears with the first workflow task"
FIRST_ACTIVITY = "it appears with the first activity"
LATENCY_PARTS = (
    "server 1.32 does not measure it (the buckets of state_transition_count are counts); its parts are "
    "history.write_latency_p99_ms and shard.semaphore_latency_p99_ms"
)
SQL_POOL = "server 1.32 exports the SQL pool's size and use only; a pooler's own metrics show waits and turnover"
HOST = "server 1.32 does not export it; container or node metrics have it, which this release does not read"
CERTIFICATES = "the server checks them where global.tls.expirationChecks is set"

TAXONOMY_VERSION = "1"

LONG_POLLS = "Poll.*|GetWorkflowExecutionHistory|UpdateWorkflowExecution|QueryWorkflow"
HOUSEKEEPING = (
    "RecordWorkerHeartbeat|ShutdownWorker|Check|DescribeTaskQueue|GetClusterInfo|GetSystemInfo|DescribeNamespace"
    "|ListNamespaces|ListWorkers|ListWorkerDeployments|DescribeWorkerDeployment|DescribeWorkerDeploymentVersion"
    "|ListActivityExecutions|ListWorkflowExecutions"
)
CREATES_WORK = "StartWorkflowExecution|SignalWithStartWorkflowExecution|SignalWorkflowExecution"
# These wait for a worker: without one they end in errors that are not the server's fault.
NEEDS_WORKER = "UpdateWorkflowExecution|QueryWorkflow|ExecuteMultiOperation"
BENIGN_PERSISTENCE = (
    ".*NotFound|.*Canceled|.*ConditionFailed.*|.*ShardOwnershipLost.*|.*ResourceExhausted|.*AlreadyStarted.*"
)
QUEUE = ("namespace", "taskqueue", "task_type")

# Namespaces and task queues of Temporal itself, as tally sanitizes them and as other reporters write them.
USER = "namespace!~temporal.system|system|_unknown_|temporal-system"
USER_QUEUES = "taskqueue!~temporal.sys.*|default.worker.tq"
OWN_QUEUES = "taskqueue=~temporal.sys.*|default.worker.tq"


def worker(family: str, *where: str) -> Selector:
    return Selector("worker", family, match("task_queue!~temporal.sys.*|default.worker.tq", *where))


def worker_rate(family: str, *where: str, by: tuple[str, ...] = ()) -> Rate:
    return Rate(worker(family, *where), by, WORKER_PRESENCE_METRIC)


def ms(of: Expression) -> Scale:
    return Scale(of, 1000.0)


def complement(of: Expression) -> Scale:
    return Scale(of, -1.0, 1.0)


CLOSED = {
    name: rate(family, "operation=CompletionStats", USER)
    for name, family in (
        ("success", "workflow_success"),
        ("failed", "workflow_failed"),
        ("timed_out", "workflow_timeout"),
        ("terminated", "workflow_terminate"),
        ("canceled", "workflow_cancel"),
    )
}
CLOSED_BY = ("namespace", "taskqueue", "workflowType")
POLLS_FILLED = rate("poll_success", USER, USER_QUEUES)
POLLS_EMPTY = rate("poll_timeouts", USER, USER_QUEUES)
EMPTY_SHARE = Ratio(POLLS_EMPTY, Plus((POLLS_EMPTY, POLLS_FILLED)))
FRONTEND_LATENCY = server("service_latency", "service_name=frontend", f"operation!~{LONG_POLLS}|{HOUSEKEEPING}", USER)
FRONTEND_LONG_POLLS = server(
    "service_latency", "service_name=frontend", "operation=~Poll(Workflow|Activity)TaskQueue", USER
)
FRONTEND_ERRORS = ("service_errors", "service_name=frontend", f"operation!~Poll.*|{NEEDS_WORKER}|{HOUSEKEEPING}", USER)
THROTTLED = (
    "service_errors_resource_exhausted",
    "service_name=frontend",
    "resource_exhausted_cause!=BusyWorkflow",
)
# Lists and counts have a small limit of their own, and no work waits for them.
NOT_VISIBILITY = "operation!~(List|Scan|Count).*Executions"
# Callers that gave up after seconds: a server that is too slow to start a workflow counts no error of its own.
GAVE_UP = rate(
    "service_error_with_type",
    "service_name=frontend",
    f"operation=~{CREATES_WORK}",
    "error_type=~(serviceerror|context).(Canceled|DeadlineExceeded)",
    USER,
)
MISTAKES = (
    "service_error_with_type",
    "service_name=frontend",
    f"operation!~Poll.*|{HOUSEKEEPING}",
    "error_type=~serviceerror.(NotFound|NamespaceNotFound|WorkflowExecutionAlreadyStarted|AlreadyExist.*|InvalidArgument"
    "|FailedPrecondition|PermissionDenied|QueryFailed|WorkflowNotReady)",
    USER,
)
# Queries and updates are never stored: a worker answers them while the caller waits, or their caller gives up.
LIVE = "QueryWorkflow|UpdateWorkflowExecution"
NO_ANSWER = "error_type=~(serviceerror|context).(Canceled|DeadlineExceeded)"
LISTS = "operation=~(List|Scan|Count)WorkflowExecutions|CountSchedules|ListSchedules"
LIVE_UNANSWERED = ("service_error_with_type", "service_name=frontend", f"operation=~{LIVE}", NO_ANSWER, USER)
# What matching answers a query where no worker polls: nothing is wrong with the query.
NO_WORKER = (
    "service_error_with_type", "service_name=frontend", "operation=QueryWorkflow",
    "error_type=~serviceerror.FailedPrecondition", USER,
)  # fmt: skip
# Calls that one service of the server makes to another for a client's or a worker's sake. None of them waits for a worker.
UNANSWERED = (
    "client_errors",
    "operation=~MatchingClientAdd(Workflow|Activity)Task|HistoryClient(Start|Signal|SignalWithStart)WorkflowExecution"
    "|HistoryClientRespond.*|HistoryClientRecord(Workflow|Activity)TaskStarted",
    "error_type=~(serviceerror|context).(DeadlineExceeded|Unavailable)",
)
TASKS_ADDED = ("tasks_added", "forwarded=false", USER, USER_QUEUES)
SPOOLED = (*TASKS_ADDED, "task_add_result=backlog")
WRITES = "operation=~(Create|Update|ConflictResolve|Set)WorkflowExecution"
# A history process that lost its shards while it was frozen fails UpdateShard: no fault of the database.
PERSISTENCE_ERRORS = ("persistence_error_with_type", f"error_type!~{BENIGN_PERSISTENCE}", "operation!=UpdateShard")
MUTABLE_STATE = "cache_type=mutablestate"
STICKY_HITS = worker_rate("temporal_sticky_cache_hit")
STICKY_MISSES = worker_rate("temporal_sticky_cache_miss")


def backlog_age(task_type: str) -> Gauge:
    return Gauge(server("approximate_backlog_age_seconds", f"task_type={task_type}", USER, USER_QUEUES), "max")


def backlog_age_rows(task_type: str) -> Gauge:
    return Gauge(backlog_age(task_type).series, "max", QUEUE)


def sdk_gauge(family: str, *where: str) -> Gauge:
    return Gauge(worker(family, *where), "sum")


def sdk_rows(family: str, *where: str) -> Gauge:
    return Gauge(worker(family, *where), "sum", ("namespace", "task_queue"))


def sdk_p95(family: str) -> Scale:
    return ms(Quantile(0.95, worker(family)))


TASKS_OFFERED = ("syncmatch_latency", USER, USER_QUEUES)
TASKS_STORED = ("task_write_latency", USER, USER_QUEUES)
# Temporal's own per-namespace worker polls each user namespace with two pollers a task type.
OWN_POLLS = 4.0
POLL_REQUESTS = server(
    "service_pending_requests", "service_name=frontend", "operation=~Poll(Workflow|Activity)TaskQueue", USER
)


def answered(name: str, operation: str) -> Measure:
    """Tasks by the requests that answer them; refused answers count too."""
    where = ("service_name=frontend", f"operation=~{operation}", USER)
    return Measure(name, rate("service_requests", *where), emitted_by="frontend")


ACTIVITY_TIMED_OUT = tuple(
    rate(f"{kind}_timeout", "operation=TimerActiveTaskActivityTimeout", USER)
    for kind in ("start_to_close", "heartbeat", "schedule_to_start", "schedule_to_close")
)
ARCHIVED = ("archiver_archive_latency", "status=~err|rate_limit_exceeded")
NEXUS_FAILED = ("nexus_outbound_requests", "outcome!~successful|pending|operation.unsuccessful.*|sync.success")
VISIBILITY_WRITES = (
    "visibility_persistence_error_with_type", "service_name=history",
    f"error_type!~{BENIGN_PERSISTENCE}|.*InvalidArgument",
)  # fmt: skip
# One gauge of the whole process in Go, written under the queue and workflow type that came last; one a worker elsewhere.
STICKY_SIZE = Plus(
    (
        Gauge(worker("temporal_sticky_cache_size", "client_name!=temporal_go"), "sum", (), WORKER_PRESENCE_METRIC),
        Gauge(worker("temporal_sticky_cache_size", "client_name=temporal_go"), "each_max", (), WORKER_PRESENCE_METRIC),
    )
)
SERVER_RESTARTS = Gauge(server(SERVER_PRESENCE_METRIC), "resets", ("instance",), SERVER_PRESENCE_METRIC)
SHARDS_OWNED = Gauge(server("numshards_gauge"), "sum", ("instance",))
RESTARTS = Gauge(worker("temporal_request"), "resets", ("instance",), WORKER_PRESENCE_METRIC)
WORKFLOW_SLOTS = "worker_type=WorkflowWorker"
ACTIVITY_SLOTS = "worker_type=ActivityWorker"
AVAILABLE = "temporal_worker_task_slots_available"
USED = "temporal_worker_task_slots_used"


_PRIMARY = (
    SignalSpec("state_transitions.throughput_per_sec", "primary", "1/s", "workflow state transitions written", "down",
               rate("state_transition_count", USER, suffix="_count"),
               emitted_by="history", card=Card("Progress", 3, "State transitions")),
    SignalSpec("state_transitions.latency_p95_ms", "primary", "ms", "time a state transition takes", "up",
               source="none", hint=LATENCY_PARTS),
    SignalSpec("state_transitions.latency_p99_ms", "primary", "ms", "time a state transition takes", "up",
               source="none", hint=LATENCY_PARTS),
    SignalSpec("workflow_completion.completion_rate", "primary", "ratio", "share of closed workflows that succeeded", "down",
               Ratio(CLOSED["success"], Plus(tuple(CLOSED.values()))), emitted_by="history"),
    SignalSpec("workflow_completion.success_per_sec", "primary", "1/s", "workflows closed with success", "down",
               CLOSED["success"], emitted_by="history", card=Card("Progress", 1, "Workflows completed")),
    SignalSpec("workflow_completion.failed_per_sec", "primary", "1/s", "workflows failed by their own code", "up",
               CLOSED["failed"], rate("workflow_failed", "operation=CompletionStats", USER, by=CLOSED_BY),
               emitted_by="history", card=Card("Errors", 2, "Workflows failed")),
    SignalSpec("workflow_completion.timed_out_per_sec", "primary", "1/s", "workflows ended by their timeout", "up",
               CLOSED["timed_out"], rate("workflow_timeout", "operation=CompletionStats", USER, by=CLOSED_BY),
               emitted_by="history"),
    SignalSpec("workflow_completion.terminated_per_sec", "primary", "1/s", "workflows terminated by a user or client", None,
               CLOSED["terminated"], emitted_by="history"),
    SignalSpec("history.backlog_age_sec", "primary", "s", "age of the oldest history task in the queue", "up",
               source="none", hint="server 1.32 does not export it (a later one does: shardinfo_immediate_queue_backlog_age); history.task_queue_latency_p99_sec covers completed tasks only"),
    SignalSpec("history.task_processing_rate_per_sec", "primary", "1/s", "history task attempts (retries count: it can rise while work stops)", None,
               rate("task_requests", USER), emitted_by="history"),
    SignalSpec("history.tasks_acked_per_sec", "primary", "1/s", "history tasks completed", "down",
               rate("task_latency_queue", USER, suffix="_count"), rate("task_latency_queue", USER, by=("instance",), suffix="_count"),
               emitted_by="history"),
    SignalSpec("history.write_latency_p99_ms", "primary", "ms", "time a workflow write takes in the database", "up",
               ms(Quantile(0.99, server("persistence_latency", "service_name=history", WRITES))), emitted_by="history"),
    SignalSpec("history.task_queue_latency_p99_sec", "primary", "s", "time from due to done of completed transfer tasks", "up",
               Quantile(0.99, server("task_latency_queue", "operation=~TransferActive.*", USER)), emitted_by="history"),
    SignalSpec("history.throttled_per_sec", "primary", "1/s", "history task attempts rejected by a limit", "up",
               rate("task_errors_throttled", "resource_exhausted_cause!=BusyWorkflow"),
               rate("task_errors_throttled", "resource_exhausted_cause!=BusyWorkflow", by=("resource_exhausted_cause",)),
               emitted_by="history"),
    SignalSpec("history.shard_churn_rate_per_sec", "primary", "1/s", "shards acquired and released", "up",
               Plus((rate("sharditem_created_count"), rate("sharditem_removed_count"), rate("shard_closed_count"))),
               emitted_by="history"),
    SignalSpec("frontend.reachable", "primary", "bool", "the frontend answers its health check", "down",
               source="api", hint="a load balancer must let grpc.health.v1 through"),
    SignalSpec("frontend.error_rate_per_sec", "primary", "1/s", "requests failed by the server's fault", "up",
               Plus((rate(*FRONTEND_ERRORS), GAVE_UP)), rate(*FRONTEND_ERRORS, by=("operation",)),
               emitted_by="frontend", card=Card("Errors", 1, "Server errors")),
    SignalSpec("frontend.request_rate_per_sec", "primary", "1/s", "requests of clients and workers, without long polls", None,
               rate("service_requests", "service_name=frontend", f"operation!~Poll.*|{HOUSEKEEPING}", USER), emitted_by="frontend"),
    SignalSpec("frontend.throttled_per_sec", "primary", "1/s", "requests and polls rejected by a rate limit, without lists and counts of workflows", "up",
               rate(*THROTTLED, NOT_VISIBILITY, USER),
               rate(*THROTTLED, NOT_VISIBILITY, USER, by=("resource_exhausted_cause", "resource_exhausted_scope", "operation")),
               emitted_by="frontend"),
    SignalSpec("frontend.latency_p95_ms", "primary", "ms", "time the frontend takes to answer, without long polls", "up",
               ms(Quantile(0.95, FRONTEND_LATENCY)), emitted_by="frontend"),
    SignalSpec("frontend.latency_p99_ms", "primary", "ms", "time the frontend takes to answer, without long polls", "up",
               ms(Quantile(0.99, FRONTEND_LATENCY)), emitted_by="frontend", card=Card("Latency", 1, "Frontend p99")),
    SignalSpec("matching.workflow_backlog_age_sec", "primary", "s", "age of the oldest workflow task in the backlog", "up",
               backlog_age("Workflow"), backlog_age_rows("Workflow"),
               source="api or metrics", emitted_by="matching", hint=BACKLOG_METRICS, card=Card("Backlog", 2, "Oldest workflow task")),
    SignalSpec("matching.activity_backlog_age_sec", "primary", "s", "age of the oldest activity task in the backlog", "up",
               backlog_age("Activity"), backlog_age_rows("Activity"),
               source="api or metrics", emitted_by="matching", hint=BACKLOG_METRICS, card=Card("Backlog", 3, "Oldest activity task")),
    SignalSpec("matching.backlog_count", "primary", "count", "tasks in the backlog of all task queues", "up",
               Gauge(server("approximate_backlog_count", USER, USER_QUEUES), "sum"),
               Gauge(server("approximate_backlog_count", USER, USER_QUEUES), "sum", QUEUE),
               source="api or metrics", hint=BACKLOG_METRICS, card=Card("Backlog", 1, "Tasks in backlog")),
    SignalSpec("matching.tasks_spooled_per_sec", "primary", "1/s", "tasks stored because no poller was waiting", "up",
               rate(*SPOOLED), rate(*SPOOLED, by=QUEUE), emitted_by="matching",
               substitute=Measure("task_write_latency_count", rate(*TASKS_STORED, suffix="_count"),
                                     rate(*TASKS_STORED, by=QUEUE, suffix="_count"), "matching")),
    SignalSpec("matching.tasks_dispatched_per_sec", "primary", "1/s", "tasks dispatched to workers", "down", POLLS_FILLED,
               rate("poll_success", USER, USER_QUEUES, by=QUEUE),
               source="metrics or api", emitted_by="matching", hint=API_RATES, card=Card("Progress", 2, "Tasks dispatched")),
    SignalSpec("poller.poll_success_rate", "primary", "ratio", "share of long polls that got a task", None,
               complement(EMPTY_SHARE), emitted_by="matching"),
    SignalSpec("poller.poll_timeout_rate", "primary", "ratio", "share of long polls that ended empty", None, EMPTY_SHARE,
               emitted_by="matching"),
    SignalSpec("poller.long_poll_latency_ms", "primary", "ms", "time a long poll lasts (p99; polls wait by design)", None,
               ms(Quantile(0.99, FRONTEND_LONG_POLLS)), emitted_by="frontend"),
    SignalSpec("poller.pending_polls", "primary", "count", "long polls waiting for a task right now", "down",
               Gauge(server("pending_polls", USER, USER_QUEUES), "sum", (), SERVER_PRESENCE_METRIC),
               Gauge(server("pending_polls", USER, USER_QUEUES), "sum", QUEUE),
               emitted_by="matching", hint="it appears with the first worker that polls", card=Card("Workers", 1, "Pending polls"),
               substitute=Measure("service_pending_requests of polls", Beyond(Gauge(POLL_REQUESTS, "sum", ("namespace",)), OWN_POLLS),
                                     emitted_by="frontend")),
    SignalSpec("poller.recent_pollers", "primary", "count", "pollers seen on task queues in the last 75 seconds", "down",
               source="api", hint="it appears with the first poller, or with the first task that waits for one"),
    SignalSpec("poller.sync_match_rate", "primary", "ratio", "share of dispatched tasks that were never stored", "down",
               Ratio(rate("poll_success_sync", USER, USER_QUEUES), POLLS_FILLED), emitted_by="matching"),
    SignalSpec("workflow_tasks.failed_per_sec", "primary", "1/s", "workflow tasks failed (first attempts only)", "up",
               rate("failed_workflow_tasks", USER), rate("failed_workflow_tasks", USER, by=("namespace", "failure")),
               emitted_by="history", dashboard="workers"),
    SignalSpec("workflow_tasks.timed_out_per_sec", "primary", "1/s", "workflow tasks that timed out in a worker", "up",
               rate("start_to_close_timeout", "operation=TimerActiveTaskWorkflowTaskTimeout", USER),
               emitted_by="history", dashboard="workers"),
    SignalSpec("workflow_tasks.attempts_p99", "primary", "count", "attempts a workflow task needs", "up",
               Quantile(0.99, server("workflow_task_attempt", USER), timer=False), emitted_by="history", dashboard="workers"),
    SignalSpec("activity_tasks.failed_per_sec", "primary", "1/s", "activity attempts failed", "up",
               rate("activity_task_fail", USER), rate("activity_task_fail", USER, by=("namespace", "taskqueue", "activityType")),
               emitted_by="history", dashboard="workers",
               substitute=answered("service_requests of RespondActivityTaskFailed", "RespondActivityTaskFailed.*")),
    SignalSpec("activity_tasks.timed_out_per_sec", "primary", "1/s", "activity attempts that timed out", "up",
               rate("activity_task_timeout", USER), rate("activity_task_timeout", USER, by=("namespace", "taskqueue", "activityType", "timeout_type")),
               emitted_by="history", dashboard="workers",
               substitute=Measure("timeouts of activity timers", Plus(ACTIVITY_TIMED_OUT), emitted_by="history")),
    SignalSpec("activity_tasks.completed_per_sec", "primary", "1/s", "activities completed", "down",
               rate("activity_success", USER), emitted_by="history", dashboard="workers",
               substitute=answered("service_requests of RespondActivityTaskCompleted", "RespondActivityTaskCompleted.*")),
    SignalSpec("workflow_tasks.completed_per_sec", "primary", "1/s", "workflow tasks completed", "down",
               rate("workflow_tasks_completed", USER), emitted_by="history", dashboard="workers",
               substitute=answered("service_requests of RespondWorkflowTaskCompleted", "RespondWorkflowTaskCompleted")),
    SignalSpec("persistence.latency_p95_ms", "primary", "ms", "time a database call takes", "up",
               ms(Quantile(0.95, server("persistence_latency"))), hint=EVERY_PROCESS, dashboard="persistence"),
    SignalSpec("persistence.latency_p99_ms", "primary", "ms", "time a database call takes", "up",
               ms(Quantile(0.99, server("persistence_latency"))),
               hint=EVERY_PROCESS, dashboard="persistence", card=Card("Latency", 2, "Persistence p99")),
    SignalSpec("persistence.error_rate_per_sec", "primary", "1/s", "database calls failed, without contention and limits", "up",
               rate(*PERSISTENCE_ERRORS), rate(*PERSISTENCE_ERRORS, by=("operation", "error_type")),
               hint=EVERY_PROCESS, dashboard="persistence"),
    SignalSpec("persistence.request_rate_per_sec", "primary", "1/s", "database calls, rejected ones included", None,
               DATABASE_CALLS, hint=EVERY_PROCESS, dashboard="persistence"),
    SignalSpec("persistence.throttled_per_sec", "primary", "1/s", "database calls rejected by the server's own limit", "up",
               rate("persistence_errors_resource_exhausted"),
               rate("persistence_errors_resource_exhausted", by=("resource_exhausted_cause", "service_name")),
               hint=EVERY_PROCESS, dashboard="persistence"),
    SignalSpec("persistence.retry_rate_per_sec", "primary", "1/s", "database calls retried", "up",
               source="none", hint="server 1.32 counts no retries; they show as history.task_processing_rate_per_sec rising above history.tasks_acked_per_sec"),
    SignalSpec("demand.starts_per_sec", "primary", "1/s", "workflow starts requested", None,
               rate("service_requests", "service_name=frontend", "operation=~StartWorkflowExecution|SignalWithStartWorkflowExecution|ExecuteMultiOperation", USER),
               emitted_by="frontend", card=Card("Demand", 1, "Workflow starts")),
    SignalSpec("demand.tasks_added_per_sec", "primary", "1/s", "tasks added to task queues", None, rate(*TASKS_ADDED),
               rate(*TASKS_ADDED, by=QUEUE),
               source="metrics or api", emitted_by="matching", hint=API_RATES, card=Card("Demand", 2, "Tasks added"),
               substitute=Measure("syncmatch_latency_count", rate(*TASKS_OFFERED, suffix="_count"),
                                     rate(*TASKS_OFFERED, by=QUEUE, suffix="_count"), "matching")),
    SignalSpec("demand.requests_per_sec", "primary", "1/s", "requests that create work: starts and signals", None,
               rate("service_requests", "service_name=frontend", f"operation=~{CREATES_WORK}", USER), emitted_by="frontend"),
    SignalSpec("demand.rejected_per_sec", "primary", "1/s", "requests that create work and failed by the server's fault", "up",
               Plus((rate("service_errors", "service_name=frontend", f"operation=~{CREATES_WORK}", USER), rate(*THROTTLED, f"operation=~{CREATES_WORK}", USER),
                     GAVE_UP)),
               emitted_by="frontend"),
    SignalSpec("demand.answered_per_sec", "primary", "1/s", "requests that create work and were answered, be it with an error", "down",
               rate("service_latency", "service_name=frontend", f"operation=~{CREATES_WORK}", USER, suffix="_count"), emitted_by="frontend"),
    SignalSpec("queries.requested_per_sec", "primary", "1/s", "queries and updates of workflows", None,
               rate("service_requests", "service_name=frontend", f"operation=~{LIVE}", USER), emitted_by="frontend"),
    SignalSpec("queries.unanswered_per_sec", "primary", "1/s", "queries and updates that no worker answered", "up",
               Plus((rate(*LIVE_UNANSWERED), rate(*NO_WORKER))), rate(*LIVE_UNANSWERED, by=("namespace", "operation")),
               emitted_by="frontend"),
    SignalSpec("visibility.lists_per_sec", "primary", "1/s", "lists and counts of workflows requested", None,
               rate("service_requests", "service_name=frontend", LISTS, USER), emitted_by="frontend"),
    SignalSpec("visibility.lists_failed_per_sec", "primary", "1/s", "lists and counts of workflows that failed by the server's fault", "up",
               Plus((rate("service_errors", "service_name=frontend", LISTS, USER),
                     rate("service_error_with_type", "service_name=frontend", LISTS, NO_ANSWER, USER))),
               emitted_by="frontend"),
    SignalSpec("system_workers.backlog_age_sec", "primary", "s", "age of the oldest task on Temporal's own task queues (schedules, batch jobs, …)", "up",
               Gauge(server("approximate_backlog_age_seconds", OWN_QUEUES), "max", (), SERVER_PRESENCE_METRIC),
               Gauge(server("approximate_backlog_age_seconds", OWN_QUEUES), "max", QUEUE), emitted_by="matching"),
    SignalSpec("system_workers.tasks_dispatched_per_sec", "primary", "1/s", "tasks dispatched to Temporal's own workers", "down",
               rate("poll_success", OWN_QUEUES), rate("poll_success", OWN_QUEUES, by=QUEUE), emitted_by="matching"),
    SignalSpec("system_workers.pending_polls", "primary", "count", "long polls of Temporal's own workers", "down",
               Gauge(server("pending_polls", OWN_QUEUES), "sum", (), SERVER_PRESENCE_METRIC),
               Gauge(server("pending_polls", OWN_QUEUES), "sum", QUEUE), emitted_by="matching"),
)  # fmt: skip

_AMPLIFIERS = (
    SignalSpec("persistence_contention.occ_conflicts_per_sec", "amplifier", "1/s", "conflicts of optimistic concurrency control", "up",
               source="none", hint="server 1.32 does not separate them from conditional writes that lost (cas_failures_per_sec)"),
    SignalSpec("persistence_contention.cas_failures_per_sec", "amplifier", "1/s", "conditional writes that lost", "up",
               rate("persistence_error_with_type", "error_type=~.*ConditionFailed.*"), dashboard="persistence"),
    SignalSpec("persistence_contention.serialization_failures_per_sec", "amplifier", "1/s", "SQLSTATE 40001", "up",
               source="none", hint="server 1.32 does not export SQLSTATEs; the database's own statistics have them"),
    SignalSpec("connection_pool.utilization_pct", "amplifier", "percent", "database connections in use by the process that uses most", "up",
               Scale(Ratio(Gauge(server("persistence_sql_in_use", "db_kind!=visibility"), "max"),
                           Gauge(server("persistence_sql_max_open_conn", "db_kind!=visibility"), "max")), 100.0),
               hint="MySQL and PostgreSQL only, about once a minute: SQLite and Cassandra have no persistence_sql_in_use and persistence_sql_max_open_conn", dashboard="persistence"),
    SignalSpec("connection_pool.wait_count", "amplifier", "count", "waits for a connection", "up", source="none", hint=SQL_POOL),
    SignalSpec("connection_pool.wait_duration_ms", "amplifier", "ms", "time waited for a connection", "up",
               source="none", hint=SQL_POOL),
    SignalSpec("connection_pool.opens_per_sec", "amplifier", "1/s", "connections established", "up", source="none", hint=SQL_POOL),
    SignalSpec("connection_pool.closes_per_sec", "amplifier", "1/s", "connections closed", "up", source="none", hint=SQL_POOL),
    SignalSpec("queue.task_backlog_depth", "amplifier", "count", "history tasks pending in a queue (p99, once a minute)", "up",
               Quantile(0.99, server("pending_tasks"), timer=False), emitted_by="history", hint=ONCE_A_MINUTE),
    SignalSpec("queue.retry_time_spent_sec", "amplifier", "s", "time spent in retries", "up",
               source="none", hint="server 1.32 counts attempts (queue.task_attempts_p99), not the time they take"),
    SignalSpec("queue.task_attempts_p99", "amplifier", "count", "attempts a history task needs", "up",
               Quantile(0.99, server("task_attempt", USER), timer=False), emitted_by="history"),
    SignalSpec("queue.throttled_per_sec", "amplifier", "1/s", "history task attempts rejected by a limit, busy workflows included", "up",
               rate("task_errors_throttled"), rate("task_errors_throttled", by=("resource_exhausted_cause",)),
               emitted_by="history"),
    SignalSpec("worker.poller_concurrency", "amplifier", "count", "pollers of all workers", None,
               sdk_gauge("temporal_num_pollers"), source="metrics or api", hint=HEARTBEATS, dashboard="workers"),
    SignalSpec("worker.task_slots_available", "amplifier", "count", "free slots of all workers", "down",
               sdk_gauge("temporal_worker_task_slots_available", "worker_type!~LocalActivityWorker|NexusWorker"), source="metrics or api", hint=HEARTBEATS, dashboard="workers"),
    SignalSpec("worker.task_slots_used", "amplifier", "count", "used slots of all workers", None,
               sdk_gauge("temporal_worker_task_slots_used", "worker_type!~LocalActivityWorker|NexusWorker"), source="metrics or api", hint=HEARTBEATS, dashboard="workers"),
    SignalSpec("cache.hit_rate", "amplifier", "ratio", "history cache hits", "down",
               complement(Ratio(rate("cache_miss", MUTABLE_STATE), rate("cache_requests", MUTABLE_STATE))),
               emitted_by="history", hint="it appears with the first workflow"),
    SignalSpec("cache.evictions_per_sec", "amplifier", "1/s", "history cache evictions", "up",
               source="none", hint="server 1.32 counts no evictions; misses (cache.hit_rate) rise with them"),
    SignalSpec("cache.size_bytes", "amplifier", "bytes", "history cache size", None,
               source="none", hint="server 1.32 exports how many entries the cache holds (cache_usage), not their size"),
    SignalSpec("shard.hot_shard_ratio", "amplifier", "ratio", "share of load on the hottest shard", "up",
               source="none", hint="server 1.32 has one histogram over all shards (persistence_shard_rps) and none by shard; shard.semaphore_latency_p99_ms shows a shard at its limit"),
    SignalSpec("shard.lock_latency_p99_ms", "amplifier", "ms", "wait for a shard's lock", "up",
               ms(Quantile(0.99, server("lock_latency", "operation=ShardInfo"))), emitted_by="history"),
    SignalSpec("shard.semaphore_latency_p99_ms", "amplifier", "ms", "wait for a shard's one write slot", "up",
               ms(Quantile(0.99, server("semaphore_latency", "operation=ShardInfo"))), emitted_by="history"),
    SignalSpec("grpc.in_flight_requests", "amplifier", "count", "requests in the frontend, without polls", "up",
               Gauge(server("service_pending_requests", "service_name=frontend", "operation!~Poll.*"), "sum", (), SERVER_PRESENCE_METRIC),
               emitted_by="frontend"),
    SignalSpec("grpc.server_queue_depth", "amplifier", "count", "requests queued in gRPC", "up",
               source="none", hint="server 1.32 exports no gRPC queue; grpc.in_flight_requests is the nearest"),
    SignalSpec("runtime.goroutines", "amplifier", "count", "goroutines of the server process", "up",
               Gauge(server("num_goroutines"), "max"), hint=ONCE_A_MINUTE),
    SignalSpec("runtime.blocked_goroutines", "amplifier", "count", "blocked goroutines", "up",
               source="none", hint="server 1.32 exports the number of all goroutines only (runtime.goroutines); a pprof profile shows the blocked ones"),
    SignalSpec("host.cpu_throttle_pct", "amplifier", "percent", "time throttled by the CPU quota", "up",
               source="none", hint=HOST),
    SignalSpec("host.memory_rss_bytes", "amplifier", "bytes", "resident memory", "up", source="none", hint=HOST),
    SignalSpec("host.gc_pause_ms", "amplifier", "ms", "garbage collection pauses (p99)", "up",
               ms(Quantile(0.99, server("memory_gc_pause_ms"))), hint=ONCE_A_MINUTE),
    SignalSpec("clients.mistakes_per_sec", "amplifier", "1/s", "requests rejected because the client made a mistake", "up",
               rate(*MISTAKES), rate(*MISTAKES, by=("operation", "error_type")), emitted_by="frontend"),
    SignalSpec("clients.busy_workflow_per_sec", "amplifier", "1/s", "requests rejected because one workflow is too busy to take them", "up",
               rate("service_errors_resource_exhausted", "service_name=frontend", "resource_exhausted_cause=BusyWorkflow", USER),
               emitted_by="frontend"),
    SignalSpec("queue.dlq_messages", "amplifier", "count", "history tasks in the dead letter queue", "up",
               Gauge(server("dlq_message_count"), "max", (), SERVER_PRESENCE_METRIC), Gauge(server("dlq_message_count"), "max", ("task_category",)),
               emitted_by="history", hint="the owner of shard 1 writes it every three hours"),
    SignalSpec("queue.dlq_writes_per_sec", "amplifier", "1/s", "history tasks put into the dead letter queue", "up",
               rate("dlq_writes"), rate("dlq_writes", by=("task_category",)), emitted_by="history"),
    SignalSpec("visibility_store.writes_failed_per_sec", "amplifier", "1/s", "writes to the visibility store that failed", "up",
               rate(*VISIBILITY_WRITES), rate(*VISIBILITY_WRITES, by=("operation", "error_type")), emitted_by="history", dashboard="persistence"),
    SignalSpec("visibility_store.delay_p99_sec", "amplifier", "s", "time until a list shows a change of a workflow", "up",
               Quantile(0.99, server("task_latency_queue", "operation=~VisibilityTask.*", USER)), emitted_by="history", dashboard="persistence"),
    SignalSpec("calls.activity_heartbeats_per_sec", "amplifier", "1/s", "heartbeats of running activities", None,
               rate("service_requests", "service_name=history", "operation=RecordActivityTaskHeartbeat"), emitted_by="history"),
    SignalSpec("schedules.missed_per_sec", "amplifier", "1/s", "actions of schedules that were too late to be taken", "up",
               rate("schedule_missed_catchup_window"), rate("schedule_missed_catchup_window", by=("namespace",))),
    SignalSpec("schedules.dropped_per_sec", "amplifier", "1/s", "actions of schedules dropped because too many waited", "up",
               rate("schedule_buffer_overruns"), rate("schedule_buffer_overruns", by=("namespace",))),
    SignalSpec("schedules.failed_per_sec", "amplifier", "1/s", "workflows that schedules could not start", "up",
               rate("schedule_action_errors"), rate("schedule_action_errors", by=("namespace",))),
    SignalSpec("nexus.failed_per_sec", "amplifier", "1/s", "Nexus requests to other endpoints that failed", "up",
               rate(*NEXUS_FAILED), rate(*NEXUS_FAILED, by=("namespace", "destination", "outcome")), emitted_by="history"),
    SignalSpec("nexus.blocked_per_sec", "amplifier", "1/s", "Nexus requests and callbacks held back by an open circuit breaker", "up",
               rate("circuit_breaker_executable_blocked"), rate("circuit_breaker_executable_blocked", by=("destination",)), emitted_by="history"),
    SignalSpec("history_length.longest_events", "amplifier", "count", "events in the longest history that was written", "up",
               Quantile(1.0, server("history_count", "operation=ExecutionStats", USER), timer=False), emitted_by="history"),
    SignalSpec("workflow_lock.latency_p99_ms", "amplifier", "ms", "wait for a workflow's lock", "up",
               ms(Quantile(0.99, server("cache_latency", MUTABLE_STATE, "operation=HistoryCacheGetOrCreate"))), emitted_by="history"),
    SignalSpec("archival.failed_per_sec", "amplifier", "1/s", "closed workflows that could not be archived", "up",
               rate(*ARCHIVED, suffix="_count"), emitted_by="history"),
    SignalSpec("replication.delay_p99_sec", "amplifier", "s", "time until another cluster's change is applied here", "up",
               Quantile(0.99, server("replication_latency")), emitted_by="history"),
    SignalSpec("runtime.panics_per_sec", "amplifier", "1/s", "panics caught in the server", "up",
               rate("service_panics"), rate("service_panics", by=("service_name", "operation"))),
    SignalSpec("runtime.heap_bytes", "amplifier", "bytes", "heap in use by the largest server process", "up",
               Gauge(server("memory_heapinuse"), "max"), Gauge(server("memory_heapinuse"), "max", ("instance",)), hint=ONCE_A_MINUTE),
    SignalSpec("certificates.expired", "amplifier", "count", "certificates of the server that have expired", "up",
               Gauge(server("certificates_expired"), "max", (), SERVER_PRESENCE_METRIC), hint=CERTIFICATES),
    SignalSpec("certificates.expiring", "amplifier", "count", "certificates of the server that expire soon", "up",
               Gauge(server("certificates_expiring"), "max", (), SERVER_PRESENCE_METRIC), hint=CERTIFICATES),
    SignalSpec("throttling.rate_limit_events_per_sec", "amplifier", "1/s", "requests rejected by any limit in any service", "up",
               rate("service_errors_resource_exhausted"),
               rate("service_errors_resource_exhausted", by=("resource_exhausted_cause", "resource_exhausted_scope"))),
    SignalSpec("throttling.admission_rejects_per_sec", "amplifier", "1/s", "requests rejected because the system is overloaded", "up",
               rate("service_errors_resource_exhausted", "resource_exhausted_cause=SystemOverloaded")),
    SignalSpec("shard.owned_count", "amplifier", "count", "shards that history hosts own, together", None,
               Gauge(server("numshards_gauge"), "sum"), SHARDS_OWNED, emitted_by="history"),
    SignalSpec("calls.unanswered_per_sec", "amplifier", "1/s", "calls between the server's services that time out or find no one", "up",
               rate(*UNANSWERED), rate(*UNANSWERED, by=("service_role", "operation"))),
    SignalSpec("deploy.task_restarts", "amplifier", "count", "how often server processes restarted within five minutes", "up",
               SERVER_RESTARTS, SERVER_RESTARTS),
    SignalSpec("deploy.membership_changes_per_min", "amplifier", "1/min", "changes of the server's membership", "up",
               Scale(rate("membership_changed_count"), 60.0)),
    SignalSpec("deploy.leader_changes_per_min", "amplifier", "1/min", "changes of leadership", "up",
               source="none", hint="server 1.32 elects no leader; deploy.membership_changes_per_min shows when shards change their owner"),
    SignalSpec("log_patterns.top_pattern_count", "amplifier", "count", "lines of the most frequent error pattern", "up",
               source="logs"),
)  # fmt: skip

_WORKER = (
    SignalSpec("workers.wft_schedule_to_start_p95_ms", "worker", "ms", "schedule-to-start latency of workflow tasks that started", "up",
               sdk_p95("temporal_workflow_task_schedule_to_start_latency"), hint=FIRST_WORKFLOW_TASK, dashboard="workers"),
    SignalSpec("workers.activity_schedule_to_start_p95_ms", "worker", "ms", "schedule-to-start latency of activity tasks that started", "up",
               sdk_p95("temporal_activity_schedule_to_start_latency"), hint=FIRST_ACTIVITY, dashboard="workers"),
    SignalSpec("workers.wft_execution_p95_ms", "worker", "ms", "time workflow code takes for a task", "up",
               sdk_p95("temporal_workflow_task_execution_latency"), hint=FIRST_WORKFLOW_TASK, dashboard="workers"),
    SignalSpec("workers.activity_execution_p95_ms", "worker", "ms", "time activity code takes", "up",
               sdk_p95("temporal_activity_execution_latency"), hint=FIRST_ACTIVITY, dashboard="workers"),
    SignalSpec("workers.workflow_slots_available", "worker", "count", "free workflow task slots", "down",
               sdk_gauge(AVAILABLE, WORKFLOW_SLOTS), sdk_rows(AVAILABLE, WORKFLOW_SLOTS),
               source="metrics or api", hint=HEARTBEATS, dashboard="workers", card=Card("Workers", 2, "Free workflow slots")),
    SignalSpec("workers.workflow_slots_used", "worker", "count", "used workflow task slots", None,
               sdk_gauge(USED, WORKFLOW_SLOTS), sdk_rows(USED, WORKFLOW_SLOTS), source="metrics or api", hint=HEARTBEATS, dashboard="workers"),
    SignalSpec("workers.activity_slots_available", "worker", "count", "free activity slots", "down",
               sdk_gauge(AVAILABLE, ACTIVITY_SLOTS), sdk_rows(AVAILABLE, ACTIVITY_SLOTS),
               source="metrics or api", hint=HEARTBEATS, dashboard="workers", card=Card("Workers", 3, "Free activity slots")),
    SignalSpec("workers.activity_slots_used", "worker", "count", "used activity slots", None, sdk_gauge(USED, ACTIVITY_SLOTS),
               sdk_rows(USED, ACTIVITY_SLOTS), source="metrics or api", hint=HEARTBEATS, dashboard="workers"),
    SignalSpec("workers.workflow_pollers", "worker", "count", "workflow task pollers, sticky ones included", "down",
               sdk_gauge("temporal_num_pollers", "poller_type=~.*workflow.*"),
               sdk_rows("temporal_num_pollers", "poller_type=~.*workflow.*"), source="metrics or api", hint=HEARTBEATS, dashboard="workers"),
    SignalSpec("workers.activity_pollers", "worker", "count", "activity task pollers", "down",
               sdk_gauge("temporal_num_pollers", "poller_type=activity_task"),
               sdk_rows("temporal_num_pollers", "poller_type=activity_task"), source="metrics or api", hint=HEARTBEATS, dashboard="workers"),
    SignalSpec("workers.restarts", "worker", "count", "how often worker processes restarted within five minutes", "up",
               RESTARTS, RESTARTS, dashboard="workers"),
    SignalSpec("worker_cache.sticky_size", "worker", "count", "workflows held in the sticky caches", None,
               STICKY_SIZE, source="metrics or api", hint=HEARTBEATS, dashboard="workers"),
    SignalSpec("worker_cache.sticky_hit_rate", "worker", "ratio", "sticky cache hits", "down",
               Ratio(STICKY_HITS, Plus((STICKY_HITS, STICKY_MISSES))), hint=FIRST_CACHED, dashboard="workers"),
    SignalSpec("worker_cache.sticky_miss_per_sec", "worker", "1/s", "workflows that had to be replayed", "up", STICKY_MISSES,
               hint=FIRST_CACHED, dashboard="workers"),
    SignalSpec("worker_cache.forced_evictions_per_sec", "worker", "1/s", "workflows pushed out of the cache", "up",
               worker_rate("temporal_sticky_cache_total_forced_eviction"), hint=FIRST_CACHED, dashboard="workers"),
    SignalSpec("worker_poll.long_poll_latency_ms", "worker", "ms", "time a worker's long poll lasts (p95, tops out at 10 s)", None,
               sdk_p95("temporal_long_request_latency"),
               hint="it appears when the first long poll has ended, within a minute", dashboard="workers"),
    SignalSpec("worker_poll.long_poll_failures_per_sec", "worker", "1/s", "long polls that failed", "up",
               worker_rate("temporal_long_request_failure"), dashboard="workers"),
    SignalSpec("worker_tasks.workflow_task_failures_per_sec", "worker", "1/s", "workflow tasks failed in the worker", "up",
               worker_rate("temporal_workflow_task_execution_failed"),
               worker_rate("temporal_workflow_task_execution_failed", by=("task_queue", "workflow_type", "failure_reason")),
               dashboard="workers"),
    SignalSpec("worker_tasks.activity_failures_per_sec", "worker", "1/s", "activity attempts failed in the worker", "up",
               worker_rate("temporal_activity_execution_failed"),
               worker_rate("temporal_activity_execution_failed", by=("task_queue", "activity_type")), dashboard="workers"),
    SignalSpec("version.backlog_count", "worker", "count", "tasks in the backlog, by the worker version they are for", "up",
               source="api", hint=VERSIONS),
    SignalSpec("version.pollers", "worker", "count", "pollers seen in the last 75 seconds, by worker version", "down",
               source="api", hint=VERSIONS),
    SignalSpec("version.tasks_per_sec", "worker", "1/s", "tasks processed by workers, by worker version", None,
               source="api", hint=VERSION_HEARTBEATS),
    SignalSpec("version.task_failure_ratio", "worker", "ratio", "share of tasks that fail in the workers, of the worst worker version", "up",
               source="api", hint=VERSION_HEARTBEATS),
)  # fmt: skip


def _position(spec: SignalSpec) -> int:
    return spec.card.position if spec.card else 0


SPECS: MappingProxyType[str, SignalSpec] = MappingProxyType(
    {s.id: s for s in (*_PRIMARY, *_AMPLIFIERS, *LIMITS, *_WORKER)}
)
KEY_SIGNALS: MappingProxyType[CardGroup, tuple[SignalSpec, ...]] = MappingProxyType(
    {
        group: tuple(sorted((s for s in SPECS.values() if s.card and s.card.group == group), key=_position))
        for group in get_args(CardGroup)
    }
)
"""The signals with a card, in the order of the page."""


@cache
def ids(kind: Kind) -> tuple[str, ...]:
    """All ids of a kind, in the table's order."""
    return tuple(s.id for s in SPECS.values() if s.kind == kind)
