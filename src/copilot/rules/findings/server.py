"""Findings about the server, its database, and our view of it."""

from collections import Counter

from copilot.rules.findings.context import Action, Finding, FindingContext, Found, present
from copilot.rules.findings.processes import lost_processes
from copilot.rules.gates import pressure, progress
from copilot.rules.model import ActionType

BUSY_REQUESTS = 10.0
HOLDS = 10.0
LONG_WAIT_MS = 100.0
FEW_CUT_SHORT = 0.05
DEPLOYMENT_LIMIT = "WorkerDeploymentLimits"
OVERLOADED = ("SystemOverloaded", "CircuitBreakerOpen", "BusyWorkflow")
"""Causes of refusals that no higher limit takes away."""


def _server_unreachable(context: FindingContext) -> Found | None:
    """The frontend does not answer its health check, or no worker."""
    gates = context.firing(progress.FRONTEND_UNREACHABLE)
    return Found(gates, sure=progress.server_away(context.view.signals)) if gates else None


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
    """Database calls fail, more than a few while others take over from a process that is away."""
    gates = context.firing(pressure.PERSISTENCE_ERRORS)
    if not gates or _cut_short(context):
        return None
    consequences = context.firing(progress.REQUESTS_REJECTED, pressure.FRONTEND_ERRORS, progress.WORK_STALLED)
    row = context.top_row("persistence.error_rate_per_sec")
    evidence = present(operation=row.label("operation"), error_type=row.label("error_type")) if row else {}
    return Found([*gates, *consequences], evidence)


def _cut_short(context: FindingContext) -> bool:
    """Whether database calls fail only because a server process went away or lost its shards: a few, and no others."""
    errors, calls = context.value("persistence.error_rate_per_sec"), context.value("persistence.request_rate_per_sec")
    at = context.view.memory.members_at
    moved = at is not None and (context.view.now - at).total("seconds") <= 2 * context.view.window_sec
    return bool(calls and errors and errors < FEW_CUT_SHORT * calls) and (moved or bool(lost_processes(context)[0]))


def _persistence_throttled(context: FindingContext) -> Found | None:
    """The server's persistence rate limit refuses its own database calls."""
    gates = context.firing(pressure.PERSISTENCE_THROTTLED)
    if context.throttled_by_persistence:
        gates += context.firing(pressure.HISTORY_THROTTLED)
    sure = not context.firing(pressure.PERSISTENCE_ERRORS) and context.settled("persistence_throttled")
    return Found(gates, sure=sure) if gates else None


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
    refused = any(gate.value for gate in gates if gate.name == pressure.RATE_LIMITED.name)
    slow = context.firing(pressure.PERSISTENCE_LATENCY) and context.lasts(pressure.PERSISTENCE_LATENCY.name)
    sure = refused and cause not in OVERLOADED and not slow and context.settled("rate_limited")
    return Found(gates, present(limit=cause, unnamed=not cause, operation=operation), sure=sure)


def _worker_deployment_limit(context: FindingContext) -> Found | None:
    """Polls are refused because the namespace has as many worker deployments as it may."""
    gates = context.firing(pressure.RATE_LIMITED)
    found = gates and _limit(context) == DEPLOYMENT_LIMIT
    return Found(gates, {"limit": DEPLOYMENT_LIMIT}, sure=context.settled("worker_deployment_limit")) if found else None


def _busy_workflow(context: FindingContext) -> Found | None:
    """One workflow gets more requests than it can take."""
    rate = context.value("clients.busy_workflow_per_sec") or 0.0
    if rate * context.view.window_sec < BUSY_REQUESTS:
        return None
    return Found(context.firing(pressure.FRONTEND_LATENCY), {"rate": rate}, signals=("clients.busy_workflow_per_sec",))


def _dlq_messages(context: FindingContext) -> Found | None:
    """History tasks lie in the dead letter queue and are not tried again."""
    count, written = context.value("queue.dlq_messages"), context.value("queue.dlq_writes_per_sec")
    if not count and not written:
        return None
    row = context.top_row("queue.dlq_messages") or context.top_row("queue.dlq_writes_per_sec")
    category = row.label("task_category") if row else ""
    evidence = present(count=count, written=None if count else written, category=category, some=not category)
    return Found([], evidence, signals=("queue.dlq_messages", "queue.dlq_writes_per_sec"))


