"""Findings about the server, its database, and our view of it."""

from collections import Counter

from whenever import TimeDelta

from copilot.rules.bottleneck import UNANSWERED
from copilot.rules.findings.context import Action, Finding, FindingContext, Found, present
from copilot.rules.flow import OWN_POLLS, sanitized
from copilot.rules.gates import pressure, progress
from copilot.rules.gates.registry import BACKLOG, SERVER_REFUSES, SERVER_SLOW
from copilot.rules.model import ActionType, Evidence

SERVICES = ("frontend", "history", "matching")
HOST_TASKS = 10.0
BUSY_REQUESTS = 10.0
HOLDS = 10.0
MEMBERS_FELT_FOR = TimeDelta(minutes=5)
DEPLOYMENT_LIMIT = "WorkerDeploymentLimits"
SHARDS = "shard.owned_count"
NAMED_HOSTS = 6
OWN_WORK = {
    "per_ns": "schedules, batch jobs and worker deployments",
    "batcher": "batch jobs",
    "parent_close": "parent close policies",
    "delete_namespace": "deletion of namespaces",
    "scanner": "cleanup of old data",
    "": "work of the server's own",
}
"""What stands still without workers on Temporal's own task queues, by a part of the queue's name."""


def _server_unreachable(context: FindingContext) -> Found | None:
    """The frontend does not answer its health check."""
    gates = context.firing(progress.FRONTEND_UNREACHABLE)
    return Found(gates) if gates else None


def _metrics_blind(context: FindingContext) -> Found | None:
    """Too little can be read for a verdict."""
    if not context.stale or context.firing(progress.FRONTEND_UNREACHABLE):
        return None
    reasons = Counter(m.detail or m.code.value for m in context.view.signals.missing.values())
    evidence = present(nothing=not reasons)
    for place, (reason, lost) in enumerate(reasons.most_common(2), start=1):
        evidence |= {f"lost_{place}": float(lost), f"reason_{place}": reason}
    return Found([], evidence)


def _persistence_failing(context: FindingContext) -> Found | None:
    """Database calls fail."""
    gates = context.firing(pressure.PERSISTENCE_ERRORS)
    if not gates:
        return None
    consequences = context.firing(progress.REQUESTS_REJECTED, pressure.FRONTEND_ERRORS, progress.WORK_STALLED)
    row = context.top_row("persistence.error_rate_per_sec")
    evidence = present(operation=row.label("operation"), error_type=row.label("error_type")) if row else {}
    return Found([*gates, *consequences], evidence)


def _persistence_throttled(context: FindingContext) -> Found | None:
    """The server's persistence rate limit refuses its own database calls."""
    gates = context.firing(pressure.PERSISTENCE_THROTTLED)
    if context.throttled_by_persistence:
        gates += context.firing(pressure.HISTORY_THROTTLED)
    return Found(gates) if gates else None


def _limit(context: FindingContext) -> str | None:
    """The limit that refuses most."""
    ids = ("frontend.throttled_per_sec", "history.throttled_per_sec")
    return next(filter(None, (context.top_label(i, "resource_exhausted_cause") for i in ids)), None)


def _rate_limited(context: FindingContext) -> Found | None:
    """A request rate limit refuses requests and polls."""
    gates = context.firing(pressure.RATE_LIMITED)
    if not context.throttled_by_persistence and not context.firing(pressure.PERSISTENCE_THROTTLED):
        gates += context.firing(pressure.HISTORY_THROTTLED)
    if not gates:
        return None
    if (cause := _limit(context)) == DEPLOYMENT_LIMIT:
        return None
    operation = context.top_label("frontend.throttled_per_sec", "operation")
    return Found(gates, present(limit=cause, unnamed=not cause, operation=operation))


def _server_process_down(context: FindingContext) -> Found | None:
    """Some of the server's processes do not answer, others do."""
    down = context.view.signals.unread.get("server", ())
    if not down:
        return None
    services = {service for service in SERVICES if any(service in name for name in down)}
    service = services.pop() if len(services) == 1 else None if services else context.silent_service[0]
    evidence = present(service=service, some=not service) | _shards(context)
    signals = (SHARDS,) if "shards" in evidence else ()
    return Found(context.firing(*context.gates), {"processes": down, **evidence}, ", ".join(down), signals)


