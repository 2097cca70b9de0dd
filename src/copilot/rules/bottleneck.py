"""Which side runs out of capacity first. Worker signals tell whose problem it is, and never move the state."""

from collections import defaultdict
from dataclasses import dataclass

from whenever import TimeDelta

from copilot.rules.flow import WORKER_ROWS, Flow, sanitized
from copilot.rules.gates.context import GateContext
from copilot.rules.gates.pressure import (
    ACTIVITY_TIMEOUTS,
    LISTS_FAILING,
    QUERIES_UNANSWERED,
    SYSTEM_WORKERS_MISSING,
    WORKFLOW_TASK_ATTEMPTS,
    WORKFLOW_TASK_FAILURES,
)
from copilot.rules.gates.progress import STUCK_IN_HISTORY
from copilot.rules.gates.registry import BACKLOG, SERVER_REFUSES, SERVER_SLOW
from copilot.rules.memory import AGES_REACH, full_queues, full_slots
from copilot.rules.model import BottleneckClassification, GateResult

UNANSWERED = "calls.unanswered_per_sec"
SILENT_CALLS = 5.0
OF_SERVER = (*SERVER_SLOW, SYSTEM_WORKERS_MISSING.name, LISTS_FAILING.name)
OF_WORKERS = tuple(
    gate.name for gate in (WORKFLOW_TASK_FAILURES, WORKFLOW_TASK_ATTEMPTS, ACTIVITY_TIMEOUTS, QUERIES_UNANSWERED)
)


@dataclass(frozen=True, slots=True)
class WorkerEvidence:
    """What workers and pollers show. None: nothing tells."""

    no_pollers: bool | None
    slots_exhausted: bool | None
    slow_to_start: bool | None


def backlog_flows(context: GateContext) -> list[Flow]:
    """The queues with a backlog, oldest first, without unserved ones where others have a backlog too; the cluster if no
    breakdown tells which."""
    flows = [f for f in context.queues.values() if (f.backlog or 0) > 0 or (f.spooled or 0) > 0]
    flows = [f for f in flows if not context.abandoned(f)]
    flows = [f for f in flows if not context.unserved(f)] or flows
    return sorted(flows, key=lambda f: (f.backlog_age_sec or 0.0, f.backlog or 0.0), reverse=True) or [context.cluster]


def draining(context: GateContext) -> bool:
    """Whether every backlog is dispatched at least as fast as tasks are added to it, and was seen to shrink."""
    flows = backlog_flows(context)
    known = [(f.add_rate, f.dispatch_rate) for f in flows if f.add_rate is not None and f.dispatch_rate is not None]
    if len(known) != len(flows) or not all(dispatched > 0 and added <= dispatched for added, dispatched in known):
        return False
    return any(_shrinks(f, context) for f in flows)


def silent_service(context: GateContext) -> tuple[str, float]:
    """The server's service that does not answer the others, and how many of their calls fail so (1/s); no name where
    none is. Matching asks history before it answers that a task was taken, so that part of its silence is history's.
    Where one process is the whole server, its calls to itself fail only while it has more to do than it can."""
    signals = context.signals
    if signals.targets.get("server", 0) + len(signals.unread.get("server", ())) == 1:
        return "", 0.0
    calls: defaultdict[str, float] = defaultdict(float)
    for row in signals.rows(UNANSWERED):
        calls[row.label("service_role")] += row.value
        if row.label("operation").startswith("HistoryClientRecord"):
            calls["matching"] -= row.value
    service, rate = max(calls.items(), key=lambda item: item[1], default=("", 0.0))
    return (service, rate) if rate * context.window_sec >= SILENT_CALLS else ("", 0.0)


def limited_flows(context: GateContext) -> list[Flow]:
    """Queues whose backlog has stood beside pending polls for a window and does not shrink, though it is dispatched,
    slots are free there, and it is not for worker versions."""
    if exhausted_slots(context) or any(row.value > 0 for row in context.signals.rows("version.backlog_count")):
        return []
    reach = TimeDelta(seconds=context.window_sec)
    flows = [f for f in backlog_flows(context) if f.dispatch_rate and f.backlog and not _shrinks(f, context)]
    flows = [f for f in flows if sanitized(f.task_queue) not in full_queues(context.signals, f.task_type or "workflow")]
    return [f for f in flows if (since := context.remembered(f).beside_polls) and context.now - since >= reach]


def _shrinks(flow: Flow, context: GateContext) -> bool:
    past = context.remembered(flow)
    if flow.backlog is None:
        return True  # Nothing but the rates can tell.
    if past.backlog is not None and flow.backlog != past.backlog:
        return flow.backlog < past.backlog
    return past.last_shrunk is not None and context.now - past.last_shrunk <= AGES_REACH


