"""Findings about workers, their load, and the code they run."""

from copilot.rules.bottleneck import backlog_flows, exhausted_slots
from copilot.rules.findings.context import Action, Finding, FindingContext, Found, backlog_of, present
from copilot.rules.findings.worker_ends import unanswered_tasks
from copilot.rules.flow import Flow, sanitized
from copilot.rules.gates import pressure, progress
from copilot.rules.gates.registry import BACKLOG, SERVER_REFUSES, SERVER_SLOW
from copilot.rules.memory import bursting, by_queue, full_queues
from copilot.rules.model import ActionType, Evidence
from copilot.rules.scaling import pollers_over_slots

BURST_FELT_FOR_SEC = 300.0
NAMED_QUEUES = 3
RESTARTS_AGAIN = 2
TIMED_OUT = "activity_tasks.timed_out_per_sec"
TIMEOUTS = {
    "StartToClose": ("ran", "start-to-close"),
    "Heartbeat": ("silent", "heartbeat"),
    "ScheduleToStart": ("untaken", "schedule-to-start"),
    "ScheduleToClose": ("overall", "schedule-to-close"),
}
"""The kinds of activity timeouts as the server names them: the key of what the cause says, and the usual name."""
LONG_HISTORIES = (20_000.0, 50_000.0)
"""Bounds of the server's histogram; it warns at 10,240 events and ends a workflow at 51,200."""


def _load_burst(context: FindingContext) -> Found | None:
    """Far more workflows are started than usual, or were until a while ago and are not done yet. Starts of a single
    moment stay in their rate for a window: where nothing suffers, only a longer burst counts."""
    view, memory = context.view, context.view.memory
    starts, usual = context.value("demand.starts_per_sec"), memory.usual_starts or 0.0
    slow = (pressure.FRONTEND_LATENCY, pressure.PERSISTENCE_LATENCY, pressure.HISTORY_LATENCY)
    gates = context.firing(*BACKLOG, *slow)
    since = memory.burst_since
    lasts = since is not None and (view.now - since).total("seconds") >= view.window_sec
    signals = ("demand.starts_per_sec",)
    if (lasts or gates) and bursting(memory, starts, view.now, view.window_sec, view.thresholds.burst_factor):
        retries = bool(context.firing(progress.REQUESTS_REJECTED, pressure.FRONTEND_ERRORS))
        many = starts or 0.0
        return Found(gates, present(times=many / usual, starts=many, usual=usual, retries=retries), signals=signals)
    ago = (view.now - memory.burst_at).total("seconds") if memory.burst_at is not None else None
    if ago is None or ago > BURST_FELT_FOR_SEC or not gates:
        return None
    return Found(gates, present(over=True) | {"ago": ago, "usual_before": usual}, signals=signals)


def _workers_restarting(context: FindingContext) -> Found | None:
    """Worker processes restart again and again: each takes its work with it."""
    rows = [r for r in context.view.signals.rows("workers.restarts") if r.value >= RESTARTS_AGAIN]
    if not rows:
        return None
    where = tuple(sorted(r.label("instance") for r in rows))
    gates = context.firing(*BACKLOG, pressure.WORKFLOW_TASK_FAILURES, pressure.ACTIVITY_FAILURES)
    evidence: Evidence = {"processes": where, "times": max(r.value for r in rows)}
    return Found(gates, evidence, ", ".join(where), signals=("workers.restarts",))


def _slots_exhausted(context: FindingContext) -> Found | None:
    """There is a backlog and all slots of a type are in use."""
    kind, gates = exhausted_slots(context.view), context.firing(*BACKLOG)
    if kind is None or not gates:
        return None
    used = by_queue(context.view.signals, f"workers.{kind}_slots_used")
    full = sum(used.get(queue, 0.0) for queue in full_queues(context.view.signals, kind))
    all_used = full or context.value(f"workers.{kind}_slots_used")
    evidence = {"kind": kind, **_backlog(context, kind)} | present(used=all_used)
    if kind == "activity":
        evidence |= context.durations(execution_ms="workers.activity_execution_p95_ms")
    return Found(gates, evidence, signals=(f"workers.{kind}_slots_available", f"workers.{kind}_slots_used"))


