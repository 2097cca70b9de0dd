"""Findings about what runs beside workflow and activity tasks: lists of workflows, schedules, Nexus, archival and
replication. Work goes on without them."""

from copilot.rules.findings.context import Action, Finding, FindingContext, Found, present
from copilot.rules.gates import pressure
from copilot.rules.gates.registry import SERVER_REFUSES, SERVER_SLOW
from copilot.rules.model import ActionType

FEW = 3.0
ONCE = 0.5
DELAYED_SEC = 60.0
WRITES = "visibility_store.writes_failed_per_sec"
_SCHEDULES = {what: f"schedules.{what}_per_sec" for what in ("missed", "dropped", "failed")}


def _visibility_failing(context: FindingContext) -> Found | None:
    """Workflows cannot be listed, or lists are stale; workflows run as ever."""
    gates, delay = context.firing(pressure.LISTS_FAILING), context.value("visibility_store.delay_p99_sec") or 0.0
    slow = bool(context.firing(*SERVER_REFUSES, *SERVER_SLOW))
    writes = context.events(WRITES) >= FEW
    late = delay > DELAYED_SEC and not slow
    if not (gates or writes or late):
        return None
    row = context.top_row(WRITES) if writes else None
    kind = row.label("error_type") if row else None
    evidence = present(failing=bool(gates), stale=not gates, delay=delay if late else None, kind=kind, fine=not slow)
    return Found(gates, evidence, signals=(WRITES, "visibility_store.delay_p99_sec"))


def _schedules_missing(context: FindingContext) -> Found | None:
    """Schedules miss actions, drop them, or cannot start their workflows."""
    counts = {what: n for what, signal_id in _SCHEDULES.items() if (n := context.events(signal_id)) >= ONCE}
    if not counts:
        return None
    rows = (context.top_row(_SCHEDULES[what]) for what in counts)
    namespace = next((row.label("namespace") for row in rows if row), None)
    evidence = present(**{what: float(round(n)) for what, n in counts.items()}, namespace=namespace)
    return Found([], evidence, signals=tuple(_SCHEDULES.values()))


def _nexus_failing(context: FindingContext) -> Found | None:
    """Nexus requests to an endpoint, or callbacks, fail or are held back by an open circuit breaker."""
    failed, blocked = context.events("nexus.failed_per_sec"), context.events("nexus.blocked_per_sec")
    if failed < FEW and blocked < ONCE:
        return None
    row = context.top_row("nexus.failed_per_sec") or context.top_row("nexus.blocked_per_sec")
    named = present(destination=row.label("destination"), outcome=row.label("outcome")) if row else {}
    return Found([], named | present(open=blocked >= ONCE), signals=("nexus.failed_per_sec", "nexus.blocked_per_sec"))


def _archival_failing(context: FindingContext) -> Found | None:
    """Closed workflows cannot be archived."""
    failed = context.value("archival.failed_per_sec") or 0.0
    if context.events("archival.failed_per_sec") < FEW:
        return None
    return Found([], {"rate": failed}, signals=("archival.failed_per_sec",))


def _replication_lagging(context: FindingContext) -> Found | None:
    """Changes of another cluster are applied late."""
    delay = context.value("replication.delay_p99_sec") or 0.0
    return Found([], {"delay": delay}, signals=("replication.delay_p99_sec",)) if delay > DELAYED_SEC else None


VISIBILITY_FAILING = Finding(
    "visibility_failing", _visibility_failing, "persistence",
    title="[{failing:flag}Workflows cannot be listed][{stale:flag}Lists of workflows are stale][{fine:flag}; work is not affected]",
    cause="The visibility store (a table of the database, or Elasticsearch) fails or is behind[: changes show after "
    "{delay:span}][, most failures: {kind}]. Workflows run without it; lists, counts and searches show less than there is.",
    actions=(
        Action("check_visibility_store", ActionType.ALERT, "persistence", "Check the visibility store: its health, disk and indexes. Leave workers and history as they are; lists catch up by themselves.", 0.8),
    ),
    logs=("database call failed", "connection refused", "connection timed out"),
    looks_like=("persistence_failing", "Here only lists of workflows suffer; there work itself cannot be written."),
)  # fmt: skip
SCHEDULES_MISSING = Finding(
    "schedules_missing", _schedules_missing, "application",
    title="Schedules do not run as planned",
    cause="[{missed:count action} came too late for the catchup window. ][{dropped:count action} were dropped: too many "
    "waited for a run to end. ][{failed:count start} of workflows failed. ]Missed and dropped actions are not taken "
    "later.[ Most are in namespace {namespace:code}.][ The last was {ago:span} ago.]",
    actions=(
        Action("backfill_schedules", ActionType.ALERT, "application", "List the schedules[ of namespace {namespace:code}] that missed actions, and backfill those that matter. Widen the catchup window, or change the overlap policy, if this was no outage.", 0.75),
    ),
    note=True, kept_sec=3600.0,
    logs=("schedule missed",),
    looks_like=("system_workers_missing", "Here schedules run and missed single actions; there none runs, for the server's own workers are away."),
)  # fmt: skip
NEXUS_FAILING = Finding(
    "nexus_failing", _nexus_failing, "application",
    title="Nexus requests fail[ to {destination:code}]",
    cause="The endpoint does not answer as it should[ ({outcome})].[{open:flag} Its circuit breaker is open, so further requests "
    "are held back for a while.] They are retried; workflows that wait for them are late.",
    actions=(
        Action("check_endpoint", ActionType.ALERT, "application", "Check the endpoint[ {destination:code}]: the workers of its target task queue, or the address behind it. The circuit breaker closes by itself.", 0.75),
    ),
    note=True,
    looks_like=("retry_storm", "Here calls to a Nexus endpoint fail; there activities do."),
)  # fmt: skip
ARCHIVAL_FAILING = Finding(
    "archival_failing", _archival_failing, "history",
    title="Closed workflows cannot be archived: {rate:per_sec workflow}",
    cause="The archive (a bucket or file store) refuses or fails. Each is tried again and is not deleted before it is archived, so "
    "the database grows.",
    actions=(
        Action("check_archive", ActionType.ALERT, "history", "Check the archive's address, credentials, quota and free space.", 0.8),
    ),
    note=True,
    looks_like=("history_backlog", "Here only archival is late; there all tasks of history are."),
)  # fmt: skip
REPLICATION_LAGGING = Finding(
    "replication_lagging", _replication_lagging, "history",
    title="Replication is {delay:span} behind",
    cause="Changes of the other cluster are applied late here. Work goes on; a failover now would lose what is not yet "
    "applied, or do it twice.",
    actions=(
        Action("check_replication", ActionType.ALERT, "history", "Check the network between the clusters, the history service that applies the changes, and its database. Do not fail over before it has caught up.", 0.75),
    ),
    note=True,
    looks_like=("history_backlog", "Here the other cluster's changes are late; there this cluster's own tasks are."),
)  # fmt: skip