def _shards(context: FindingContext) -> Evidence:
    """How many shards the history hosts that are read own, and how many of them twice, where it is not each one once."""
    rows, server = context.view.signals.rows(SHARDS), context.view.signals.server
    owned, total = sum(row.value for row in rows), server.history_shards if server else 0
    if not rows or owned == total:
        return {}
    each = " + ".join(f"{row.value:.0f}" for row in rows) if len(rows) <= NAMED_HOSTS else f"{owned:.0f}"
    return present(shards=each, of_shards=float(total), twice=max(0.0, owned - total) if total else None)


def _history_host_stalled(context: FindingContext) -> Found | None:
    """One history host answers and completes no task, while the others do."""
    rows = context.view.signals.rows("history.tasks_acked_per_sec")
    idle = tuple(row.label("instance") for row in rows if row.value == 0)
    busy = [row.value for row in rows if row.value > 0]
    gates = context.firing(*context.gates)
    if not idle or not busy or not gates or sum(busy) / len(busy) * context.view.window_sec < HOST_TASKS:
        return None
    evidence = {"hosts": idle, "of": float(len(rows)), **_shards(context)}
    return Found(gates, evidence, ", ".join(idle), signals=("history.tasks_acked_per_sec",))


def _service_not_answering(context: FindingContext) -> Found | None:
    """One of the server's services does not answer the others' calls, and work suffers, while the database is well."""
    (service, rate), memory = context.silent_service, context.view.memory
    gates = context.firing(*BACKLOG, *SERVER_REFUSES, *SERVER_SLOW)
    busy = memory.burst_since or context.firing(pressure.PERSISTENCE_ERRORS, pressure.PERSISTENCE_LATENCY)
    if not service or not gates or busy:
        return None
    return Found(gates, {"service": service, "rate": rate, **_shards(context)}, service, signals=(UNANSWERED,))


def _system_workers_missing(context: FindingContext) -> Found | None:
    """No one takes the tasks of Temporal's own task queues: schedules, batch jobs or other work of the server stands
    still."""
    gates = context.firing(pressure.SYSTEM_WORKERS_MISSING)
    if not gates:
        return None
    queue = gates[0].labels.get("task_queue", "")
    stands = next((work for part, work in OWN_WORK.items() if part in sanitized(queue)), OWN_WORK[""])
    polls = context.value(OWN_POLLS)
    return Found(gates, present(stands=stands, queue=queue, age=gates[0].value, no_polls=polls is not None), queue)


def _worker_deployment_limit(context: FindingContext) -> Found | None:
    """Polls are refused because the namespace has as many worker deployments as it may."""
    gates = context.firing(pressure.RATE_LIMITED)
    return Found(gates, {"limit": DEPLOYMENT_LIMIT}) if gates and _limit(context) == DEPLOYMENT_LIMIT else None


def _busy_workflow(context: FindingContext) -> Found | None:
    """One workflow gets more requests than it can take."""
    rate = context.value("clients.busy_workflow_per_sec") or 0.0
    if rate * context.view.window_sec < BUSY_REQUESTS:
        return None
    return Found(context.firing(pressure.FRONTEND_LATENCY), {"rate": rate}, signals=("clients.busy_workflow_per_sec",))


def _dlq_messages(context: FindingContext) -> Found | None:
    """History tasks lie in the dead letter queue and are not tried again."""
    count, row = context.value("queue.dlq_messages"), context.top_row("queue.dlq_messages")
    if not count:
        return None
    category = row.label("task_category") if row else ""
    evidence = present(count=count, category=category, some=not category)
    return Found([], evidence, signals=("queue.dlq_messages",))


def _frontend_errors(context: FindingContext) -> Found | None:
    """Requests fail with server errors, and nothing points at the database."""
    gates = context.firing(progress.REQUESTS_REJECTED, pressure.FRONTEND_ERRORS)
    if not gates or context.firing(pressure.PERSISTENCE_ERRORS, pressure.RATE_LIMITED) or _database_holds(context):
        return None
    unanswered = any(g.aspect == progress.UNANSWERED for g in gates)
    operation, service = context.top_label("frontend.error_rate_per_sec", "operation"), context.silent_service[0]
    evidence = present(operation=operation, service=service, unanswered=unanswered, failing=not unanswered)
    return Found(gates, evidence)


def _membership_change(context: FindingContext) -> Found | None:
    """A server process joined or left, and since then, or soon after it, the server is slow or fails requests."""
    signal_id, now = "deploy.membership_changes_per_min", context.view.now
    at = now if context.value(signal_id) else context.view.memory.members_at
    if at is None or now - at > MEMBERS_FELT_FOR:
        return None
    reach = at + 2 * TimeDelta(seconds=context.view.window_sec)
    gates = [g for g in context.firing(*SERVER_REFUSES, *SERVER_SLOW) if (g.since or now) <= reach]
    ago = (now - at).total("seconds")
    return Found(gates, present(ago=ago) | _shards(context), signals=(signal_id,)) if gates else None