def _backlog(context: FindingContext, kind: str = "") -> Evidence:
    """The backlog (of one task type, if it has one), with the task queues if they are few."""
    flows: list[Flow] = backlog_flows(context.view)
    return backlog_of([f for f in flows if kind and f.task_type == kind] or flows, name_at_most=NAMED_QUEUES)


def _workflow_task_failures(context: FindingContext) -> Found | None:
    """Workflow tasks fail or time out in the workers, so executions are stuck."""
    gates = context.firing(pressure.WORKFLOW_TASK_FAILURES, pressure.WORKFLOW_TASK_ATTEMPTS)
    if not gates or context.late_workflow_tasks or unanswered_tasks(context):
        return None
    if context.firing(*SERVER_REFUSES, *SERVER_SLOW):
        return Found(gates, present(of_server=True))
    failed = ("workflow_tasks.failed_per_sec", "worker_tasks.workflow_task_failures_per_sec")
    code_fails = bool(context.view.stuck_for_sec) or any(context.value(i) for i in failed)
    row = context.top_row("worker_tasks.workflow_task_failures_per_sec")
    reason = context.top_label("workflow_tasks.failed_per_sec", "failure")
    if row:
        seen = present(workflow_type=row.label("workflow_type"), reason=row.label("failure_reason") or reason)
    else:
        seen = present(reason=reason) or _remembered(context)
    mismatch = "determinis" in str(seen.get("reason", "")).lower()
    evidence = present(own=True, mismatch=mismatch, minutes=bool(context.view.stuck_for_sec)) | seen
    return Found(gates, evidence, sure=code_fails and context.settled("workflow_task_failures"))


def _remembered(context: FindingContext) -> Evidence:
    """The workflow type and the reason of failures when they were last seen: between two attempts none is."""
    cause = context.view.memory.cause
    if cause is None or cause.finding != WORKFLOW_TASK_FAILURES.name:
        return {}
    return {key: value for key in ("workflow_type", "reason") if (value := cause.evidence.get(key))}


def _retry_storm(context: FindingContext) -> Found | None:
    """Activity attempts fail and are retried."""
    gates = context.firing(pressure.ACTIVITY_FAILURES)
    row = context.top_row("activity_tasks.failed_per_sec")
    kind = row.labels.get("activityType") if row else None
    return Found(gates, present(activity_type=kind, unnamed=not kind)) if gates else None


def _activity_timeouts(context: FindingContext) -> Found | None:
    """Activity attempts time out, by the kind of timeout where that is known."""
    gates, row = context.firing(pressure.ACTIVITY_TIMEOUTS), context.top_row(TIMED_OUT)
    if not gates:
        return None
    key, kind = TIMEOUTS.get(row.label("timeout_type") if row else "", ("unknown", ""))
    activity_type = row.labels.get("activityType") if row else None
    return Found(gates, present(activity_type=activity_type, kind=kind, **{key: True}))


def _queries_unanswered(context: FindingContext) -> Found | None:
    """No worker answers queries and updates, which are never stored in a backlog."""
    gates = context.firing(pressure.QUERIES_UNANSWERED)
    if not gates:
        return None
    polls = [r for r in context.view.signals.rows("poller.pending_polls") if r.label("task_type") != "activity"]
    unpolled = tuple(sorted({r.label("task_queue") for r in polls if r.value == 0}))
    row = context.top_row("queries.unanswered_per_sec")
    evidence = present(operation=row.label("operation"), namespace=row.label("namespace")) if row else {}
    return Found(gates, evidence | present(unpolled=unpolled), signals=("poller.pending_polls",))