def workers_gone(flow: Flow, context: GateContext) -> bool:
    """Whether workers' pages listed the flow and do not any more, though they list others and no reading is lost."""
    if flow.on_worker_pages or context.remembered(flow).last_listed is None:
        return False
    if any(context.signals.why_missing(i) for i in WORKER_ROWS):
        return False
    return any(other.on_worker_pages for other in context.queues.values())


def polled(flow: Flow, context: GateContext) -> bool | None:
    """Whether the flow has pollers, by the server's count of pending polls, else by the workers' pages (or all of these
    gone, and nothing dispatched), else by the API's list of those seen lately. None: unknown."""
    if flow.pending_polls is not None:
        return flow.pending_polls > 0
    if workers_gone(flow, context):
        return False
    if flow.pollers is not None:
        return flow.pollers > 0
    workers = context.signals.targets.get("worker")
    if workers == 0 and flow.dispatch_rate == 0 and context.remembered(flow).last_listed is not None:
        return False
    return True if workers else None


def exhausted_slots(context: GateContext) -> str | None:
    """`workflow` or `activity` where all slots of that type are in use, or were less than a window ago and now mostly
    are, or cannot be read; else None."""
    if (kind := full_slots(context.signals, partly_full=context.memory.partly_full)) is not None:
        return kind
    kind, at = context.memory.full_slots, context.memory.full_at
    if kind is None or at is None or (context.now - at).total("seconds") > context.window_sec:
        return None
    free, used = (
        context.signals.value(f"workers.{kind}_slots_available"),
        context.signals.value(f"workers.{kind}_slots_used"),
    )
    mostly = free is None or used is None or free < used
    return kind if mostly and context.signals.targets.get("worker") != 0 else None


def worker_evidence(context: GateContext) -> WorkerEvidence:
    """What workers and pollers show about the backlog."""
    signals = context.signals
    flows = (f for f in backlog_flows(context) if f.dispatch_rate is not None)
    unserved = (
        f
        for f in flows
        if f.pollers == 0 or workers_gone(f, context) or (f.dispatch_rate or 0.0) <= 0.5 * (f.add_rate or 0.0)
    )
    answers = [polled(f, context) for f in unserved]
    known = [a for a in answers if a is not None]
    slots = [signals.value(f"workers.{k}_slots_available") for k in ("workflow", "activity")]
    waits = [signals.value(f"workers.{k}_schedule_to_start_p95_ms") for k in ("wft", "activity")]
    limit, full = context.thresholds.schedule_to_start_ms, exhausted_slots(context)
    return WorkerEvidence(
        no_pollers=any(not a for a in known) if known else None,
        slots_exhausted=full is not None if full or any(s is not None for s in slots) else None,
        slow_to_start=any(w > limit for w in waits if w is not None) if any(w is not None for w in waits) else None,
    )


def classify_bottleneck(
    gates: tuple[GateResult, ...], workers: WorkerEvidence, *, server_side: bool = False, unsure: bool = False
) -> BottleneckClassification:
    """Truth table: a server that refuses work, does not get it as far as a task queue, lacks a process, has a service
    that does not answer, or hands out fewer tasks than pollers ask for (`server_side`), is the limit; else a cluster
    without pollers, or whose slots are all in use, is worker-limited; a backlog with neither is the workers' unless the
    server is slow too. `unsure`: polls are pending beside a backlog, and the workers' slots, which would tell, are
    not read."""
    fired = {g.name for g in gates if g.fired}
    if fired.intersection(SERVER_REFUSES):
        return BottleneckClassification.SERVER_LIMITED
    if any(g.fired and g.aspect == STUCK_IN_HISTORY for g in gates):
        return BottleneckClassification.SERVER_LIMITED
    if server_side and fired and not workers.no_pollers:
        return BottleneckClassification.SERVER_LIMITED
    if fired.intersection(BACKLOG):
        if workers.no_pollers or workers.slots_exhausted:
            return BottleneckClassification.WORKER_LIMITED
        if fired.intersection(SERVER_SLOW):
            return BottleneckClassification.MIXED if workers.slow_to_start else BottleneckClassification.SERVER_LIMITED
        if unsure or (workers.no_pollers is None and workers.slots_exhausted is None):
            return BottleneckClassification.UNKNOWN
        return BottleneckClassification.WORKER_LIMITED
    if fired.intersection(OF_SERVER):
        return BottleneckClassification.SERVER_LIMITED
    if fired.intersection(OF_WORKERS):
        return BottleneckClassification.WORKER_LIMITED
    return BottleneckClassification.HEALTHY