def _shard_churn(context: FindingContext) -> Found | None:
    """Shards open and close on history hosts."""
    gates = context.firing(pressure.SHARD_CHURN)
    return Found(gates, _shards(context)) if gates else None


def _persistence_slow(context: FindingContext) -> Found | None:
    """Database calls are slow."""
    gates = context.firing(pressure.PERSISTENCE_LATENCY)
    if _database_holds(context):
        gates += context.firing(progress.REQUESTS_REJECTED, pressure.FRONTEND_ERRORS)
    return Found(gates) if gates else None


def _database_holds(context: FindingContext) -> bool:
    """Whether database calls are slow enough for requests, each of which makes several, to fail for that alone."""
    return any(
        g.value and g.threshold and g.value >= HOLDS * g.threshold for g in context.firing(pressure.PERSISTENCE_LATENCY)
    )


def _history_backlog(context: FindingContext) -> Found | None:
    """History completes its tasks late or not at all, and nothing refuses them."""
    stuck = [g for g in context.firing(progress.WORK_STALLED) if g.aspect == progress.STUCK_IN_HISTORY]
    gates = [*stuck, *context.firing(pressure.HISTORY_LATENCY)]
    return Found(gates) if gates and not context.server_refuses else None


def _frontend_slow(context: FindingContext) -> Found | None:
    """The frontend answers slowly."""
    gates = context.firing(pressure.FRONTEND_LATENCY)
    if not gates:
        return None
    wait_ms = context.value("shard.semaphore_latency_p99_ms") or 0.0
    of_shard = wait_ms > 100
    return Found(gates, present(shard_ms=wait_ms if of_shard else None, other=not of_shard))


def _client_mistakes(context: FindingContext) -> Found | None:
    """Clients ask for what does not exist or already exists: their mistakes, not the server's."""
    mistakes, requests = context.value("clients.mistakes_per_sec"), context.value("frontend.request_rate_per_sec")
    if not mistakes or not requests or mistakes * context.view.window_sec < 10 or mistakes < 0.1 * requests:
        return None
    row = context.top_row("clients.mistakes_per_sec")
    most = present(operation=row.label("operation"), error_type=row.label("error_type")) if row else {}
    return Found([], {"rate": mistakes, **most}, signals=("clients.mistakes_per_sec",))


