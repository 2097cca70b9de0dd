"""All findings, ranked by cause and effect: the earliest failing step is the cause, the others are its consequences.

Findings may look at amplifiers and worker signals: they explain, the state is already decided.
"""

from collections.abc import Iterable, Mapping

from whenever import Instant

from copilot.rules.findings import features, limits, processes, queues, server, unserved, versions, worker_ends, workers
from copilot.rules.findings.context import Action, Finding, FindingContext, Found
from copilot.rules.gates.registry import OF_COMPLETED_WORK
from copilot.rules.model import ActionType, Detected, Severity
from copilot.rules.scaling import RESTART_TO_REDISTRIBUTE, offered

FINDINGS: tuple[Finding, ...] = (
    server.SERVER_UNREACHABLE,
    server.METRICS_BLIND,
    server.PERSISTENCE_FAILING,
    server.PERSISTENCE_THROTTLED,
    server.WORKER_DEPLOYMENT_LIMIT,
    server.RATE_LIMITED,
    processes.SERVER_RESTARTING,
    processes.SERVER_PROCESS_DOWN,
    processes.HISTORY_HOST_STALLED,
    processes.ROLLING_RESTART,
    processes.MEMBERSHIP_CHANGE,
    server.FRONTEND_ERRORS,
    processes.SERVICE_NOT_ANSWERING,
    workers.WORKERS_RESTARTING,
    queues.VERSION_WITHOUT_POLLERS,
    queues.WORKERS_NOT_POLLING,
    queues.NO_POLLERS,
    versions.VERSION_FAILING,
    workers.LOAD_BURST,
    workers.SLOTS_EXHAUSTED,
    processes.SHARD_CHURN,
    server.PERSISTENCE_SLOW,
    server.HISTORY_BACKLOG,
    processes.SYSTEM_WORKERS_MISSING,
    workers.WORKFLOW_TASK_FAILURES,
    worker_ends.WORKFLOW_TASK_TIMEOUTS,
    workers.RETRY_STORM,
    workers.ACTIVITY_TIMEOUTS,
    workers.QUERIES_UNANSWERED,
    features.VISIBILITY_FAILING,
    workers.STICKY_CACHE_THRASH,
    queues.DISPATCH_LIMITED,
    server.BUSY_WORKFLOW,
    unserved.UNSERVED_QUEUE,
    workers.WORKER_SLOW,
    queues.BACKLOG_DRAINING,
    server.FRONTEND_SLOW,
    workers.POLLER_EXECUTOR_MISMATCH,
    workers.APPLICATION_FAILURES,
    server.DLQ_MESSAGES,
    limits.NEAR_LIMIT,
    processes.CERTIFICATE_EXPIRED,
    processes.SERVER_PANIC,
    features.SCHEDULES_MISSING,
    features.NEXUS_FAILING,
    features.REPLICATION_LAGGING,
    features.ARCHIVAL_FAILING,
    workers.HISTORY_TOO_LONG,
    server.CLIENT_MISTAKES,
    queues.ABANDONED_QUEUE,
)
BY_NAME = {finding.name: finding for finding in FINDINGS}

_REFUSING_SERVER = (
    server.FRONTEND_ERRORS,
    processes.SERVICE_NOT_ANSWERING,
    processes.SYSTEM_WORKERS_MISSING,
    processes.MEMBERSHIP_CHANGE,
    processes.SHARD_CHURN,
    server.PERSISTENCE_SLOW,
    server.HISTORY_BACKLOG,
    server.FRONTEND_SLOW,
    workers.WORKER_SLOW,
    workers.WORKFLOW_TASK_FAILURES,
    worker_ends.WORKFLOW_TASK_TIMEOUTS,
    workers.ACTIVITY_TIMEOUTS,
    workers.QUERIES_UNANSWERED,
    features.VISIBILITY_FAILING,
    workers.STICKY_CACHE_THRASH,
)
_LOAD = (
    workers.SLOTS_EXHAUSTED,
    server.PERSISTENCE_SLOW,
    server.HISTORY_BACKLOG,
    server.FRONTEND_SLOW,
    workers.WORKER_SLOW,
)
_WORKERS = (
    workers.WORKER_SLOW,
    server.HISTORY_BACKLOG,
    worker_ends.WORKFLOW_TASK_TIMEOUTS,
    workers.ACTIVITY_TIMEOUTS,
    workers.QUERIES_UNANSWERED,
)
# What a cause explains: found beside it, these are its consequences and not causes of their own.
EXPLAINS: dict[str, frozenset[str]] = {
    cause.name: frozenset(finding.name for finding in consequences if finding is not cause)
    for cause, consequences in (
        (server.SERVER_UNREACHABLE, _REFUSING_SERVER),
        (server.PERSISTENCE_FAILING, _REFUSING_SERVER),
        (server.PERSISTENCE_THROTTLED, (*_REFUSING_SERVER, server.RATE_LIMITED)),
        (server.RATE_LIMITED, _REFUSING_SERVER),
        (processes.SERVER_PROCESS_DOWN, (*_REFUSING_SERVER, server.FRONTEND_ERRORS, queues.BACKLOG_DRAINING)),
        (processes.HISTORY_HOST_STALLED, (*_REFUSING_SERVER, server.FRONTEND_ERRORS)),
        (server.FRONTEND_ERRORS, _REFUSING_SERVER),
        (processes.SERVER_RESTARTING, (*_REFUSING_SERVER, processes.SERVER_PROCESS_DOWN)),
        (processes.ROLLING_RESTART, _REFUSING_SERVER),
        (processes.SERVICE_NOT_ANSWERING, (*_REFUSING_SERVER, queues.DISPATCH_LIMITED)),
        (server.BUSY_WORKFLOW, (server.FRONTEND_SLOW,)),
        (
            workers.WORKERS_RESTARTING,
            (
                *_WORKERS,
                queues.NO_POLLERS,
                workers.SLOTS_EXHAUSTED,
                workers.WORKFLOW_TASK_FAILURES,
                worker_ends.WORKFLOW_TASK_TIMEOUTS,
                workers.RETRY_STORM,
            ),
        ),
        (workers.LOAD_BURST, _LOAD),
        (server.PERSISTENCE_SLOW, _LOAD),
        (queues.NO_POLLERS, _WORKERS),
        (queues.VERSION_WITHOUT_POLLERS, _WORKERS),
        (queues.WORKERS_NOT_POLLING, (*_WORKERS, queues.NO_POLLERS)),
        (queues.DISPATCH_LIMITED, _WORKERS),
        (workers.SLOTS_EXHAUSTED, _WORKERS),
        (workers.STICKY_CACHE_THRASH, (workers.WORKER_SLOW,)),
        (workers.WORKFLOW_TASK_FAILURES, (workers.WORKER_SLOW,)),
        (versions.VERSION_FAILING, (workers.WORKFLOW_TASK_FAILURES, workers.RETRY_STORM, *_WORKERS)),
        (worker_ends.WORKFLOW_TASK_TIMEOUTS, _WORKERS),
        (processes.MEMBERSHIP_CHANGE, _REFUSING_SERVER),
    )
}

