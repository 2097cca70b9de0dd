"""One tick of the rules: signals and memory in, the decision out. No sentences; `copilot.explain` makes them."""

from dataclasses import dataclass, field, replace
from typing import Any

from whenever import Instant, TimeDelta

from copilot.rules.bottleneck import (
    backlog_flows,
    classify_bottleneck,
    exhausted_slots,
    limited_flows,
    worker_evidence,
)
from copilot.rules.components import services
from copilot.rules.early import early_learned
from copilot.rules.findings.context import FindingContext
from copilot.rules.findings.processes import lost_processes
from copilot.rules.findings.registry import BY_NAME, detect, with_kept
from copilot.rules.findings.wake import (
    as_consequences,
    as_fading,
    as_past,
    as_remembered,
    as_unsure,
    may_come_back,
    still_seen,
)
from copilot.rules.flow import cluster_flow, own_flows, queue_flows, sanitized, subtract
from copilot.rules.gates.context import GateContext
from copilot.rules.gates.registry import SERVER_SLOW, judge
from copilot.rules.limits import limits_learned
from copilot.rules.memory import (
    Memory,
    demand_learned,
    flows_learned,
    infer_unlisted,
    keep_undispatched,
    members_learned,
    polls_learned,
    slots_learned,
    stuck_learned,
)
from copilot.rules.model import (
    BottleneckClassification,
    Detected,
    Evaluation,
    HealthState,
    QueueBacklog,
    ReportedState,
    Severity,
    Verdict,
    Work,
    replay_line,
)
from copilot.rules.recovery import backlogs_learned, forecasts
from copilot.rules.signals.credible import credible
from copilot.rules.signals.readings import Signals
from copilot.rules.state_machine import evaluate_health_state
from copilot.rules.targets import processes_seen, versions_seen
from copilot.rules.thresholds import Thresholds

RULES_VERSION = "4"
CRITICAL_CAUSE_STAYS_FOR = TimeDelta(minutes=5)
MOST_QUEUES = 20


@dataclass(frozen=True, slots=True)
class Context:
    """What the rules need besides the readings: the cluster's name, interval and rate window in seconds, thresholds,
    and the task queues the operator wants ignored."""

    cluster: str
    interval_sec: float
    window_sec: float
    thresholds: Thresholds = field(default_factory=Thresholds)
    ignore_task_queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules decide at a tick."""

    verdict: Verdict
    bottleneck: BottleneckClassification
    findings: tuple[Detected, ...]
    context: FindingContext

    @property
    def top_factor(self) -> str | None:
        """The first finding's name; None when there is none."""
        return self.findings[0].finding if self.findings else None

    def replay_line(self) -> dict[str, Any]:
        """The replay contract's object, ready for JSON."""
        return replay_line(self.verdict, self.bottleneck, self.top_factor, self.context.view.signals)


def _bottleneck(verdict: Verdict, seen: FindingContext) -> BottleneckClassification:
    """Unknown has none; and a gate that was firing once, too little for a state, is too little to blame a side."""
    if verdict.health_state is ReportedState.UNKNOWN:
        return BottleneckClassification.UNKNOWN
    if verdict.health_state is ReportedState.HAPPY:
        return BottleneckClassification.HEALTHY
    silent = seen.silent_service[0]
    hangs = silent == "matching" or bool(silent and not seen.firing(*SERVER_SLOW))
    server_side = bool(lost_processes(seen)[0]) or hangs
    held_back = not server_side and bool(limited_flows(seen.view))
    unsure = held_back and seen.workers.slots_exhausted is None
    return classify_bottleneck(
        verdict.gates, seen.workers, server_side=server_side or (held_back and not unsure), unsure=unsure
    )