def _frontend_errors(context: FindingContext) -> Found | None:
    """Requests fail with server errors, and nothing points at the database."""
    gates = context.firing(progress.REQUESTS_REJECTED, pressure.FRONTEND_ERRORS)
    if not gates or context.firing(pressure.PERSISTENCE_ERRORS, pressure.RATE_LIMITED) or _database_holds(context):
        return None
    unanswered = any(g.aspect == progress.UNANSWERED for g in gates)
    operation, service = context.top_label("frontend.error_rate_per_sec", "operation"), context.silent_service[0]
    evidence = present(operation=operation, service=service, unanswered=unanswered, failing=not unanswered)
    return Found(gates, evidence)


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
    lock_ms = context.value("workflow_lock.latency_p99_ms") or 0.0
    of_shard, of_lock = wait_ms > LONG_WAIT_MS, lock_ms > LONG_WAIT_MS
    evidence = present(
        shard_ms=wait_ms if of_shard else None, lock_ms=lock_ms if of_lock else None, other=not (of_shard or of_lock)
    )
    return Found(gates, evidence)


def _client_mistakes(context: FindingContext) -> Found | None:
    """Clients ask for what does not exist or already exists: their mistakes, not the server's."""
    mistakes, requests = context.value("clients.mistakes_per_sec"), context.value("frontend.request_rate_per_sec")
    if not mistakes or not requests or mistakes * context.view.window_sec < 10 or mistakes < 0.1 * requests:
        return None
    row = context.top_row("clients.mistakes_per_sec")
    most = present(operation=row.label("operation"), error_type=row.label("error_type")) if row else {}
    return Found([], {"rate": mistakes, **most}, signals=("clients.mistakes_per_sec",))


