"""Findings about task queues: who polls them, which version has a backlog, which queues are abandoned."""

from copilot.rules.bottleneck import backlog_flows, exhausted_slots, limited_flows, polled, workers_gone
from copilot.rules.findings.context import Action, Finding, FindingContext, Found, backlog_of, present
from copilot.rules.flow import Flow
from copilot.rules.gates import progress
from copilot.rules.gates.registry import BACKLOG, SERVER_SLOW
from copilot.rules.model import ActionType, Evidence

UNVERSIONED = "unversioned"
HEARTBEATS = "calls.activity_heartbeats_per_sec"
LIMITED_BY = ("poller.pending_polls", "matching.tasks_dispatched_per_sec")


def _unpolled(context: FindingContext) -> list[Flow]:
    """Flows with a backlog, hardly dispatched, and without pollers. Where the API or the workers' pages know of no
    poller, what was dispatched is from earlier in the rate window."""
    limit = context.view.thresholds.stalled_dispatch_share
    return [
        f
        for f in backlog_flows(context.view)
        if polled(f, context.view) is False
        and not context.view.unserved(f)
        and f.dispatch_rate is not None
        and (
            f.pollers == 0 or workers_gone(f, context.view) or f.dispatch_rate <= max(limit * (f.add_rate or 0.0), 1e-9)
        )
    ]


def _no_pollers(context: FindingContext) -> Found | None:
    """Task queues with a backlog have no pollers."""
    gates, unpolled = context.firing(*BACKLOG), _unpolled(context)
    if not gates or not unpolled or exhausted_slots(context.view) or context.server_refuses:
        return None
    beats = (context.value(HEARTBEATS) or 0.0) if any(f.task_type == "activity" for f in unpolled) else 0.0
    gone = context.view.signals.targets.get("worker") == 0
    evidence = backlog_of(unpolled) | present(pages_gone=gone, beats=beats, down=not beats)
    return Found(
        gates, evidence, _subject(unpolled), signals=("poller.pending_polls", *([HEARTBEATS] if beats else ()))
    )


def _subject(flows: list[Flow]) -> str:
    return ", ".join(sorted({f.task_queue for f in flows if f.task_type}))


def _version_without_pollers(context: FindingContext) -> Found | None:
    """A worker version that has a backlog has no pollers, while other versions have."""
    signals = context.view.signals
    polled_by: dict[tuple[str, str, str], set[str]] = {}
    for row in signals.rows("version.pollers"):
        if row.value > 0:
            polled_by.setdefault(_queue_of(row.labels), set()).add(row.labels.get("worker_version", ""))
    stranded = [
        row
        for row in signals.rows("version.backlog_count")
        if row.value > 0
        and (others := polled_by.get(_queue_of(row.labels)))
        and row.labels.get("worker_version", "") not in others
    ]
    gates = context.firing(*BACKLOG)
    if not stranded or not gates or context.server_refuses:
        return None
    versions = tuple(sorted({row.labels.get("worker_version", "") for row in stranded}))
    queues = tuple(sorted({row.labels.get("task_queue", "") for row in stranded}))
    unversioned = versions == (UNVERSIONED,)
    evidence = present(
        queues=queues,
        versions=None if unversioned else versions,
        unversioned=unversioned,
        polling=tuple(sorted(set().union(*(polled_by[_queue_of(row.labels)] for row in stranded)))),
        backlog=float(round(sum(row.value for row in stranded))),
    )
    return Found(gates, evidence, ", ".join(queues), signals=("version.backlog_count", "version.pollers"))


def _queue_of(labels: dict[str, str]) -> tuple[str, str, str]:
    return labels.get("namespace", ""), labels.get("task_queue", ""), labels.get("task_type", "")


def _workers_not_polling(context: FindingContext) -> Found | None:
    """Workers run, as many as before, and none polls; or requests and polls stopped at the same time."""
    gates = [] if exhausted_slots(context.view) else context.firing(progress.POLLS_LOST)
    if not gates:
        return None
    signal_id, aspect = "worker_poll.long_poll_failures_per_sec", gates[0].aspect
    queue = gates[0].labels.get("task_queue", "") if aspect == progress.ONE_QUEUE else ""
    stopped = aspect == progress.STOPPED
    evidence = present(failures=context.value(signal_id), stopped=stopped, run=not (stopped or queue), queue=queue)
    return Found(gates, evidence, queue, signals=(signal_id,))


