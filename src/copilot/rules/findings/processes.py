"""Findings about the server's processes: which is down, hangs, restarts or joined, who owns the shards, and what does not
run without Temporal's own workers."""

from whenever import TimeDelta

from copilot.rules.bottleneck import UNANSWERED
from copilot.rules.findings.context import Action, Finding, FindingContext, Found, present
from copilot.rules.flow import OWN_POLLS, sanitized
from copilot.rules.gates import pressure
from copilot.rules.gates.registry import BACKLOG, SERVER_REFUSES, SERVER_SLOW
from copilot.rules.model import ActionType, Evidence
from copilot.rules.signals.readings import BreakdownRow

SERVICES = ("frontend", "history", "matching")
HOST_TASKS = 10.0
MEMBERS_FELT_FOR = TimeDelta(minutes=5)
RESTARTS = "deploy.task_restarts"
RESTARTS_AGAIN = 2
ONCE = 0.5
IN_ORDER = 2
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
"""What makes no progress without workers on Temporal's own task queues, by a part of the queue's name."""


def _services(context: FindingContext, name: str) -> set[str]:
    """The services of a server process: those that its page had, else what its name says."""
    known = next((p.services for p in context.view.memory.processes if p.name == name), ())
    return set(known) or {service for service in SERVICES if service in name}


