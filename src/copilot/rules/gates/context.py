"""What a gate may look at, and how it says what it saw."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from whenever import Instant

from copilot.rules.flow import Flow
from copilot.rules.memory import NEVER_SEEN, Memory, QueueMemory
from copilot.rules.model import GateResult, Severity, Unjudged
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, MissingCode, Signals
from copilot.rules.thresholds import Thresholds

# How far inside its threshold a gate must be to count as calm (requirements §3.3).
COMFORT = 0.10


@dataclass(frozen=True)
class View:
    """What a gate may look at."""

    signals: Signals
    cluster: Flow
    queues: dict[str, Flow]
    memory: Memory
    thresholds: Thresholds
    window_sec: float
    now: Instant

    @property
    def recovering(self) -> bool:
        """Whether quantiles of finished work still tell of an outage that is over (signals.md E11)."""
        until = self.memory.recovering_until
        return until is not None and self.now < until

    @property
    def stuck_for_sec(self) -> float:
        """For how long workflow tasks that failed again and again may not be tried again, in seconds."""
        return self.memory.stuck_for_sec(self.now)

    def past(self, flow: Flow) -> QueueMemory:
        """What is remembered of a flow."""
        return self.memory.queues.get(flow.key, NEVER_SEEN)

    def share(self, flow: Flow) -> float:
        """The flow's share of what arrives, now or usually (work that is not done brings no further tasks, so a stalled
        queue's share falls); of what waits when nothing arrives; 1 for the cluster."""
        if flow is self.cluster:
            return 1.0
        what, total = self._whole
        now = (getattr(flow, what) or 0.0) / total if total > 0 else 0.0
        return max(now, self.past(flow).usual_share or 0.0) if flow.arrives else now

    def usual_share(self, flow: Flow) -> float | None:
        """What to remember of the flow's share of arrivals: a slow average over the ticks at which it is served."""
        past, (what, total) = self.past(flow).usual_share, self._whole
        if flow is self.cluster or what != "arrives" or not flow.arrives or (flow.served or 0.0) < 0.9 * flow.arrives:
            return past
        now = flow.arrives / total
        return now if past is None else past + 0.1 * (now - past)

    def abandoned(self, flow: Flow) -> bool:
        """Whether nothing arrives on the queue and nobody misses it: not within memory's reach, while work arrives
        elsewhere, or nothing for a day. More waiting than at the last tick is an arrival that no rate shows yet."""
        if flow is self.cluster or flow.arrives is None or flow.arrives > 0:
            return False
        waited = self.past(flow).waiting
        if waited is not None and (flow.waiting or 0.0) > waited:
            return False
        day = self.thresholds.abandoned_after_sec
        arrived = self.past(flow).last_arrival
        if arrived is not None:
            return (self.now - arrived).total("seconds") > day
        elsewhere = any(f.arrives for f in self.queues.values())
        return elsewhere or (flow.age or 0.0) > day

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The cluster first, then its queues that somebody misses, by share."""
        queues = [f for f in self.queues.values() if not self.abandoned(f)]
        return (self.cluster, *sorted(queues, key=self.share, reverse=True))

    @cached_property
    def _whole(self) -> tuple[Literal["arrives", "waiting"], float]:
        """What shares are taken of, and how much of it all queues have together: the cluster's own count where the
        breakdown is full, and so leaves some out."""
        arrives = sum(f.arrives or 0.0 for f in self.queues.values())
        if len(self.signals.rows("demand.tasks_added_per_sec")) >= MAX_BREAKDOWN_ROWS:
            arrives = max(arrives, self.cluster.arrives or 0.0)
        if arrives > 0:
            return "arrives", arrives
        return "waiting", sum(f.waiting or 0.0 for f in self.queues.values())


def unjudged(name: str, severity: Severity, why: Unjudged, sentence: str = "") -> GateResult:
    return GateResult(name=name, severity=severity, fired=None, unjudged=why, sentence=sentence)


def without(view: View, name: str, severity: Severity, ids: Collection[str]) -> GateResult | None:
    """An unjudged result if one of the ids has no value, else None. Missing outranks quiet."""
    signals = view.signals
    read = signals.readings.get
    for signal_id in ids:
        if read(signal_id) is None:
            return _lacking(signals, name, severity, [i for i in ids if read(i) is None])
    return None


def _lacking(signals: Signals, name: str, severity: Severity, lacking: list[str]) -> GateResult:
    missing = [i for i in lacking if not signals.quiet(i)]
    if not missing:
        return unjudged(name, severity, "no_traffic", "no traffic to judge by")
    expected = [i for i in missing if signals.why_missing(i) is not None]
    if not expected:
        return unjudged(name, severity, "not_expected", "no source measures it")
    why = signals.why_missing(expected[0])
    detail = f": {why.detail}" if why and why.detail else ""
    return unjudged(name, severity, "missing", f"{expected[0]} is missing{detail}")


def lost(view: View, name: str, severity: Severity, ids: Iterable[str]) -> GateResult | None:
    """An unjudged result if the reading of one of the ids was lost (by a timeout, a page not read …), so that what the
    others say may not be all. An id that is simply not there is not lost: then the others have to do."""
    for signal_id in ids:
        why = view.signals.why_missing(signal_id)
        if why is not None and why.code is not MissingCode.ABSENT:
            return unjudged(name, severity, "missing", f"{signal_id} is missing: {why.detail or why.code.value}")
    return None


def measured(
    name: str,
    severity: Severity,
    value: float,
    threshold: float,
    unit: str,
    sentence: str,
    evidence: dict[str, float],
    *,
    fired: bool,
    low: bool = False,
) -> GateResult:
    """A judged gate. `low`: it fires below its threshold, so being above it is the margin."""
    inside = value - threshold if low else threshold - value
    return GateResult(name, severity, fired, None, value, threshold, inside / threshold, unit, sentence, evidence)


def over(
    view: View, name: str, value: float, threshold: float, unit: str, sentence: str, ids: Iterable[str]
) -> GateResult:
    """A stressing gate that fires above its threshold."""
    read = view.signals.readings.get
    return GateResult(
        name,
        Severity.WARNING,
        value > threshold,
        None,
        value,
        threshold,
        (threshold - value) / threshold,
        unit,
        sentence,
        {i: v for i in ids if (v := read(i)) is not None},
    )


def of_queue(result: GateResult, flow: Flow, view: View) -> GateResult:
    """The result with the labels of the queue it is about; as it is for the cluster."""
    return result if flow is view.cluster else replace(result, labels=flow.labels)


def flow_evidence(flow: Flow) -> dict[str, float]:
    names = {
        "matching.backlog_count": flow.waiting,
        "demand.tasks_added_per_sec": flow.arrives,
        "matching.tasks_dispatched_per_sec": flow.served,
        "matching.backlog_age_sec": flow.age,
        "matching.tasks_spooled_per_sec": flow.spooled,
        "poller.pending_polls": flow.polls,
    }
    return {name: value for name, value in names.items() if value is not None}


UNSERVED_AGEING = 0.9


def infer(
    flows: Iterable[Flow], past: Mapping[str, QueueMemory], described: bool, window_sec: float, now: Instant
) -> None:
    """Fill in what is served and arrives on queues of which it is not listed. `described`: Temporal's API told of
    queues in this tick, so that counts and ages are of now."""
    for flow in flows:
        before = past.get(flow.key, NEVER_SEEN)
        if flow.served is None and (flow.pollers == 0 or (described and _unserved(flow, before, window_sec, now))):
            flow.served = 0.0
        if flow.arrives is None and flow.served == 0 and described and flow.waiting is not None:
            flow.arrives = _arrived(flow.waiting, before, now)


def _unserved(flow: Flow, past: QueueMemory, window_sec: float, now: Instant) -> bool:
    ageing = past.ageing(flow.age, window_sec, now)
    return ageing is not None and ageing >= UNSERVED_AGEING


def _arrived(waiting: float, past: QueueMemory, now: Instant) -> float | None:
    """What arrived since the queue was seen last, in 1/s; None where it was not."""
    if past.waiting is None or past.last_seen is None or now <= past.last_seen:
        return None
    return max(0.0, waiting - past.waiting) / (now - past.last_seen).total("seconds")


ATTEMPTS = "workflow_tasks.attempts_p99"
ONE_MOMENT_ATTEMPTS = 5.0


def stuck_learned(view: View) -> dict[str, Any]:
    """What memory learns of tasks that failed for a minute and more and fail still: how many attempts, and when they
    were seen last. Where tasks are tried as often and none has failed in the workers for a window, none is stuck."""
    value, before = view.signals.value(ATTEMPTS), view.memory.stuck_attempts if view.stuck_for_sec else None
    few = value is not None and value <= max(ONE_MOMENT_ATTEMPTS, view.thresholds.workflow_task_attempts_p99)
    if value is None or few or view.recovering:
        return {}
    fails = view.signals.value("worker_tasks.workflow_task_failures_per_sec")
    if fails != 0:
        return {"stuck_attempts": max(value, before or value), "stuck_at": view.now} if _several(view) else {}
    seen = view.memory.stuck_at
    over = seen is not None and (view.now - seen).total("seconds") > view.window_sec
    return {"stuck_attempts": None, "stuck_at": None} if over else {}


def _several(view: View) -> bool:
    """Whether more tasks failed or timed out than a cluster without work is allowed."""
    failed = sum(view.signals.value(f"workflow_tasks.{how}_per_sec") or 0.0 for how in ("failed", "timed_out"))
    return failed > view.thresholds.workflow_task_failures.at(0.0, view.window_sec)
