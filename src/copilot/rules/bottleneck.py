"""Whose capacity ends first (requirements §3.6). Worker signals say whose problem it is, and never move the state."""

from dataclasses import dataclass

from copilot.rules.flow import Flow
from copilot.rules.gates.context import View
from copilot.rules.memory import full_slots
from copilot.rules.model import BottleneckClassification, GateResult
from copilot.rules.signals.readings import Signals

# Gates that tell of the server refusing or failing work; they outrank whatever workers show.
SERVER_REFUSES = frozenset(
    {
        "unreachable",
        "turned_away",
        "frontend_errors",
        "rate_limited",
        "persistence_errors",
        "persistence_throttled",
        "history_throttled",
    }
)
SERVER_SLOW = frozenset({"frontend_latency", "persistence_latency", "history_latency", "shard_churn"})
# Among the evidence of a stall where work does not even reach a task queue.
STUCK_IN_HISTORY = "history.tasks_acked_per_sec"
WORK_WAITS = ("work_stalled", "queue_stalled", "falling_behind", "work_piling_up", "backlog_age")


@dataclass(frozen=True, slots=True)
class WorkerEvidence:
    """What workers and pollers show. None: nothing says so."""

    nobody_polls: bool | None
    slots_exhausted: bool | None
    slow_to_start: bool | None


def waiting_flows(view: View) -> list[Flow]:
    """The queues whose work waits, longest first; the cluster if no breakdown says which."""
    waiting = [f for f in view.queues.values() if (f.waiting or 0) > 0 or (f.spooled or 0) > 0]
    waiting = [f for f in waiting if not view.abandoned(f)]
    return sorted(waiting, key=lambda f: (f.age or 0.0, f.waiting or 0.0), reverse=True) or [view.cluster]


def draining(view: View) -> bool:
    """Whether all that waits is served at least as fast as more of it arrives."""
    flows = waiting_flows(view)
    known = [(f.arrives, f.served) for f in flows if f.arrives is not None and f.served is not None]
    return len(known) == len(flows) and all(served > 0 and arrives <= served for arrives, served in known)


def polled(flow: Flow, signals: Signals) -> bool | None:
    """Whether somebody polls the flow: by the server's count of waiting polls, else by the API's pollers."""
    if flow.polls is None and flow.pollers is None:
        return True if (signals.targets.get("worker") or 0) > 0 else None
    return (flow.polls or 0.0) > 0 or (flow.polls is None and (flow.pollers or 0.0) > 0)


def exhausted_slots(view: View) -> str | None:
    """`workflow` or `activity` where all slots of that type are taken, or were less than a window ago and now mostly
    are, or cannot be read; else None."""
    if (kind := full_slots(view.signals)) is not None:
        return kind
    kind, at = view.memory.full_slots, view.memory.full_at
    if kind is None or at is None or (view.now - at).total("seconds") > view.window_sec:
        return None
    free, used = view.signals.value(f"workers.{kind}_slots_available"), view.signals.value(f"workers.{kind}_slots_used")
    mostly = free is None or used is None or free < used
    return kind if mostly and view.signals.targets.get("worker") != 0 else None


def worker_evidence(view: View) -> WorkerEvidence:
    """What workers and pollers show about the work that waits."""
    signals = view.signals
    flows = (f for f in waiting_flows(view) if f.served is not None)
    unserved = (f for f in flows if f.pollers == 0 or (f.served or 0.0) <= 0.5 * (f.arrives or 0.0))
    answers = [polled(f, signals) for f in unserved]
    known = [a for a in answers if a is not None]
    slots = [signals.value(f"workers.{k}_slots_available") for k in ("workflow", "activity")]
    waits = [signals.value(f"workers.{k}_schedule_to_start_p95_ms") for k in ("wft", "activity")]
    limit, full = view.thresholds.schedule_to_start_ms, exhausted_slots(view)
    return WorkerEvidence(
        nobody_polls=any(not a for a in known) if known else None,
        slots_exhausted=full is not None if full or any(s is not None for s in slots) else None,
        slow_to_start=any(w > limit for w in waits if w is not None) if any(w is not None for w in waits) else None,
    )


def classify_bottleneck(gates: tuple[GateResult, ...], workers: WorkerEvidence) -> BottleneckClassification:
    """Truth table: a server that refuses work, or does not get it as far as a task queue, is the limit; else a cluster
    nobody polls, or whose slots are all taken, is worker-limited; work that waits with neither is the workers' unless
    the server is slow too."""
    fired = {g.name for g in gates if g.fired}
    if fired & SERVER_REFUSES:
        return BottleneckClassification.SERVER_LIMITED
    if any(g.fired and g.name == "work_stalled" and STUCK_IN_HISTORY in g.evidence for g in gates):
        return BottleneckClassification.SERVER_LIMITED
    if fired.intersection(WORK_WAITS):
        if workers.nobody_polls or workers.slots_exhausted:
            return BottleneckClassification.WORKER_LIMITED
        if fired & SERVER_SLOW:
            return BottleneckClassification.MIXED if workers.slow_to_start else BottleneckClassification.SERVER_LIMITED
        if workers.nobody_polls is None and workers.slots_exhausted is None:
            return BottleneckClassification.UNKNOWN
        return BottleneckClassification.WORKER_LIMITED
    if fired & SERVER_SLOW:
        return BottleneckClassification.SERVER_LIMITED
    if fired & {"workflow_task_failures", "workflow_task_attempts"}:
        return BottleneckClassification.WORKER_LIMITED
    return BottleneckClassification.HEALTHY
