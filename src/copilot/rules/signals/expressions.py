"""The expressions of signals: one definition becomes PromQL or is computed from scrapes. Then their building blocks.

A *leaf* is a rate, gauge or quantile, grouped or not, that a metrics source gives. *Arithmetic* over leaves is done
after each leaf is a value, no traffic, or missing: in PromQL `rate(a) + rate(b)` is empty until both families exist,
and a counter family exists only after its first event.

Units: leaves over timers give seconds whatever the dialect reports; `Scale` makes milliseconds of them.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["server", "worker"]
Op = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label matcher with PromQL's meaning: regular expressions are anchored, an absent label is the empty string."""

    label: str
    op: Op
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Series of one family on the pages of one role. `family` is the name the server's own endpoint (tally) or the
    SDK's default reporter gives it, without `_bucket`, `_count` or `_sum`; dialects translate."""

    role: Role
    family: str
    match: tuple[Matcher, ...] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """`sum by (…) (rate(counter[W]))`, in 1/s. `presence_metric`: a family of the same role that is always there. While
    it has samples and the target was read, an absent counter is zero."""

    series: Selector
    by: tuple[str, ...] = ()
    presence_metric: str = ""
    suffix: Literal["", "_count", "_sum"] = ""


@dataclass(frozen=True, slots=True)
class Gauge:
    """`agg by (…) (gauge)`: the newest sample of each series, aggregated. `presence_metric` as for
    `Rate`, where absence means zero; empty where it means missing."""

    series: Selector
    agg: Literal["sum", "max", "min"]
    by: tuple[str, ...] = ()
    presence_metric: str = ""


@dataclass(frozen=True, slots=True)
class Quantile:
    """`histogram_quantile(q, sum by (le, …) (rate(h_bucket[W])))`, in seconds for timers, else the histogram's unit. No
    traffic in the window is `no traffic`, not zero. `timer`: whether the histogram holds durations."""

    q: float
    series: Selector
    by: tuple[str, ...] = ()
    timer: bool = True


Leaf = Rate | Gauge | Quantile


@dataclass(frozen=True, slots=True)
class Plus:
    """The sum of all terms; missing if any is missing. Terms without traffic add nothing, unless all have none."""

    terms: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """`part / whole`, 0…1 where part counts some of whole. A whole of zero is no traffic."""

    part: "Expression"
    whole: "Expression"


@dataclass(frozen=True, slots=True)
class Scale:
    """`factor · of + offset`: milliseconds of seconds, percent of a share, one minus a share."""

    of: "Expression"
    factor: float
    offset: float = 0.0


Expression = Leaf | Plus | Ratio | Scale


def leaves(expression: Expression) -> tuple[Leaf, ...]:
    """All leaves of an expression, left to right."""
    match expression:
        case Plus(terms):
            return tuple(leaf for term in terms for leaf in leaves(term))
        case Ratio(part, whole):
            return leaves(part) + leaves(whole)
        case Scale(of=of):
            return leaves(of)
        case _:
            return (expression,)


SERVER_PRESENCE_METRIC = "service_requests"
WORKER_PRESENCE_METRIC = "temporal_worker_task_slots_available"

_OP: tuple[Op, ...] = ("!~", "!=", "=~", "=")
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


def match(*texts: str) -> tuple[Matcher, ...]:
    """`label=~value` texts → matchers."""
    matchers = []
    for text in texts:
        op = next(o for o in _OP if o in text)
        label, value = text.split(op, 1)
        matchers.append(Matcher(label, op, value))
    return tuple(matchers)


# Namespaces and task queues of Temporal itself, as tally sanitizes them and as other reporters write them.
USER = "namespace!~temporal.system|system|_unknown_|temporal-system"
USER_QUEUES = "taskqueue!~temporal.sys.*|default.worker.tq"


def server(family: str, *where: str) -> Selector:
    return Selector("server", family, match(*where))


def worker(family: str, *where: str) -> Selector:
    return Selector("worker", family, match("task_queue!~temporal.sys.*", *where))


def rate(family: str, *where: str, by: tuple[str, ...] = (), suffix: Literal["", "_count", "_sum"] = "") -> Rate:
    return Rate(server(family, *where), by, SERVER_PRESENCE_METRIC, suffix)


def worker_rate(family: str, *where: str, by: tuple[str, ...] = ()) -> Rate:
    return Rate(worker(family, *where), by, WORKER_PRESENCE_METRIC)


def ms(of: Expression) -> Scale:
    return Scale(of, 1000.0)


def complement(of: Expression) -> Scale:
    return Scale(of, -1.0, 1.0)


SERVICES = rate(SERVER_PRESENCE_METRIC, by=("service_name",))
"""The leaf that shows which services' pages are read."""


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
MISTAKES = (
    "service_error_with_type",
    "service_name=frontend",
    f"operation!~Poll.*|{HOUSEKEEPING}",
    "error_type=~serviceerror.(NotFound|NamespaceNotFound|WorkflowExecutionAlreadyStarted|AlreadyExist.*|InvalidArgument"
    "|FailedPrecondition|PermissionDenied|QueryFailed|WorkflowNotReady)",
    USER,
)
TASKS_ADDED = ("tasks_added", "forwarded=false", USER, USER_QUEUES)
SPOOLED = (*TASKS_ADDED, "task_add_result=backlog")
WRITES = "operation=~(Create|Update|ConflictResolve|Set)WorkflowExecution"
PERSISTENCE_ERRORS = ("persistence_error_with_type", f"error_type!~{BENIGN_PERSISTENCE}")
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


WORKFLOW_SLOTS = "worker_type=WorkflowWorker"
ACTIVITY_SLOTS = "worker_type=ActivityWorker"
AVAILABLE = "temporal_worker_task_slots_available"
USED = "temporal_worker_task_slots_used"