def decide(signals: Signals, memory: Memory, context: Context) -> tuple[Decision, Memory]:
    """The verdict with its findings, and what to remember for the next tick. Same inputs, same answer."""
    signals = credible(signals)
    view = _view(signals, memory, context)
    verdict, after = evaluate_health_state(judge(view), signals, memory, context.interval_sec, context.window_sec)
    seen = FindingContext(view, {g.name: g for g in verdict.gates}, worker_evidence(view), stale=verdict.stale)
    decision = Decision(verdict, _bottleneck(verdict, seen), detect(seen), seen)
    decision, after = _with_remembered_cause(decision, after)
    findings, notes = with_kept(decision.findings, memory.notes, signals.time)
    if notes or memory.notes:
        decision, after = replace(decision, findings=findings), after.model_copy(update={"notes": notes})
    learned = early_learned(signals, context.thresholds, context.window_sec)
    learned["processes"] = processes_seen(memory.processes, signals)
    happy = verdict.health_state is ReportedState.HAPPY and not verdict.fired()
    learned["server_versions"] = versions_seen(memory.server_versions, signals)
    learned["began"] = None if happy else memory.began or (signals.time if verdict.fired() else None)
    if after.last_usable is signals.time:
        since_sec = (signals.time - memory.last_tick).total("seconds") if memory.last_tick else 0.0
        starts, burst = signals.value("demand.starts_per_sec"), context.thresholds.burst_factor
        flows = {**view.queues, **view.own_queues, view.cluster.key: view.cluster}
        shares = {key: view.usual_share(flow) for key, flow in flows.items()}
        learned["backlogs"] = backlogs_learned(memory.backlogs, backlog_flows(view), signals.time)
        learned |= {
            **demand_learned(after, starts, signals.time, since_sec, context.window_sec, burst),
            **slots_learned(memory, signals),
            **polls_learned(signals),
            **members_learned(signals),
            "limits": limits_learned(memory.limits, signals),
            **stuck_learned(memory, signals, context.thresholds, context.window_sec, view.recovering),
            "queues": flows_learned(after, flows, shares, signals.time, signals.targets.get("worker")),
        }
    return decision, after.model_copy(update=learned)


def _view(signals: Signals, memory: Memory, context: Context) -> GateContext:
    """What the gates look at. Ignored, abandoned and left-over queues are no part of the cluster's flow either."""
    every, cluster = queue_flows(signals), cluster_flow(signals)
    ignored = {sanitized(name) for name in context.ignore_task_queues}
    queues = {key: flow for key, flow in every.items() if sanitized(flow.task_queue) not in ignored}
    kept = keep_undispatched(queues, memory.queues, signals, context.thresholds.abandoned_after_sec)
    if kept:
        ages = [cluster.backlog_age_sec or 0.0, *(flow.backlog_age_sec or 0.0 for flow in kept)]
        backlog = (cluster.backlog or 0.0) + sum(flow.backlog or 0.0 for flow in kept)
        cluster = replace(cluster, backlog=backlog, backlog_age_sec=max(ages))
    infer_unlisted(queues.values(), memory.queues, cluster.has_api_stats, context.window_sec, signals.time)
    view = GateContext(
        signals, cluster, queues, memory, context.thresholds, context.window_sec, signals.time, own_flows(signals)
    )
    left_out = [
        flow for key, flow in every.items() if key not in queues or view.abandoned(flow) or view.left_over(flow)
    ]
    if not left_out:
        return view
    others = [flow for flow in view.flows[1:] if not view.left_over(flow)]
    return replace(view, cluster=subtract(cluster, left_out, others))


# The readings that point at a cause.
_POINTING = (
    "poller.pending_polls",
    "matching.tasks_dispatched_per_sec",
    "demand.tasks_added_per_sec",
    "matching.backlog_count",
    "version.backlog_count",
    "version.pollers",
)


def _evidence_lost(signals: Signals) -> bool:
    """Whether a reading that points at causes was lost at this tick: then the last cause is the better guess."""
    missing = signals.missing
    return any(i in missing and not missing[i].not_there and not signals.quiet(i) for i in _POINTING)


def _soon_after_critical(before: Detected, cause: Detected, memory: Memory, now: Instant) -> bool:
    """Whether a cause of stress comes within five minutes of a critical one: then that one stays remembered."""
    milder = (before.severity, cause.severity) == (Severity.CRITICAL, Severity.WARNING)
    since = memory.since
    fresh = memory.state is HealthState.CRITICAL or (since is not None and now - since < CRITICAL_CAUSE_STAYS_FOR)
    return milder and fresh


def _critical_cause(cause: Detected, memory: Memory, now: Instant) -> dict[str, Any]:
    """What memory learns of a critical cause that is the server's; the first of an incident stays known for a while."""
    if BY_NAME[cause.finding].component in ("workers", "application") or cause.severity is not Severity.CRITICAL:
        return {}
    first = memory.critical_cause
    another = first is not None and first[1] != cause.finding and now - first[0] <= CRITICAL_CAUSE_STAYS_FOR
    return {} if another else {"critical_cause": (now, cause.finding)}