def _dispatch_limited(context: FindingContext) -> Found | None:
    """Tasks wait on queues that are dispatched, while polls are pending there and slots are free."""
    gates, limited = context.firing(*BACKLOG), limited_flows(context.view)
    if not gates or not limited or context.draining or context.server_refuses or context.workers.slots_exhausted:
        return None
    if context.firing(*SERVER_SLOW):
        return None
    return Found(gates, backlog_of(limited) | _held_back(limited, context), _subject(limited), signals=LIMITED_BY)


def _held_back(limited: list[Flow], context: FindingContext) -> Evidence:
    """What tells a rate limit (some are dispatched) from tasks that are left behind (all others are) and from workers
    that are full or hang (hardly one is); and whether the workers' slots can be read."""
    added, dispatched = (sum(getattr(f, rate) or 0.0 for f in limited) for rate in ("add_rate", "dispatch_rate"))
    left = dispatched >= progress.KEEPS_UP * added
    hardly = dispatched < context.view.thresholds.stalled_dispatch_share * added
    capped = not (left or hardly)
    return present(
        left=left, hardly=hardly, capped=capped, added=capped and added, dispatched=capped and dispatched,
        free=context.workers.slots_exhausted is False, unseen=context.workers.slots_exhausted is None and not left,
    )  # fmt: skip


def _backlog_draining(context: FindingContext) -> Found | None:
    """A backlog is dispatched faster than tasks are added."""
    gates = context.firing(*BACKLOG) + context.late_workflow_tasks
    if not gates or not context.draining or context.server_refuses:
        return None
    flows = backlog_flows(context.view)
    rates = {"added": sum(f.add_rate or 0.0 for f in flows), "dispatched": sum(f.dispatch_rate or 0.0 for f in flows)}
    return Found(gates, {**backlog_of(flows), **rates})


def _abandoned_queue(context: FindingContext) -> Found | None:
    """A queue to which no tasks are added holds old tasks: worth knowing, and outside the verdict."""
    flows = [f for f in context.view.queues.values() if f.task_queue and f.backlog and context.view.abandoned(f)]
    if not flows:
        return None
    queues = tuple(sorted({f.task_queue for f in flows}))
    evidence = {**backlog_of(flows), "queues": queues}
    old = all((f.backlog_age_sec or 0.0) > context.view.thresholds.abandoned_after_sec for f in flows)
    return Found([], evidence, ", ".join(queues), signals=("matching.backlog_count",), sure=old)