def lost_processes(context: FindingContext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The server's processes that do not answer while others do: those that clients' work needs, and Temporal's own
    workers."""
    lost = context.view.signals.unread.get("server", ())
    own = tuple(name for name in lost if _services(context, name) == {"worker"}) if lost else ()
    return tuple(name for name in lost if name not in own), own


def _server_process_down(context: FindingContext) -> Found | None:
    """Some of the server's processes do not answer, others do."""
    down, _ = lost_processes(context)
    if not down:
        return None
    services = set().union(*(_services(context, name) for name in down))
    service = services.pop() if len(services) == 1 else None if services else context.silent_service[0]
    of = sum(p.services == (service,) and not p.gone for p in context.view.memory.processes)
    lost = float(len(down)) if of > len(down) else None
    evidence = present(service=service, some=not service, lost=lost, of=lost and float(of)) | _shards(context)
    signals = (SHARDS,) if "shards" in evidence else ()
    return Found(context.firing(*context.gates), {"processes": down, **evidence}, ", ".join(down), signals)


def _shards(context: FindingContext) -> Evidence:
    """How many of the cluster's shards the history hosts that are read own, and how many of them twice, where it is not
    each one once."""
    rows, server = context.view.signals.rows(SHARDS), context.view.signals.server
    owned, total = sum(row.value for row in rows), server.history_shards if server else 0
    if not rows or not total or owned == total:
        return {}
    each = " + ".join(f"{row.value:.0f}" for row in rows) if len(rows) <= NAMED_HOSTS else f"{owned:.0f}"
    return present(shards=each, of_shards=float(total), twice=max(0.0, owned - total))


def _history_host_stalled(context: FindingContext) -> Found | None:
    """One history host answers and completes no task, while the others do."""
    rows = context.view.signals.rows("history.tasks_acked_per_sec")
    idle = tuple(row.label("instance") for row in rows if row.value == 0)
    busy = [row.value for row in rows if row.value > 0]
    gates = context.firing(*context.gates)
    if not idle or not busy or not gates or sum(busy) / len(busy) * context.view.window_sec < HOST_TASKS:
        return None
    evidence = {"hosts": idle, "of": float(len(rows)), **_shards(context)}
    signals = ("history.tasks_acked_per_sec",)
    return Found(gates, evidence, ", ".join(idle), signals, sure=context.settled("history_host_stalled"))


def _service_not_answering(context: FindingContext) -> Found | None:
    """One of the server's services does not answer the others' calls, and work suffers, while the database is well."""
    (service, rate), memory = context.silent_service, context.view.memory
    gates = context.firing(*BACKLOG, *SERVER_REFUSES, *SERVER_SLOW)
    busy = memory.burst_since or context.firing(pressure.PERSISTENCE_ERRORS, pressure.PERSISTENCE_LATENCY)
    if not service or not gates or busy:
        return None
    return Found(gates, {"service": service, "rate": rate, **_shards(context)}, service, signals=(UNANSWERED,))


def _system_workers_missing(context: FindingContext) -> Found | None:
    """No one takes the tasks of Temporal's own task queues, or a process of its worker role does not answer: schedules,
    batch jobs or other work of the server make no progress."""
    gates, (_, lost) = context.firing(pressure.SYSTEM_WORKERS_MISSING), lost_processes(context)
    if not gates:
        return Found([], {"processes": lost}, ", ".join(lost)) if lost else None
    queue = gates[0].labels.get("task_queue", "")
    stopped = next((work for part, work in OWN_WORK.items() if part in sanitized(queue)), OWN_WORK[""])
    polls = context.value(OWN_POLLS)
    evidence = present(work=stopped, queue=queue, age=gates[0].value, no_polls=polls is not None, processes=lost)
    return Found(gates, evidence, queue)


def _restarted(context: FindingContext) -> list[BreakdownRow]:
    """The server's processes that restarted within five minutes."""
    return [row for row in context.view.signals.rows(RESTARTS) if row.value > 0]


def _server_restarting(context: FindingContext) -> Found | None:
    """A server process restarts again and again: each time what it owned moves."""
    again = [row for row in _restarted(context) if row.value >= RESTARTS_AGAIN]
    if not again:
        return None
    where = tuple(sorted(row.label("instance") for row in again))
    evidence: Evidence = {"processes": where, "times": max(row.value for row in again), **_shards(context)}
    return Found(context.firing(*SERVER_REFUSES, *SERVER_SLOW), evidence, ", ".join(where), signals=(RESTARTS,))


def _rolling_restart(context: FindingContext) -> Found | None:
    """Several of the server's processes restarted, each once: a release, or a node drain. It does not explain what
    began before."""
    rows, now = _restarted(context), context.view.now
    if len(rows) < IN_ORDER or any(row.value >= RESTARTS_AGAIN for row in rows):
        return None
    signals = context.view.signals
    every = signals.targets.get("server", 0) + len(signals.unread.get("server", ()))
    gates = [g for g in context.firing(*SERVER_REFUSES, *SERVER_SLOW) if now - (g.since or now) <= MEMBERS_FELT_FOR]
    evidence = present(restarted=float(len(rows)), of=float(max(every, len(rows)))) | _shards(context)
    return Found(gates, evidence, signals=(RESTARTS,))


def _membership_change(context: FindingContext) -> Found | None:
    """A server process joined or left, and since then, or soon after it, the server is slow or fails requests."""
    if _rolling_restart(context):
        return None
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


def _server_panic(context: FindingContext) -> Found | None:
    """The server caught a panic: a request or task met a bug."""
    panics, row = context.events("runtime.panics_per_sec"), context.top_row("runtime.panics_per_sec")
    if panics < ONCE:
        return None
    evidence = present(service=row.label("service_name"), operation=row.label("operation")) if row else {}
    return Found([], evidence, signals=("runtime.panics_per_sec",))


def _certificate_expired(context: FindingContext) -> Found | None:
    """A certificate of the server has expired, or soon will."""
    expired, expiring = context.value("certificates.expired"), context.value("certificates.expiring")
    evidence = present(expired=expired, expiring=None if expired else expiring)
    return Found([], evidence, signals=("certificates.expired",)) if evidence else None


_SHARDS = (
    "[ The history hosts that are read own {shards} of {of_shards:brief} shards][, {twice:brief} of them twice]"
    "[{shards:flag}.]"
)
SERVER_PROCESS_DOWN = Finding(
    "server_process_down", _server_process_down, "history",
    title="[A {service} process][{some:flag}A server process] does not answer[ ({lost:brief} of {of:brief})]: {processes:code}",
    cause="Its metrics page is not answered while others are: the process is down, frozen, or cut off, and what it owned "
    "(shards, task queue partitions) waits until others take it over." + _SHARDS,
    actions=(
        Action("check_process_down", ActionType.ALERT, "server", "Check the process[ {processes:code}]: its log, CPU, memory, host and network. Restart it if it hangs. Leave the workers as they are.", 0.8),
    ),
    logs=("panic", "server hangs", "no members", "not enough hosts"),
    looks_like=("history_host_stalled", "Here the process does not answer; there it answers and completes nothing."),
)  # fmt: skip
HISTORY_HOST_STALLED = Finding(
    "history_host_stalled", _history_host_stalled, "history",
    title="One of the history hosts completes no task: {hosts:code}",
    cause="The others of {of:brief} history hosts do. Its shards make no progress, and requests for them wait and fail." + _SHARDS,
    actions=(
        Action("restart_host", ActionType.RESTART, "history", "Save the log of the host[ {hosts:code}], then restart it, so that the others take its shards. Leave the workers as they are.", 0.8, "medium"),
    ),
    logs=("server hangs", "shard not acquired", "shard status unknown"),
    looks_like=("server_process_down", "Here every page is read, and one host completes no task; there a page is lost."),
)  # fmt: skip
SERVICE_NOT_ANSWERING = Finding(
    "service_not_answering", _service_not_answering, "matching",
    title="The {service} service does not answer: {rate:per_sec call} of other services fail",
    cause="They time out or find no one, so at least one {service} process is frozen, gone or cut off. What it owned (shards, "
    "task queue partitions) waits until others take it over." + _SHARDS,
    actions=(
        Action("find_silent_process", ActionType.ALERT, "server", "Find the process[ of the {service} service] that does not answer: its log, CPU, memory, host and network. Restart it if it hangs. Leave the workers as they are.", 0.8),
    ),
    logs=("server hangs", "no members", "shard status unknown"),
    looks_like=("server_process_down", "Here the callers see it, whatever is read; there its own page is lost."),
)  # fmt: skip
SYSTEM_WORKERS_MISSING = Finding(
    "system_workers_missing", _system_workers_missing, "matching",
    title="Temporal's own workers are missing[: no progress of {work}][: {processes:code}]",
    cause="[The page of {processes:code} does not answer. ][The oldest task on {queue:code} is {age:span} old, and none is dispatched]"
    "[{no_polls:flag}: no poll is pending there][{queue:flag}. ]The server's worker role runs schedules, batch jobs, worker deployments "
    "and cleanup, and none of the tasks of your workers.",
    actions=(
        Action("check_worker_role", ActionType.ALERT, "server", "Check the server's worker role: that its process runs, what its log says, and that it reaches the frontend (address, certificates, rate limits). Your own workers are not concerned.", 0.85),
    ),
    looks_like=("no_pollers", "Here Temporal's own queues are not polled; there a queue of yours is not."),
)  # fmt: skip
SERVER_RESTARTING = Finding(
    "server_restarting", _server_restarting, "history",
    title="A server process restarts again and again: {processes:code}",
    cause="Up to {times:brief} restarts in five minutes. Each time what it owned (shards, task queue partitions) moves, and calls "
    "to it fail." + _SHARDS,
    actions=(
        Action("find_why_server_restarts", ActionType.ALERT, "server", "Find out why the process ends: killed for its memory, a crash, a failing probe, a configuration it refuses. Its last log lines and the exit code tell.", 0.85),
    ),
    logs=("panic", "cluster metadata changed by another"),
    looks_like=("rolling_restart", "Here one process restarts several times; there each restarts once."),
)  # fmt: skip
ROLLING_RESTART = Finding(
    "rolling_restart", _rolling_restart, "history",
    title="A rolling restart: {restarted:brief} of {of:brief} server processes restarted",
    cause="Each restarted once within five minutes, as in a release. While one is away, what it owned moves, requests for that "
    "wait or fail, and caches are cold." + _SHARDS,
    actions=(
        Action("let_release_end", ActionType.ALERT, "server", "Let the release end, then wait two minutes. If no one released or drained nodes, find out why the processes ended.", 0.75),
    ),
    logs=("cluster metadata changed by another", "membership change"),
    looks_like=("membership_change", "Here several processes restart once each, in order; there only a change of members is seen."),
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
    looks_like=("server_process_down", "Here the others have taken over, or will; there a process is still away."),
)  # fmt: skip
SHARD_CHURN = Finding(
    "shard_churn", _shard_churn, "history",
    title="Shards move between history hosts",
    cause="Shards open and close: history hosts come and go, or lose their leases." + _SHARDS,
    actions=(
        Action("check_history_hosts", ActionType.ALERT, "history", "Check whether history hosts restart or lose contact with each other.", 0.7),
    ),
    logs=("shard ownership lost", "no members"),
    looks_like=("membership_change", "Here shards move again and again; there once, after a process came or went."),
)  # fmt: skip
SERVER_PANIC = Finding(
    "server_panic", _server_panic, "history",
    title="The server caught a panic[ in {service}]",
    cause="A request or task met a bug of the server[, at {operation:code}]; the process goes on[, the last was {ago:span} ago]. "
    "What was requested failed, and fails again where it is retried.",
    actions=(
        Action("read_stack_trace", ActionType.ALERT, "server", "Find the stack trace in the log of that service, and look for it among the known bugs of this server version. Upgrade if a later patch fixes it.", 0.7),
    ),
    note=True, kept_sec=3600.0,
    logs=("panic",),
    looks_like=("server_restarting", "Here the process catches the panic and goes on; there it ends and starts again."),
)  # fmt: skip
CERTIFICATE_EXPIRED = Finding(
    "certificate_expired", _certificate_expired, "frontend",
    title="[{expired:count certificate} of the server expired][Soon to expire: {expiring:count certificate} of the server]",
    cause="Connections that are open go on; new ones are refused once a certificate has expired, so trouble comes with the "
    "next restart of a worker, client or server process.",
    actions=(
        Action("renew_certificate", ActionType.CONFIGURE, "server", "Renew the certificates, and check that the server has loaded them. Restart nothing before that: new connections would be refused.", 0.9),
    ),
    note=True,
    logs=("certificate or login refused",),
    looks_like=("workers_not_polling", "Here a certificate is known to have expired; there workers cannot connect, for whatever reason."),
)  # fmt: skip