def _history_too_long(context: FindingContext) -> Found | None:
    """A workflow's history comes near the limit at which the server ends the workflow."""
    events = context.value("history_length.longest_events") or 0.0
    over = max((bound for bound in LONG_HISTORIES if events > bound), default=0.0)
    return Found([], {"over": over}, signals=("history_length.longest_events",)) if over else None


def _sticky_cache_thrash(context: FindingContext) -> Found | None:
    """Workers evict workflows from their cache and replay them."""
    evicted = context.value("worker_cache.forced_evictions_per_sec")
    missed, hits = context.value("worker_cache.sticky_miss_per_sec"), context.value("worker_cache.sticky_hit_rate")
    if not evicted or not missed or hits is None or hits > 0.95:
        return None
    if min(evicted, missed) * context.view.window_sec < 3:
        return None
    ids = ("worker_cache.forced_evictions_per_sec", "worker_cache.sticky_hit_rate")
    return Found([], {"evicted": evicted, "missed": missed}, signals=ids)


def _worker_slow(context: FindingContext) -> Found | None:
    """Workers poll and have slots, and do not keep up."""
    gates = context.firing(*BACKLOG)
    excused = (
        context.workers.no_pollers
        or context.workers.slots_exhausted
        or context.draining
        or context.silent_service[0]
        or context.server_refuses
        or context.firing(pressure.FRONTEND_LATENCY)
        or any(context.lasts(gate.name) for gate in context.firing(*SERVER_SLOW))
    )
    if not gates or excused:
        return None
    first = backlog_flows(context.view)[0]
    activity = first.task_type == "activity"
    full = sanitized(first.task_queue) in full_queues(context.view.signals, "activity" if activity else "workflow")
    took = {"activity_ms": "activity_execution"} if activity else {"workflow_ms": "wft_execution"}
    evidence = _backlog(context) | present(full=full, free=context.workers.slots_exhausted is False and not full)
    return Found(gates, evidence | context.durations(**{k: f"workers.{name}_p95_ms" for k, name in took.items()}))


def _poller_executor_mismatch(context: FindingContext) -> Found | None:
    """Workers run at least as many pollers as slots."""
    kind = pollers_over_slots(context.view.signals)
    ids = (f"workers.{kind}_pollers", f"workers.{kind}_slots_available")
    return None if kind is None else Found([], {"kind": kind}, signals=ids)


def _application_failures(context: FindingContext) -> Found | None:
    """Workflows fail by their own code."""
    gates = context.firing(pressure.APPLICATION_FAILURES)
    if not gates:
        return None
    row = context.top_row("workflow_completion.failed_per_sec")
    failed = context.value("workflow_completion.failed_per_sec") or 0.0
    return Found(gates, {"failed": failed, **present(workflow_type=row.labels.get("workflowType") if row else None)})