_HARMLESS_WITHOUT_GATES = frozenset(
    finding.name
    for finding in (
        workers.LOAD_BURST,
        versions.VERSION_FAILING,
        processes.SERVER_RESTARTING,
        processes.ROLLING_RESTART,
        features.VISIBILITY_FAILING,
    )
)

WAIT_AND_SEE = Action(
    "wait_and_see", ActionType.ALERT, "server",
    "Nothing needs to be done now. Check that it stays that way, and find out why it happened.", 0.7,
)  # fmt: skip
NOT_OVER = Action(
    "not_over", ActionType.ALERT, "server",
    "Watch it until nothing of it is seen: it is within its limit again, and not surely over.", 0.7,
)  # fmt: skip
LOOK_BY_HAND = Action(
    "look_by_hand", ActionType.ALERT, "server",
    "Too little can be read to tell whether it is over. Check the cluster by hand until more can be read.", 0.7,
)  # fmt: skip


def action(finding: str, key: str) -> Action | None:
    """The action of a key in a finding's catalogue, or of one that goes with every finding; None if there is none."""
    of_all = (WAIT_AND_SEE, NOT_OVER, LOOK_BY_HAND, RESTART_TO_REDISTRIBUTE)
    own = BY_NAME[finding].actions if finding in BY_NAME else ()
    return next((a for a in (*own, *of_all) if a.key == key), None)


def detect(context: FindingContext) -> tuple[Detected, ...]:
    """All findings, the likeliest cause first; then those that one slow moment may have caused; then notes, among them a
    burst of load or restarts under which nothing suffers. Consequences of the first offer no actions: fixing it fixes them."""
    found = [_detected(f, what, context) for f in FINDINGS if (what := f.detect(context)) is not None]
    ranked = sorted(found, key=lambda d: (_is_note(d), _is_one_moment(d, context)))
    consequences = EXPLAINS.get(ranked[0].finding, frozenset()) if ranked else frozenset()
    return (*ranked[:1], *without_actions(ranked[1:], consequences))


def with_kept(
    found: tuple[Detected, ...], seen: Mapping[str, tuple[Instant, Detected]], now: Instant
) -> tuple[tuple[Detected, ...], dict[str, tuple[Instant, Detected]]]:
    """The findings with the notes that are kept although they are not seen now, and what to remember of such notes."""
    kept = {d.finding: (now, d) for d in found if BY_NAME[d.finding].kept_sec}
    past = {name: then for name, then in seen.items() if name not in kept and _is_kept(name, then[0], now)}
    notes = (
        d.model_copy(update={"evidence": {**d.evidence, "ago": (now - at).total("seconds")}}) for at, d in past.values()
    )
    return (*found, *notes), {**past, **kept}


def _is_kept(name: str, seen: Instant, now: Instant) -> bool:
    return name in BY_NAME and (now - seen).total("seconds") <= BY_NAME[name].kept_sec


def without_actions(found: Iterable[Detected], consequences: frozenset[str]) -> tuple[Detected, ...]:
    """These, consequences without actions of their own."""
    return tuple(d.model_copy(update={"actions": ()}) if d.finding in consequences else d for d in found)


def _detected(finding: Finding, found: Found, context: FindingContext) -> Detected:
    critical = any(g.severity is Severity.CRITICAL for g in found.gates)
    related = dict.fromkeys((*found.signals, *(i for g in found.gates for i in g.evidence)))
    actions = [a for a in finding.actions if found.sure or a.risk == "low"]
    actions = [a for a in actions if not (context.server_refuses and a.target == "workers")]
    return Detected(
        finding=finding.name,
        subject=found.subject,
        severity=Severity.CRITICAL if critical else Severity.WARNING,
        contributing_factors=tuple(g.name for g in found.gates),
        related_signals=tuple(related),
        evidence=found.evidence,
        actions=offered(actions, context.view.signals),
    )


def _is_note(detected: Detected) -> bool:
    harmless = detected.finding in _HARMLESS_WITHOUT_GATES and not detected.contributing_factors
    return BY_NAME[detected.finding].note or harmless


def _is_one_moment(detected: Detected, context: FindingContext) -> bool:
    """Whether a finding rests only on quantiles that have not been over their thresholds for a whole window."""
    gates = detected.contributing_factors
    return bool(gates) and OF_COMPLETED_WORK.issuperset(gates) and not any(context.lasts(name) for name in gates)
