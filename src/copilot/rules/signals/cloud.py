"""Temporal Cloud's metric families and the signals that they feed. A signal without a row is not expected there.

Every family is a gauge of one closed minute: rates are per second, percentiles in seconds; what did not happen is
absent.
Source: Temporal's OpenMetrics reference (docs.temporal.io/cloud/metrics/openmetrics/metrics-reference).
"""

from collections.abc import Mapping
from types import MappingProxyType

from copilot.rules.signals.expressions import (
    SERVER_PRESENCE_METRIC,
    Expression,
    Gauge,
    Plus,
    Ratio,
    Scale,
    Selector,
    Shares,
    leaves,
    match,
)
from copilot.rules.signals.spec import Measure
from copilot.rules.signals.taxonomy import CREATES_WORK, HOUSEKEEPING, LISTS, LIVE, LONG_POLLS, NOT_VISIBILITY, QUEUE

PREFIX = "temporal_cloud_v1_"
"""What the name of every family of Temporal Cloud begins with."""

LABELS = MappingProxyType(
    {
        "temporal_namespace": "namespace",
        "temporal_task_queue": "taskqueue",
        "temporal_workflow_type": "workflowType",
        "temporal_activity_type": "activityType",
    }
)
"""Cloud's labels, and what the table of signals calls them."""

REQUESTS = PREFIX + "service_request_count"
BACKLOG_GAUGE = PREFIX + "approximate_backlog_count"
MEANINGFUL_REQUESTS = 20
"""A percentile of fewer requests in its minute is the time of one slow request."""


def _selector(family: str, *where: str) -> Selector:
    return Selector("server", PREFIX + family, match(*where))


def _sum(family: str, *where: str, by: tuple[str, ...] = ()) -> Gauge:
    return Gauge(_selector(family, *where), "sum", by, SERVER_PRESENCE_METRIC)


def _worst(family: str, *where: str) -> Scale:
    """A percentile in milliseconds: that of the slowest operation, because percentiles cannot be aggregated."""
    return Scale(Gauge(_selector(family, *where), "max", timer=True), 1000.0)


def _plain(family: str, *where: str, by: tuple[str, ...] = ()) -> Measure:
    return Measure("", _sum(family, *where), _sum(family, *where, by=by) if by else None)


def _closed(how: str) -> Measure:
    return _plain(f"workflow_{how}_count", by=("namespace", "taskqueue", "workflowType"))


_CLOSED = {how: _closed(how) for how in ("success", "failed", "timeout", "terminate", "cancel")}
_POLLS_FILLED, _POLLS_EMPTY = _sum("poll_success_count"), _sum("poll_timeout_count")
_EMPTY_SHARE = Ratio(_POLLS_EMPTY, Plus((_POLLS_EMPTY, _POLLS_FILLED)))
_ACTIVITY = ("namespace", "taskqueue", "activityType")
_STARTS = "StartWorkflowExecution|SignalWithStartWorkflowExecution|ExecuteMultiOperation"
_POLLING = "operation=~Poll(Workflow|Activity)TaskQueue"
_OF_WORK = f"operation!~Poll.*|{HOUSEKEEPING}"
_ANSWERING = f"operation!~{LONG_POLLS}|{HOUSEKEEPING}"
_USERS = "is_background=false"
_BY_OPERATION = ("namespace", "operation")
_REFUSED = ("service_request_throttled_count", NOT_VISIBILITY)
_LIMITED = (_sum("total_action_throttled_count"), _sum("operations_throttled_count", _USERS))


def _throttled(*where: str) -> Expression:
    return Plus((_sum("service_request_throttled_count", *where), _sum("operations_throttled_count", _USERS, *where)))


def _share(used: Gauge, limit: str) -> Measure:
    """What is used of a namespace's limit, in the namespace that uses most of its own."""
    return Measure("", Shares(used, Gauge(_selector(limit), "max", ("namespace",))))


def _by_namespace(family: str, *where: str) -> Gauge:
    return _sum(family, *where, by=("namespace",))