def _with_remembered_cause(decision: Decision, memory: Memory) -> tuple[Decision, Memory]:
    """Happy names what is found without any gate, and no cause. While a state holds and no gate is firing, the last
    cause stays named, as past once nothing of it is seen; so it does while one of its gates is firing and nothing else
    explains that."""
    state, found, now = decision.verdict.health_state, decision.findings, decision.context.view.now
    if state is ReportedState.HAPPY:
        if any(d.contributing_factors for d in found):
            decision = replace(decision, findings=detect(replace(decision.context, gates={})))
        forgotten = {"cause": None, "cause_seen": None, "bottleneck": None, "burst_at": None}
        return decision, memory.model_copy(update=forgotten) if memory.cause else memory
    if state is ReportedState.UNKNOWN:
        return decision, memory
    cause, fired = next((d for d in found if d.contributing_factors), None), decision.verdict.fired()
    lost = not decision.verdict.stale and _evidence_lost(decision.context.view.signals) and bool(fired)
    before = memory.cause
    seen = before is not None and still_seen(before, decision.verdict.gates)
    if seen:
        memory = memory.model_copy(update={"cause_seen": now})
    elif before is not None and may_come_back(before) and memory.cause_seen is not None:
        seen = (now - memory.cause_seen).total("seconds") < decision.context.view.window_sec
    if cause is not None and not (lost and _weak(cause) and before is not None):
        if before is not None and _soon_after_critical(before, cause, memory, now):
            return replace(decision, findings=as_consequences(before, found, seen=seen)), memory
        named = {
            **_critical_cause(cause, memory, now),
            "cause": cause,
            "cause_seen": now,
            "bottleneck": decision.bottleneck,
        }
        return decision, memory.model_copy(update=named)
    if before is None or memory.bottleneck is None:
        return decision, memory
    unexplained = cause is None and any(gate in fired for gate in before.contributing_factors)
    if fired and not lost and not unexplained:
        return decision, memory
    if unexplained and not lost:
        return replace(decision, findings=(as_remembered(before, decision.verdict.gates), *found)), memory
    if lost:
        others = tuple(d for d in found if d.finding != before.finding and not _weak(d))
        known = as_remembered(before, decision.verdict.gates)
        return replace(decision, findings=(known, *others), bottleneck=memory.bottleneck), memory
    last = (as_fading if seen else as_past)(before) if memory.last_usable == now else as_unsure(before)
    # What is still seen is not past, although no gate is firing.
    last = next((d for d in found if (d.finding, d.subject) == (before.finding, before.subject)), last)
    others = tuple(d for d in found if d is not last)
    return replace(decision, findings=(last, *others), bottleneck=memory.bottleneck), memory


def _weak(detected: Detected) -> bool:
    return BY_NAME[detected.finding].weak


def _work(decision: Decision, after: Memory) -> Work:
    view, workers = decision.context.view, decision.context.workers
    flows = backlog_flows(view)
    return Work(
        backlog=view.cluster.backlog,
        queues=tuple(
            QueueBacklog(
                task_queue=f.task_queue,
                task_type=f.task_type,
                backlog=f.backlog or 0.0,
                backlog_age_sec=f.backlog_age_sec or 0.0,
            )
            for f in flows[:MOST_QUEUES]
        ),
        draining=decision.context.draining,
        no_pollers=workers.no_pollers,
        slots_exhausted=workers.slots_exhausted,
        full_slots=exhausted_slots(view),
        recovery=forecasts(after.backlogs, flows, view.now) if after.last_usable == view.now else (),
    )


def evaluate(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:
    """The decision of a tick as an evaluation, and what to remember for the next. Same inputs, same answer."""
    decision, after = decide(signals, memory, context)
    signals = decision.context.view.signals
    evaluation = Evaluation(
        evaluation_id=f"{context.cluster}:{signals.time.timestamp()}",
        cluster=context.cluster,
        time=signals.time,
        interval_sec=context.interval_sec,
        window_sec=context.window_sec,
        verdict=decision.verdict,
        bottleneck=decision.bottleneck,
        findings=decision.findings,
        services=services(decision.verdict.gates, decision.context.workers, signals, context.thresholds),
        work=_work(decision, after),
        processes=after.processes,
        began=after.began,
        signals=signals,
    )
    return evaluation, after