_SHARDS = (
    "[ The history hosts that are read own {shards}][ of {of_shards:brief}][{shards:flag} shards]"
    "[, {twice:brief} of them twice][{shards:flag}.]"
)
SERVER_UNREACHABLE = Finding(
    "server_unreachable", _server_unreachable, "frontend",
    title="The Temporal frontend does not answer",
    cause="The server is down, frozen, or unreachable from here. Other readings may be out of date.",
    actions=(
        Action("check_server", ActionType.ALERT, "frontend", "Check that the server's processes run and answer; check the host and the network. Do not restart the workers: they reconnect by themselves.", 0.9),
        Action("restart_server", ActionType.RESTART, "frontend", "Restart the server if its process hangs or is gone.", 0.6, "medium"),
    ),
    logs=("panic", "no members", "server hangs", "cluster metadata changed by another"),
)  # fmt: skip
METRICS_BLIND = Finding(
    "metrics_blind", _metrics_blind, "frontend",
    title="Not enough data: most of the cluster's metrics cannot be read",
    cause="[{lost_1:count signal} cannot be read ({reason_1})][; {lost_2:count signal} cannot be read ({reason_2})]"
    "[{nothing:flag}Nothing was read].",
    actions=(
        Action("restore_metrics", ActionType.CONFIGURE, "metrics", "Restore access to the metrics endpoint. Until then check the cluster by hand: this verdict says nothing either way.", 0.9),
    ),
)  # fmt: skip
PERSISTENCE_FAILING = Finding(
    "persistence_failing", _persistence_failing, "persistence",
    title="Database calls fail",
    cause="The database is locked, full, down, or refuses the server.[ Most failures: {operation:code} ({error_type}).]",
    actions=(
        Action("check_database", ActionType.ALERT, "persistence", "Check the database: free connections, locks, disk space, failover, credentials. Restarting the workers or the server does not help.", 0.85),
    ),
    logs=("no connection free", "disk full", "database locked", "certificate or login refused",
        "connection timed out", "connection refused", "connection lost", "host not found", "database call failed"),
)  # fmt: skip
PERSISTENCE_THROTTLED = Finding(
    "persistence_throttled", _persistence_throttled, "persistence",
    title="The persistence rate limit holds work back",
    cause="The server's persistence rate limit refuses its own database calls: history retries its tasks while workers "
    "are idle. An empty backlog is expected here and proves nothing.",
    actions=(
        Action("raise_persistence_limit", ActionType.CONFIGURE, "history", "Raise the persistence rate limit, if the database has capacity for it. More workers do not help.", 0.8, "medium"),
    ),
    logs=("rate limit",),
)  # fmt: skip
RATE_LIMITED = Finding(
    "rate_limited", _rate_limited, "frontend",
    title="A rate limit refuses requests and polls",
    cause="[The limit {limit:code} refuses requests][{unnamed:flag}A rate limit refuses requests]"
    "[, most often {operation:code}]. Polls are refused too, so workers starve while idle.",
    actions=(
        Action("raise_request_limit", ActionType.CONFIGURE, "frontend", "Raise the namespace's request rate limit, or reduce the calls. More workers only poll more.", 0.85, "medium"),
    ),
    logs=("rate limit",),
)  # fmt: skip
SERVER_PROCESS_DOWN = Finding(
    "server_process_down", _server_process_down, "history",
    title="[A {service} process][{some:flag}A server process] does not answer: {processes:code}",
    cause="Its metrics page is not answered while others are: the process is down, frozen, or cut off, and what it owned "
    "(shards, task queue partitions) waits until others take it over." + _SHARDS,
    actions=(
        Action("check_process_down", ActionType.ALERT, "server", "Check the process[ {processes:code}]: its log, CPU, memory, host and network. Restart it if it hangs. Leave the workers as they are.", 0.8),
    ),
    logs=("panic", "server hangs", "no members", "not enough hosts"),
)  # fmt: skip
HISTORY_HOST_STALLED = Finding(
    "history_host_stalled", _history_host_stalled, "history",
    title="One of the history hosts completes no task: {hosts:code}",
    cause="The others of {of:brief} history hosts do. Its shards make no progress, and requests for them wait and fail." + _SHARDS,
    actions=(
        Action("restart_host", ActionType.RESTART, "history", "Save the log of the host[ {hosts:code}], then restart it, so that the others take its shards. Leave the workers as they are.", 0.8, "medium"),
    ),
    logs=("server hangs", "shard not acquired", "shard status unknown"),
)  # fmt: skip
SERVICE_NOT_ANSWERING = Finding(
    "service_not_answering", _service_not_answering, "matching",
    title="The {service} service does not answer: {rate:per_sec call} of other services fail",
    cause="They time out or find no one, so at least one {service} process is frozen, gone or cut off. What it owned (shards, "
    "task queue partitions) waits until others take it over." + _SHARDS,
    actions=(
        Action("find_silent_process", ActionType.ALERT, "server", "Find the {service} process that does not answer: its log, CPU, memory, host and network. Restart it if it hangs. Leave the workers as they are.", 0.8),
    ),
)  # fmt: skip
SYSTEM_WORKERS_MISSING = Finding(
    "system_workers_missing", _system_workers_missing, "matching",
    title="Temporal's own workers are missing: no progress of {stands}",
    cause="The oldest task on {queue:code} is {age:span} old, and none is dispatched[{no_polls:flag}: no poll is pending there]. These "
    "tasks are for the server's worker role, not for your workers.",
    actions=(
        Action("check_worker_role", ActionType.ALERT, "server", "Check the server's worker role: that its process runs, what its log says, and that it reaches the frontend (address, certificates, rate limits). Your own workers are not concerned.", 0.85),
    ),
)  # fmt: skip
WORKER_DEPLOYMENT_LIMIT = Finding(
    "worker_deployment_limit", _worker_deployment_limit, "workers",
    title="Polls are refused: too many worker deployments",
    cause="The namespace has as many worker deployments or versions as {limit:code} allows, so polls of a new one are refused and "
    "tried again. Older versions work on.",
    actions=(
        Action("remove_versions", ActionType.CONFIGURE, "workers", "Delete worker deployments or versions that are not needed, or raise the namespace's limit on them.", 0.85),
    ),
)  # fmt: skip
BUSY_WORKFLOW = Finding(
    "busy_workflow", _busy_workflow, "application",
    title="One workflow is too busy: {rate:per_sec request} refused",
    cause="It gets more signals, updates or queries than it can take one after another (BusyWorkflow). No limit can be "
    "raised; other workflows are not affected.",
    actions=(
        Action("spread_requests", ActionType.ALERT, "application", "Tell the team that owns the callers: send that workflow fewer requests, batch them, or spread them over several workflows.", 0.8),
    ),
)  # fmt: skip
DLQ_MESSAGES = Finding(
    "dlq_messages", _dlq_messages, "history",
    title="The dead letter queue (DLQ) holds {count:count task}",
    cause="[Tasks of category {category:code}][{some:flag}History tasks] that failed for good are parked there and are not tried again: "
    "workflows or schedules that need them stay silent.",
    actions=(
        Action("read_dlq", ActionType.ALERT, "history", "List them with `tdbg dlq`, fix why they failed, then merge them back.", 0.8),
    ),
    note=True,
    logs=("task in the dead letter queue",),
)  # fmt: skip
FRONTEND_ERRORS = Finding(
    "frontend_errors", _frontend_errors, "frontend",
    title="Requests fail with server errors",
    cause="[{service:flag}The {service} service does not answer the others. ][{unanswered:flag}The frontend takes requests and does not answer them: what it calls hangs.][{failing:flag}The "
    "server fails requests while few database calls fail: a history or matching process is down, overloaded or out of "
    "the ring, or its calls hang.][ Most failures: {operation:code}.]",
    actions=(
        Action("check_history", ActionType.ALERT, "history", "Read the log of history and matching for the operation that fails most, and check that every process is up and sees the others. Restarting the workers does not help.", 0.75),
    ),
    logs=("no members", "not enough hosts", "certificate or login refused", "no connection free", "shard not acquired"),
)  # fmt: skip
MEMBERSHIP_CHANGE = Finding(
    "membership_change", _membership_change, "history",
    title="A server process joined or left[ {ago:span} ago]",
    cause="While shards move, requests for them wait or fail; then caches are cold, database calls take longer, and polls "
    "come back one by one." + _SHARDS,
    actions=(
        Action("check_process", ActionType.ALERT, "server", "If no one deployed or scaled, find out why the process ended. Otherwise wait two minutes.", 0.7),
    ),
    logs=("panic", "no members", "cluster metadata changed by another", "membership change"),
)  # fmt: skip
SHARD_CHURN = Finding(
    "shard_churn", _shard_churn, "history",
    title="Shards move between history hosts",
    cause="Shards open and close: history hosts come and go, or lose their leases." + _SHARDS,
    actions=(
        Action("check_history_hosts", ActionType.ALERT, "history", "Check whether history hosts restart or lose contact with each other.", 0.7),
    ),
    logs=("shard ownership lost", "no members"),
)  # fmt: skip
PERSISTENCE_SLOW = Finding(
    "persistence_slow", _persistence_slow, "persistence",
    title="The database is slow",
    cause="Database calls take long, and everything the server does waits for them.",
    actions=(
        Action("check_database_load", ActionType.ALERT, "persistence", "Check the database's load, slow queries and disk. More workers add load.", 0.75),
    ),
    logs=("no connection free", "reservoir discard", "database locked"),
)  # fmt: skip
HISTORY_BACKLOG = Finding(
    "history_backlog", _history_backlog, "history",
    title="History is behind with its tasks",
    cause="History completes its tasks late or not at all; nothing downstream can be faster.",
    actions=(
        Action("check_history", ActionType.ALERT, "history", "Find what history's tasks wait for: database, locks, throttling.", 0.65),
    ),
)  # fmt: skip
FRONTEND_SLOW = Finding(
    "frontend_slow", _frontend_slow, "frontend",
    title="The frontend answers slowly",
    cause="[Requests wait {shard_ms:took} (p99) for their turn to write to a shard.]"
    "[{other:flag}What the frontend waits for, history or the database, is slow.]",
    actions=(
        Action("check_behind_frontend", ActionType.ALERT, "frontend", "Check the history service and the database behind the slow calls.", 0.6),
    ),
)  # fmt: skip
CLIENT_MISTAKES = Finding(
    "client_mistakes", _client_mistakes, "application",
    title="Clients make {rate:per_sec mistake}",
    cause="[Most mistakes: {operation:code} ({error_type}). ]The server answers them correctly.",
    actions=(
        Action("tell_callers", ActionType.ALERT, "application", "Tell the team that owns the callers. The cluster needs no change.", 0.8),
    ),
    note=True,
)  # fmt: skip