CLOUD: Mapping[str, Measure] = MappingProxyType(
    {
        "workflow_completion.completion_rate": Measure(
            "", Ratio(_CLOSED["success"].expression, Plus(tuple(m.expression for m in _CLOSED.values())))
        ),
        "workflow_completion.success_per_sec": _CLOSED["success"],
        "workflow_completion.failed_per_sec": _CLOSED["failed"],
        "workflow_completion.timed_out_per_sec": _CLOSED["timeout"],
        "workflow_completion.terminated_per_sec": _CLOSED["terminate"],
        "activity_tasks.completed_per_sec": _plain("activity_success_count"),
        "activity_tasks.failed_per_sec": _plain("activity_task_fail_count", by=_ACTIVITY),
        "activity_tasks.timed_out_per_sec": _plain("activity_task_timeout_count", by=(*_ACTIVITY, "timeout_type")),
        "workflow_tasks.failed_per_sec": _plain("service_request_count", "operation=RespondWorkflowTaskFailed"),
        "workflow_tasks.completed_per_sec": _plain("service_request_count", "operation=RespondWorkflowTaskCompleted"),
        "matching.tasks_dispatched_per_sec": _plain("poll_success_count", by=QUEUE),
        "matching.backlog_count": _plain("approximate_backlog_count", by=QUEUE),
        "queue.unpolled_tasks_per_sec": _plain("no_poller_tasks_count", by=QUEUE),
        "poller.sync_match_rate": Measure("", Ratio(_sum("poll_success_sync_count"), _POLLS_FILLED)),
        "poller.poll_success_rate": Measure("", Scale(_EMPTY_SHARE, -1.0, 1.0)),
        "poller.poll_timeout_rate": Measure("", _EMPTY_SHARE),
        "poller.pending_polls": _plain("service_pending_requests", _POLLING, by=("namespace",)),
        "demand.starts_per_sec": _plain("service_request_count", f"operation=~{_STARTS}"),
        "demand.requests_per_sec": _plain("service_request_count", f"operation=~{CREATES_WORK}"),
        "demand.rejected_per_sec": Measure("", _throttled(f"operation=~{CREATES_WORK}")),
        "queries.requested_per_sec": _plain("service_request_count", f"operation=~{LIVE}"),
        "visibility.lists_per_sec": _plain("service_request_count", LISTS),
        "frontend.request_rate_per_sec": _plain("service_request_count", _OF_WORK),
        "frontend.latency_p95_ms": Measure("", _worst("service_latency_p95", _ANSWERING)),
        "frontend.latency_p99_ms": Measure("", _worst("service_latency_p99", _ANSWERING)),
        "frontend.throttled_per_sec": Measure(
            "", Plus((_sum(*_REFUSED), *_LIMITED)), _sum(*_REFUSED, by=_BY_OPERATION)
        ),
        "clients.all_errors_per_sec": _plain("service_error_count", _OF_WORK, by=_BY_OPERATION),
        "clients.busy_workflow_per_sec": _plain("resource_exhausted_error_count", NOT_VISIBILITY),
        "throttling.rate_limit_events_per_sec": Measure(
            "",
            Plus((_sum("service_request_throttled_count"), *_LIMITED, _sum("resource_exhausted_error_count"))),
            _sum("service_request_throttled_count", by=_BY_OPERATION),
        ),
        "schedules.missed_per_sec": _plain("schedule_missed_catchup_window_count", by=("namespace",)),
        "schedules.dropped_per_sec": _plain("schedule_buffer_overruns_count", by=("namespace",)),
        "replication.delay_p99_sec": Measure("", Gauge(_selector("replication_lag_p99"), "max", timer=True)),
        "namespaces.open_workflows": _plain("namespace_open_workflows", by=("namespace",)),
        "namespaces.billable_actions_per_sec": _plain(
            "billable_action_count", by=("namespace", "action_type", "workflowType")
        ),
        "namespaces.scheduled_starts_per_sec": _plain("schedule_action_success_count", by=("namespace",)),
        "namespaces.schedules_delayed_per_sec": _plain("schedule_rate_limited_count", by=("namespace",)),
        "limits.actions_used_share": _share(_by_namespace("total_action_count", _USERS), "action_limit"),
        "limits.operations_used_share": _share(_by_namespace("operations_count", _USERS), "operations_limit"),
        "limits.requests_used_share": _share(_by_namespace("service_request_count"), "service_request_limit"),
        "limits.pollers_used_share": _share(_by_namespace("service_pending_requests", _POLLING), "poller_limit"),
    }
)
"""By signal, how Temporal Cloud has it. `service_error_count` has the clients' own mistakes in it, so that it says
nothing of the server: `frontend.error_rate_per_sec` is not expected."""

ON_DEMAND: Mapping[str, str] = MappingProxyType(
    {
        f"limits.{what}_used_share": f"{PREFIX}{family}_on_demand_envelope_limit"
        for what, family in (("actions", "action"), ("operations", "operations"), ("requests", "service_request"))
    }
)
"""By share of a limit, the family with the limit that on-demand capacity would have: of a namespace with provisioned
capacity it is another one."""

FAMILIES = frozenset({leaf.series.family for m in CLOUD.values() for leaf in leaves(m.expression)}) | {
    *ON_DEMAND.values()
}
"""All families that are read."""
