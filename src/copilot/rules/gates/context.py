"""What a gate is, what it looks at, and how it answers."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import cached_property
from typing import Literal, TypeAlias

from whenever import Instant

from copilot.rules.flow import Flow, random_name
from copilot.rules.memory import NEVER_SEEN, Memory, QueueMemory
from copilot.rules.model import GateResult, Severity, Unjudged
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, MissingCode, Signals
from copilot.rules.thresholds import Thresholds

Component: TypeAlias = Literal["frontend", "history", "matching", "persistence", "workers", "application"]

# Hysteresis: how far inside its threshold a gate must be to count as clear, as a share of the threshold.
RECOVERY_MARGIN = 0.10
FEW_STORED = 1.0
UNSERVED_SHARE = 0.05
SERVED_SHARE = 0.5
MISSED_FOR_SEC = 600.0


class Effect(Enum):
    """What a firing gate means for work."""

    REFUSES = auto()  # the server refuses or fails work, whatever the workers show
    SLOW = auto()  # the server is slow
    BACKLOG = auto()  # tasks are in a backlog
    CODE_FAILS = auto()  # what runs on the cluster fails, not the cluster


@dataclass(frozen=True, slots=True)
class Gate:
    """One rule. `judge` looks at primary signals only. `worst`: CRITICAL where it can make the cluster critical.
    `immediate`: it stresses at its first evaluation. `of_completed_work`: it rests on a quantile of completed work, which
    still shows an outage after it ended. `counts_events`: its value is a rate or share of what went wrong, so that zero
    means none. `blocks`: its component makes no progress while it fires. `covered_by`: gates
    whose sentence says as much.

    `sees` is the template of its sentence while it fires, by aspect ("" is the usual one), `clear` while it does not;
    `began` completes "as …", `recovered_when` "Recovered when …"
    (explain/templates.py fills them from the result)."""

    name: str
    judge: Callable[["GateContext"], GateResult]
    component: Component
    sees: str | Mapping[str, str]
    clear: str
    began: str
    recovered_when: str
    worst: Severity = Severity.WARNING
    immediate: bool = False
    of_completed_work: bool = False
    counts_events: bool = False
    blocks: bool = False
    effect: Effect | None = None
    covered_by: frozenset[str] = field(default_factory=frozenset)

    def result(self, context: "GateContext") -> GateResult:
        """The gate's answer at this tick."""
        result = self.judge(context)
        result.name, result.severity = self.name, self.worst
        return result