NO_POLLERS = Finding(
    "no_pollers", _no_pollers, "workers",
    title="No pollers[ on {queues:code}][: {backlog:count task} in the backlog][, oldest {age:span}]",
    cause="[{down:flag}The workers are down, cannot connect, or poll another queue.][Activities still send {beats:per_sec "
    "heartbeat}, so workers live: they may be full, and a full worker does not poll.][{pages_gone:flag} Their metrics pages are "
    "gone too.] The server is not the problem.",
    actions=(
        Action("start_workers", ActionType.SCALE, "workers", "[{beats:flag}See first whether the workers that live have free slots; do not restart them before. ]Start workers[ for {queues:code}], or fix their deployment. The server needs no restart.", 0.9),
    ),
    logs=("certificate or login refused", "no poller"),
    looks_like=("workers_not_polling", "Here no worker process is seen; there they run and do not poll."),
)  # fmt: skip
WORKERS_NOT_POLLING = Finding(
    "workers_not_polling", _workers_not_polling, "workers",
    title="[{run:flag}Workers run and do not poll][{stopped:flag}Requests and polls stopped at the same time]"
    "[Workflow tasks and polls of {queue:code} stopped at the same time]",
    cause="[{run:flag}Their metrics pages are read, and the server has no poll from them.][{stopped:flag}Neither workers nor "
    "clients reach the server any more, unless all were shut down on purpose.][{queue:flag}As many workers run as before, and "
    "other queues go on. Neither the workers nor the clients of {queue:code} reach the server any more, unless they were "
    "moved on purpose.][ {failures:per_sec long poll} fail in the "
    "workers.] They cannot connect (certificate, address, network)[{run:flag}, or hang].",
    actions=(
        Action("read_workers_log", ActionType.ALERT, "workers", "Read a worker's log for the error of its polls: an expired certificate, a wrong address, a closed port. Restart the workers if the log is silent.", 0.8),
    ),
    looks_like=("no_pollers", "Here the worker processes run; there they are gone."),
)  # fmt: skip
DISPATCH_LIMITED = Finding(
    "dispatch_limited", _dispatch_limited, "matching",
    title="Tasks wait while workers' polls wait[ on {queues:code}][: {backlog:count task} in the backlog][, oldest {age:span}]",
    cause="Polls are pending[{free:flag} and slots are free][, and {dispatched:per_sec task} are dispatched where {added:rate} are "
    "added: a rate limit of the task queue, or partitions without polls][{left:flag}, and all tasks but these are dispatched: "
    "they are for a worker version that no worker runs, or in a partition without polls][{hardly:flag}, and hardly a task is "
    "dispatched: workers that are full or hang, or a rate limit near zero].[{unseen:flag} The workers' slots cannot be read: "
    "full workers look the same.]",
    actions=(
        Action("check_queue_limit", ActionType.CONFIGURE, "matching", "[{unseen:flag}See first whether all slots of the workers are in use. ][{hardly:flag}Read the log of the workers that poll the queue, and check its rate limit.][{capped:flag}Check the task queue's rate limit (a worker option such as max_task_queue_activities_per_second, or the queue's configuration) and its partitions: with fewer pollers than partitions some are hardly polled.][{left:flag}Compare the worker versions that these tasks are for with those that poll, and the queue's partitions with its pollers.][{free:flag} More capacity does not help.]", 0.7),
    ),
    looks_like=("worker_slow", "Here polls are pending while tasks wait; there no poll waits."),
)  # fmt: skip
VERSION_WITHOUT_POLLERS = Finding(
    "version_without_pollers", _version_without_pollers, "workers",
    title="No workers run [version {versions:code}][{unversioned:flag}the version of the tasks] on {queues:code}"
    "[: {backlog:count task} in the backlog]",
    cause="Workers there poll as {polling:code}; these tasks are for [version {versions:code}][{unversioned:flag}no "
    "version, or for a current version that never polled there]. The server is not the problem.",
    actions=(
        Action("start_version", ActionType.SCALE, "workers", "Start workers[ of version {versions:code}][{unversioned:flag} of the current version], or make a version current that has workers. More workers of other versions do not help.", 0.9),
    ),
    logs=("version may not poll yet",),
    looks_like=("no_pollers", "Here other versions of the workers poll the queue; there no one does."),
)  # fmt: skip
BACKLOG_DRAINING = Finding(
    "backlog_draining", _backlog_draining, "workers",
    title="A backlog is draining[: {backlog:count task} left][, oldest {age:span}]",
    cause="{dispatched:per_sec task} dispatched and {added:rate} added, so the backlog shrinks by itself.",
    actions=(
        Action("wait", ActionType.ALERT, "workers", "Wait, and watch the backlog shrink. Change neither workers nor server.", 0.8),
    ),
    weak=True,
    looks_like=("worker_slow", "Here the backlog was seen to shrink twice; there it grows."),
)  # fmt: skip
ABANDONED_QUEUE = Finding(
    "abandoned_queue", _abandoned_queue, "application",
    title="Old tasks on {queues:code}, to which none are added[: {backlog:count task}][, oldest {age:span}]",
    cause="No tasks are added to the queue any more, so it is outside the verdict.",
    actions=(
        Action("ignore_queue", ActionType.CONFIGURE, "metrics", "If no one needs the queue, list it in `ignore_task_queues`.", 0.6),
        Action("clean_up_queue", ActionType.CONFIGURE, "application", "End the workflows whose tasks are on it, if no one needs them.", 0.5, "high"),
    ),
    note=True,
    looks_like=("no_pollers", "Here no task is added to the queue; there tasks are added."),
)  # fmt: skip