SERVER_UNREACHABLE = Finding(
    "server_unreachable", _server_unreachable, "frontend",
    title="The Temporal frontend does not answer",
    cause="The server is down, frozen, or unreachable from here. Other readings may be out of date.",
    actions=(
        Action("check_server", ActionType.ALERT, "frontend", "Check that the server's processes run and answer; check the host and the network. Do not restart the workers: they reconnect by themselves.", 0.9),
        Action("restart_server", ActionType.RESTART, "frontend", "Restart the server if its process hangs or is gone.", 0.6, "medium"),
    ),
    logs=("panic", "no members", "server hangs", "cluster metadata changed by another"),
    looks_like=("metrics_blind", "Here the frontend fails its health check; there it answers, and only metrics are lost."),
)  # fmt: skip
METRICS_BLIND = Finding(
    "metrics_blind", _metrics_blind, "frontend",
    title="Not enough data: most of the cluster's metrics cannot be read",
    cause="[{lost_1:count signal} cannot be read ({reason_1})][; {lost_2:count signal} cannot be read ({reason_2})]"
    "[{nothing:flag}Nothing was read].",
    actions=(
        Action("restore_metrics", ActionType.CONFIGURE, "metrics", "Restore access to the metrics endpoint. Until then check the cluster by hand: this verdict says nothing either way.", 0.9),
    ),
    looks_like=("server_unreachable", "Here the frontend answers its health check, or no one asks it; there it does not answer."),
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
    looks_like=("persistence_slow", "Here calls end with errors, or take ten times the limit; there they succeed late."),
)  # fmt: skip
PERSISTENCE_THROTTLED = Finding(
    "persistence_throttled", _persistence_throttled, "persistence",
    title="The persistence rate limit holds work back",
    cause="The server's persistence rate limit refuses its own database calls: history retries its tasks while workers "
    "are idle. An empty backlog is expected here and proves nothing.",
    actions=(
        Action("raise_persistence_limit", ActionType.CONFIGURE, "history", "Raise the persistence rate limit, if the database has capacity for it. More workers do not help.", 0.8, "medium"),
        Action("find_calls", ActionType.ALERT, "history", "Find what makes so many database calls: a burst of load, a large clean-up, or calls that are retried.", 0.6),
    ),
    logs=("rate limit",),
    looks_like=("rate_limited", "Here the server refuses its own database calls (PersistenceLimit); there it refuses requests and polls."),
)  # fmt: skip
RATE_LIMITED = Finding(
    "rate_limited", _rate_limited, "frontend",
    title="A rate limit refuses requests and polls",
    cause="[The limit {limit:code} refuses requests][{unnamed:flag}A rate limit refuses requests]"
    "[, most often {operation:code}]. Polls are refused too, so workers starve while idle.",
    actions=(
        Action("raise_request_limit", ActionType.CONFIGURE, "frontend", "Raise the namespace's request rate limit, or reduce the calls. More workers only poll more.", 0.85, "medium"),
        Action("find_callers", ActionType.ALERT, "clients", "Find who sends so many requests, and whether they retry faster than the server can answer.", 0.6),
    ),
    logs=("rate limit",),
    looks_like=("busy_workflow", "Here a limit refuses requests for many workflows; there one workflow refuses its own (BusyWorkflow)."),
)  # fmt: skip
WORKER_DEPLOYMENT_LIMIT = Finding(
    "worker_deployment_limit", _worker_deployment_limit, "workers",
    title="Polls are refused: too many worker deployments",
    cause="The namespace has as many worker deployments or versions as {limit:code} allows, so polls of a new one are refused and "
    "tried again. Older versions work on.",
    actions=(
        Action("remove_versions", ActionType.CONFIGURE, "workers", "Delete worker deployments or versions that are not needed, or raise the namespace's limit on them.", 0.85, "medium"),
    ),
    looks_like=("rate_limited", "Here the cause of the refusals is WorkerDeploymentLimits; there it is a rate."),
)  # fmt: skip
BUSY_WORKFLOW = Finding(
    "busy_workflow", _busy_workflow, "application",
    title="One workflow is too busy: {rate:per_sec request} refused",
    cause="It gets more signals, updates or queries than it can take one after another (BusyWorkflow). No limit can be "
    "raised; other workflows are not affected.",
    actions=(
        Action("spread_requests", ActionType.ALERT, "application", "Tell the team that owns the callers: send that workflow fewer requests, batch them, or spread them over several workflows.", 0.8),
    ),
    looks_like=("rate_limited", "Here one workflow refuses (BusyWorkflow), and no limit helps; there a limit refuses many."),
)  # fmt: skip
DLQ_MESSAGES = Finding(
    "dlq_messages", _dlq_messages, "history",
    title="[The dead letter queue (DLQ) holds {count:count task}][{written:flag}Tasks are put into the dead letter queue (DLQ)]",
    cause="[Tasks of category {category:code}][{some:flag}History tasks] that failed for good are parked there and are not tried again: "
    "workflows or schedules that need them stay silent.[ Last seen {ago:span} ago.]",
    actions=(
        Action("read_dlq", ActionType.ALERT, "history", "List them with `tdbg dlq`, fix why they failed, then merge them back.", 0.8),
    ),
    note=True, kept_sec=14_400.0,
    logs=("task in the dead letter queue",),
    looks_like=("history_backlog", "Here tasks are given up and not tried again; there they are late."),
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
    looks_like=("persistence_failing", "Here few database calls fail; there they fail first."),
)  # fmt: skip
PERSISTENCE_SLOW = Finding(
    "persistence_slow", _persistence_slow, "persistence",
    title="The database is slow",
    cause="Database calls take long, and everything the server does waits for them.",
    actions=(
        Action("check_database_load", ActionType.ALERT, "persistence", "Check the database's load, slow queries and disk. More workers add load.", 0.75),
    ),
    logs=("no connection free", "reservoir discard", "database locked"),
    looks_like=("persistence_failing", "Here calls succeed late; there they fail."),
)  # fmt: skip
HISTORY_BACKLOG = Finding(
    "history_backlog", _history_backlog, "history",
    title="History is behind with its tasks",
    cause="History completes its tasks late or not at all; nothing downstream can be faster.",
    actions=(
        Action("check_history", ActionType.ALERT, "history", "Find what history's tasks wait for: database, locks, throttling.", 0.65),
    ),
    looks_like=("worker_slow", "Here tasks wait inside history; there they wait for a worker."),
)  # fmt: skip
FRONTEND_SLOW = Finding(
    "frontend_slow", _frontend_slow, "frontend",
    title="The frontend answers slowly",
    cause="[Requests wait {shard_ms:took} (p99) for their turn to write to a shard.]"
    "[ Requests wait {lock_ms:took} (p99) for the lock of their workflow: some get many requests at once.]"
    "[{other:flag}What the frontend waits for, history or the database, is slow.]",
    actions=(
        Action("check_behind_frontend", ActionType.ALERT, "frontend", "Check the history service and the database behind the slow calls.", 0.6),
    ),
    looks_like=("persistence_slow", "Here the database answers in time; there it is what the frontend waits for."),
)  # fmt: skip
CLIENT_MISTAKES = Finding(
    "client_mistakes", _client_mistakes, "application",
    title="Clients make {rate:per_sec mistake}",
    cause="[Most mistakes: {operation:code} ({error_type}). ]The server answers them correctly.",
    actions=(
        Action("tell_callers", ActionType.ALERT, "application", "Tell the team that owns the callers. The cluster needs no change.", 0.8),
    ),
    note=True,
    looks_like=("frontend_errors", "Here the server answers correctly (NotFound, AlreadyStarted); there it fails."),
)  # fmt: skip