@dataclass(frozen=True)
class GateContext:
    """What gates look at: signals, flows of the cluster and its queues (by key), memory, thresholds, and the rate
    window in seconds. `own_queues`: Temporal's own with a backlog, which are no part of the cluster's flow."""

    signals: Signals
    cluster: Flow
    queues: dict[str, Flow]
    memory: Memory
    thresholds: Thresholds
    window_sec: float
    now: Instant
    own_queues: dict[str, Flow] = field(default_factory=dict)

    @property
    def recovering(self) -> bool:
        """Whether quantiles of completed work still show an outage that has ended."""
        until = self.memory.recovering_until
        return until is not None and self.now < until

    @property
    def stuck_for_sec(self) -> float:
        """Seconds for which workflow tasks that fail again and again may not be retried yet."""
        return self.memory.stuck_for_sec(self.now)

    def remembered(self, flow: Flow) -> QueueMemory:
        """The memory of a flow."""
        return self.memory.queues.get(flow.key, NEVER_SEEN)

    def share(self, flow: Flow) -> float:
        """The flow's share of the add rate, now or usually (tasks that are not done add no further tasks, so the share
        of a stalled queue falls; callers may stop too, so its usual share counts for ten minutes after the last task); its
        share of the backlog when nothing is added; 1 for the cluster."""
        if flow is self.cluster:
            return 1.0
        of, total = self._whole
        now = (getattr(flow, of) or 0.0) / total if total > 0 else 0.0
        past = self.remembered(flow)
        lately = past.last_added is not None and (self.now - past.last_added).total("seconds") <= MISSED_FOR_SEC
        return max(now, past.usual_share or 0.0) if flow.add_rate or lately else now

    def usual_share(self, flow: Flow) -> float | None:
        """The share of the add rate to remember: a slow average over the ticks at which the flow keeps up. Where there is no
        backlog it does, although the two rates may be counted differently (before server 1.32 they are)."""
        before, (of, total) = self.remembered(flow).usual_share, self._whole
        if flow is self.cluster or of != "add_rate" or not flow.add_rate:
            return before
        if flow.backlog != 0 and (flow.dispatch_rate or 0.0) < 0.9 * flow.add_rate:
            return before
        now = flow.add_rate / total
        return now if before is None else before + 0.1 * (now - before)

    def abandoned(self, flow: Flow) -> bool:
        """Whether no task is added to the queue and no one misses it: none within the memory's reach while tasks are
        added elsewhere, or none for a day. A backlog larger than at the last tick means tasks that no rate shows yet;
        where no add rate can be read, a backlog that stays the same means that none is added."""
        if flow is self.cluster or flow.add_rate:
            return False
        before = self.remembered(flow)
        if before.backlog is not None and (flow.backlog or 0.0) > before.backlog:
            return False
        if flow.add_rate is None and (before.backlog is None or flow.dispatch_rate != 0):
            return False
        day = self.thresholds.abandoned_after_sec
        if before.last_added is not None:
            return (self.now - before.last_added).total("seconds") > day
        elsewhere = any(f.add_rate or (f.add_rate is None and f.dispatch_rate) for f in self.queues.values())
        return elsewhere or (flow.backlog_age_sec or 0.0) > day

    def unserved(self, flow: Flow) -> bool:
        """Whether no worker was ever seen to poll the queue, while others are dispatched, and it has a random name or so
        little of the work that no one may want it: neither pollers, nor a task dispatched, nor a worker's page that
        lists it."""
        past, whole = self.remembered(flow), self.cluster
        unpolled = flow.pending_polls == 0 or flow.pollers == 0
        if not flow.task_queue or not unpolled or flow.dispatch_rate or flow.on_worker_pages:
            return False
        if past.last_polled or past.last_listed or not whole.dispatch_rate:
            return False
        mostly = whole.dispatch_rate >= SERVED_SHARE * (whole.add_rate or 0.0)
        return random_name(flow.task_queue) or (mostly and self.share(flow) < UNSERVED_SHARE)

    def left_over(self, flow: Flow) -> bool:
        """Whether it is an unserved queue with a random name, which makes no cluster critical."""
        return bool(flow.task_queue) and random_name(flow.task_queue) and self.unserved(flow)

    def ownerless(self, flow: Flow) -> bool:
        """Whether the age of the queue's oldest task has not changed, or is seen for the first time, while the queue is
        dispatched as fast as tasks are added and none is stored: no process may own that gauge any more."""
        if flow.has_api_stats or flow.add_rate is None or (flow.spooled or 0.0) * self.window_sec >= FEW_STORED:
            return False
        moved = any(age != flow.backlog_age_sec for _, age in self.remembered(flow).ages)
        return not moved and 0 < flow.add_rate <= (flow.dispatch_rate or 0.0) * (1 + RECOVERY_MARGIN)

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The cluster, then its queues that are not abandoned, by share."""
        queues = [f for f in self.queues.values() if not self.abandoned(f)]
        return (self.cluster, *sorted(queues, key=self.share, reverse=True))

    @cached_property
    def _whole(self) -> tuple[Literal["add_rate", "backlog"], float]:
        """What shares are taken of, and its total over all queues; the cluster's own count where the breakdown is full
        and so leaves queues out."""
        added = sum(f.add_rate or 0.0 for f in self.queues.values())
        if len(self.signals.rows("demand.tasks_added_per_sec")) >= MAX_BREAKDOWN_ROWS:
            added = max(added, self.cluster.add_rate or 0.0)
        if added > 0:
            return "add_rate", added
        return "backlog", sum(f.backlog or 0.0 for f in self.queues.values())


def clear(unit: str = "") -> GateResult:
    """The gate does not fire, and has no value to show."""
    return GateResult(unit=unit)


def unjudged(why: Unjudged, lacking: str = "") -> GateResult:
    """The gate cannot be judged; `lacking` names the signal."""
    return GateResult(fired=None, unjudged=why, lacking=lacking)


def without(context: GateContext, ids: Collection[str]) -> GateResult | None:
    """An unjudged result if one of the ids has no value, else None. Missing outranks no traffic."""
    read = context.signals.readings.get
    for signal_id in ids:
        if read(signal_id) is None:
            return _lacking(context.signals, [i for i in ids if read(i) is None])
    return None


def _lacking(signals: Signals, lacking: list[str]) -> GateResult:
    missing = [i for i in lacking if not signals.quiet(i)]
    if not missing:
        return unjudged("no_traffic")
    expected = [i for i in missing if (why := signals.why_missing(i)) and why.code is not MissingCode.NO_SOURCE]
    return unjudged("missing", expected[0]) if expected else unjudged("not_expected")


def lost(context: GateContext, ids: Iterable[str]) -> GateResult | None:
    """An unjudged result if the reading of one of the ids was lost (a timeout, a page not read, …), so that the others
    may not be all there is. An id that is simply absent is not lost."""
    for signal_id in ids:
        why = context.signals.why_missing(signal_id)
        if why is not None and not why.not_there:
            return unjudged("missing", signal_id)
    return None


def measured(
    value: float,
    threshold: float,
    unit: str,
    evidence: dict[str, float],
    *,
    fired: bool,
    low: bool = False,
    aspect: str = "",
) -> GateResult:
    """A judged gate. `low`: it fires below its threshold, so being above it is the margin."""
    inside = value - threshold if low else threshold - value
    return GateResult(
        fired=fired, value=value, threshold=threshold, margin=inside / threshold, unit=unit, evidence=evidence,
        aspect=aspect,
    )  # fmt: skip


def over(context: GateContext, value: float, threshold: float, unit: str, ids: Iterable[str]) -> GateResult:
    """A gate that is firing above its threshold; `ids` are its evidence."""
    read = context.signals.readings.get
    evidence = {i: v for i in ids if (v := read(i)) is not None}
    return measured(value, threshold, unit, evidence, fired=value > threshold)


def of_queue(result: GateResult, flow: Flow, context: GateContext) -> GateResult:
    """The result with the labels of the queue it is about; unchanged for the cluster."""
    return result if flow is context.cluster else replace(result, labels=flow.labels)


def flow_evidence(flow: Flow) -> dict[str, float]:
    """What is known of a flow, by signal id."""
    values = {
        "matching.backlog_count": flow.backlog,
        "demand.tasks_added_per_sec": flow.add_rate,
        "matching.tasks_dispatched_per_sec": flow.dispatch_rate,
        "matching.backlog_age_sec": flow.backlog_age_sec,
        "matching.tasks_spooled_per_sec": flow.spooled,
        "poller.pending_polls": flow.pending_polls,
    }
    return {name: value for name, value in values.items() if value is not None}
