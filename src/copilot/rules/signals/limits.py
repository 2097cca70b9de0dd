"""Rows of the signal table: how much of its limits a namespace or a process uses, and what only Temporal Cloud
tells."""

from copilot.rules.signals.expressions import Gauge, Shares, rate, server
from copilot.rules.signals.spec import SignalSpec

CLOUD_LIMITS = "a self-hosted server has no such limit, or does not publish it"
NEAR_SHARE = 0.8
"""The share of a limit from which it is near."""

LIMITS = (
    SignalSpec("limits.requests_used_share", "amplifier", "ratio", "share of the limit of requests that is used, where most of it is", "up",
               Shares(rate("service_requests", "service_name=frontend", by=("instance",)),
                      Gauge(server("host_rps_limit", "service_name=frontend"), "max", ("instance",))),
               emitted_by="frontend", hint="each frontend publishes its limit as host_rps_limit (since server 1.24)"),
    SignalSpec("limits.actions_used_share", "amplifier", "ratio", "share of the limit of actions that is used, in the namespace that uses most", "up",
               source="cloud", hint=CLOUD_LIMITS),
    SignalSpec("limits.operations_used_share", "amplifier", "ratio", "share of the limit of operations that is used, in the namespace that uses most", "up",
               source="cloud", hint=CLOUD_LIMITS),
    SignalSpec("limits.pollers_used_share", "amplifier", "ratio", "share of the limit of pollers that is used, in the namespace that uses most", "up",
               source="cloud", hint=CLOUD_LIMITS),
    SignalSpec("queue.unpolled_tasks_per_sec", "amplifier", "1/s", "tasks added to task queues without pollers", "up",
               source="cloud", hint="servers since 1.27.1 do not count them; poller.recent_pollers shows who polls"),
    SignalSpec("clients.all_errors_per_sec", "amplifier", "1/s", "requests that failed, by whosever fault", "up",
               source="cloud", hint="frontend.error_rate_per_sec and clients.mistakes_per_sec tell both apart"),
    SignalSpec("namespaces.open_workflows", "amplifier", "count", "open workflows", None,
               source="cloud", hint="no server counts them in its metrics"),
    SignalSpec("namespaces.billable_actions_per_sec", "amplifier", "1/s", "actions that are billed", None, source="cloud",
               hint="a self-hosted server bills nothing"),
    SignalSpec("namespaces.scheduled_starts_per_sec", "amplifier", "1/s", "workflows started by schedules", None, source="cloud",
               hint="schedules.failed_per_sec shows those that could not be started"),
    SignalSpec("namespaces.schedules_delayed_per_sec", "amplifier", "1/s", "actions of schedules delayed by a limit", "up", source="cloud",
               hint="frontend.throttled_per_sec shows what is refused"),
)  # fmt: skip