_BACKLOG = "[: {backlog:count task} in the backlog][ of {queues:code}][, oldest {age:span}]"
LOAD_BURST = Finding(
    "load_burst", _load_burst, "application",
    title="[A burst of load: {times:brief} times the usual][{over:flag}A burst of load is over, its work is not done]",
    cause="[{starts:per_sec workflow} started, {usual:rate} is usual.][{retries:flag} Some may be callers that retry "
    "failed requests.][Until {ago:span} ago far more workflows were started than the usual {usual_before:rate}; they "
    "still run.]",
    actions=(
        Action("find_client", ActionType.ALERT, "clients", "Identify the client that starts these workflows, and whether the load is expected to continue.", 0.7),
        Action("add_workers", ActionType.SCALE, "workers", "Add workers if the load is permanent.", 0.5),
    ),
    looks_like=("worker_slow", "Here far more is started than usual; there the load is as usual."),
)  # fmt: skip
WORKERS_RESTARTING = Finding(
    "workers_restarting", _workers_restarting, "workers",
    title="Workers restart again and again: {processes:code}",
    cause="Up to {times:brief} restarts in five minutes. What a worker ran when it ended waits for its timeout, and its "
    "workflow cache is gone.",
    actions=(
        Action("find_why_restarts", ActionType.ALERT, "workers", "Find out why the process ends: killed for its memory, a crash, a failing probe. Its last log lines and the exit code tell; a smaller workflow cache or more memory helps in the first case.", 0.85),
    ),
    looks_like=("no_pollers", "Here worker processes come back again and again; there none is left."),
)  # fmt: skip
SLOTS_EXHAUSTED = Finding(
    "slots_exhausted", _slots_exhausted, "workers",
    title="Workers have no free {kind} slots" + _BACKLOG,
    cause="[All {used:brief} {kind} slots are in use, so ]workers stop polling for {kind} tasks."
    "[ Activities take {execution_ms:took} (p95).]",
    actions=(
        Action("add_slots", ActionType.SCALE, "workers", "Add workers or slots, and find what holds the slots. Do not stop the full workers first.", 0.85),
    ),
    looks_like=("worker_slow", "Here all slots of a type are in use; there some are free."),
)  # fmt: skip
WORKFLOW_TASK_FAILURES = Finding(
    "workflow_task_failures", _workflow_task_failures, "workers",
    title="Workflow tasks fail in the workers",
    cause="[{of_server:flag}They may fail only because the server is slow or refuses requests; the workflow code may be "
    "fine.][{own:flag}Workflow code][ of type {workflow_type:code}][{own:flag} fails or hangs. Its tasks are retried "
    "forever: executions are stuck, not failed.][ Most failures: {reason:code}][{mismatch:flag}, so the code does not fit the "
    "history of running workflows][{reason:flag}.][{minutes:flag} Some have failed for minutes: the workers' log names "
    "them and says why.]",
    actions=(
        Action("roll_back_workers", ActionType.RESTART, "workers", "Roll back the last worker release. Stuck executions then continue by themselves; do not terminate them.", 0.8, "medium"),
        Action("read_worker_log", ActionType.ALERT, "workers", "Find in the workers' log why workflow tasks fail or time out, before anything is changed.", 0.7),
    ),
    logs=("nondeterminism", "panic", "message too large"),
    looks_like=("retry_storm", "Here workflow tasks fail, which is workflow code; there activities do."),
)  # fmt: skip
RETRY_STORM = Finding(
    "retry_storm", _retry_storm, "application",
    title="Activities fail and are retried",
    cause="[Activity {activity_type:code} fails most][{unnamed:flag}An activity fails]; what it depends on is probably "
    "down. The work is delayed, not lost.",
    actions=(
        Action("check_dependency", ActionType.ALERT, "application", "Check what the failing activity depends on; its retries are automatic. Restarting the workers does not help.", 0.8),
    ),
    looks_like=("application_failures", "Here activities fail and are retried; there whole workflows end as failed."),
)  # fmt: skip
ACTIVITY_TIMEOUTS = Finding(
    "activity_timeouts", _activity_timeouts, "workers",
    title="Activities time out[ ({kind})]",
    cause="[Most timeouts: {activity_type:code}. ][{ran:flag}An attempt takes longer than its start-to-close timeout, or "
    "the worker that ran it is gone.][{silent:flag}No heartbeat came in time: the worker that ran it is gone or hangs, or "
    "the code does not heartbeat often enough.][{untaken:flag}No worker took the task within its schedule-to-start "
    "timeout.][{overall:flag}All attempts together took longer than the schedule-to-close timeout.][{unknown:flag}Their "
    "workers are gone, hang, or are slower than the timeouts allow.]",
    actions=(
        Action("compare_timeout", ActionType.ALERT, "application", "Compare how long the activity takes with its timeout, and check that the workers that run it stay alive. Raise the timeout only if the work really takes that long.", 0.75),
    ),
    looks_like=("retry_storm", "Here attempts end by a timeout, without an answer from a worker; there the code reports a failure."),
)  # fmt: skip
QUERIES_UNANSWERED = Finding(
    "queries_unanswered", _queries_unanswered, "workers",
    title="No worker answers queries and updates",
    cause="Their callers give up[, most often {operation:code}][ in namespace {namespace:code}]. A worker must answer while "
    "the caller waits; nothing is stored, so an empty backlog proves nothing.[ No worker polls {unpolled:code}.]",
    actions=(
        Action("check_workers_of_type", ActionType.ALERT, "workers", "Check that workers[ for {unpolled:code}] run the workflow types that are queried, and are neither full nor blocked.", 0.8),
    ),
    logs=("no poller", "deadline exceeded"),
    looks_like=("no_pollers", "Here callers wait for an answer and no backlog shows; there tasks are stored in a backlog."),
)  # fmt: skip
HISTORY_TOO_LONG = Finding(
    "history_too_long", _history_too_long, "application",
    title="A workflow history has more than {over:brief} events",
    cause="It should continue as new long before: the server warns at ten thousand events, and at fifty thousand it "
    "terminates the workflow.[ Last seen {ago:span} ago.]",
    actions=(
        Action("continue_as_new", ActionType.ALERT, "application", "Tell the team that owns the workflow type: continue as new before the history grows that long.", 0.8),
    ),
    note=True, kept_sec=3600.0,
    logs=("over a size limit",),
    looks_like=("sticky_cache_thrash", "Here one history is too long; there many workflows are replayed for want of cache."),
)  # fmt: skip
STICKY_CACHE_THRASH = Finding(
    "sticky_cache_thrash", _sticky_cache_thrash, "workers",
    title="The workers' workflow cache is too small",
    cause="Workers evict {evicted:per_sec workflow} from their cache and replay {missed:rate} from history.",
    actions=(
        Action("raise_cache", ActionType.CONFIGURE, "workers", "Raise the workers' workflow cache size, or add workers.", 0.75),
    ),
    looks_like=("worker_slow", "Here workers evict workflows from their cache and replay them; there they do not."),
)  # fmt: skip
WORKER_SLOW = Finding(
    "worker_slow", _worker_slow, "workers",
    title="Workers do not keep up" + _BACKLOG,
    cause="They poll[{free:flag} and have free slots][{full:flag} only when one of their slots, nearly all in use there, is "
    "free], and take fewer tasks than are added."
    "[ Activities take {activity_ms:took} (p95).][ Workflow tasks take {workflow_ms:took} (p95).]",
    actions=(
        Action("add_workers", ActionType.SCALE, "workers", "Add workers, or find what their code waits for.", 0.7),
    ),
    weak=True,
    looks_like=("dispatch_limited", "Here no poll waits for the tasks; there polls are pending, and the queue holds tasks back."),
)  # fmt: skip
POLLER_EXECUTOR_MISMATCH = Finding(
    "poller_executor_mismatch", _poller_executor_mismatch, "workers",
    title="Workers run at least as many {kind} pollers as slots",
    cause="Pollers hold every {kind} slot of idle workers: pollers beyond the slots can only wait.",
    actions=(
        Action("fewer_pollers", ActionType.CONFIGURE, "workers", "Configure fewer pollers than slots.", 0.8),
    ),
    note=True,
    looks_like=("slots_exhausted", "Here slots are free; there all are in use."),
)  # fmt: skip
APPLICATION_FAILURES = Finding(
    "application_failures", _application_failures, "application",
    title="Workflows fail by their own code",
    cause="{failed:per_sec workflow} fail, and the cluster handles them as it should.[ Most failures: {workflow_type:code}.]",
    actions=(
        Action("tell_owner", ActionType.ALERT, "application", "Tell the team that owns the failing workflow type.", 0.85),
    ),
    looks_like=("workflow_task_failures", "Here workflows end as failed; there they are stuck in Running."),
)  # fmt: skip
