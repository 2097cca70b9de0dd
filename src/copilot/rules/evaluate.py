"""One tick of the rules: signals and memory in, everything that is said out."""

from dataclasses import dataclass, field, replace
from typing import Any

from whenever import Instant, TimeDelta

from copilot.explain.narrative import chain, explained
from copilot.rules.bottleneck import WorkerEvidence, classify_bottleneck, worker_evidence
from copilot.rules.components import services
from copilot.rules.findings.context import Facts, past, unsure
from copilot.rules.findings.registry import findings
from copilot.rules.flow import cluster_flow, queue_flows, rest_of, sanitised
from copilot.rules.gates.context import View, infer, stuck_learned
from copilot.rules.gates.registry import judge
from copilot.rules.memory import Memory, demand_learned, flows_learned, slots_learned
from copilot.rules.model import (
    BottleneckClassification,
    Evaluation,
    HealthState,
    Issue,
    ReportedState,
    Severity,
    Verdict,
    replay_line,
)
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.rules.state_machine import evaluate_health_state
from copilot.rules.thresholds import Thresholds

RULES_VERSION = "3"
WAKE_LASTS = TimeDelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Context:
    """What the rules must know besides the readings: the cluster's name, interval and rate window in seconds,
    thresholds, and the task queues the operator wants ignored."""

    cluster: str
    interval_sec: float
    window_sec: float
    thresholds: Thresholds = field(default_factory=Thresholds)
    ignore_task_queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules decide at a tick, before anything is put into words."""

    verdict: Verdict
    bottleneck: BottleneckClassification
    findings: tuple[Issue, ...]
    facts: Facts

    @property
    def top_factor(self) -> str | None:
        """The first finding's name; None when there is nothing to say."""
        return self.findings[0].finding if self.findings else None

    def replay_line(self) -> dict[str, Any]:
        """The replay contract's object (design.md §4), ready for JSON."""
        return replay_line(self.verdict, self.bottleneck, self.top_factor, self.facts.view.signals)


def _bottleneck(verdict: Verdict, evidence: WorkerEvidence) -> BottleneckClassification:
    """Blind knows of none; and a gate that fired once, too little for a state, is too little to blame somebody."""
    if verdict.health_state is ReportedState.UNKNOWN:
        return BottleneckClassification.UNKNOWN
    if verdict.health_state is ReportedState.HAPPY:
        return BottleneckClassification.HEALTHY
    return classify_bottleneck(verdict.gates, evidence)


def decide(signals: Signals, memory: Memory, context: Context) -> tuple[Decision, Memory]:
    """The verdict with its findings, and what to remember for the next tick. Same inputs, same answer."""
    view = _view(signals, memory, context)
    verdict, after = evaluate_health_state(judge(view), signals, memory, context.interval_sec, context.window_sec)
    evidence = worker_evidence(view)
    facts = Facts(view, {g.name: g for g in verdict.gates}, evidence, blind=verdict.stale)
    decision, after = _remembering(Decision(verdict, _bottleneck(verdict, evidence), findings(facts), facts), after)
    if after.last_usable is signals.time:
        since_sec = (signals.time - memory.last_tick).total("seconds") if memory.last_tick else 0.0
        starts, burst = signals.value("demand.starts_per_sec"), context.thresholds.burst_factor
        flows = {**view.queues, view.cluster.key: view.cluster}
        shares = {key: view.usual_share(flow) for key, flow in flows.items()}
        learned = {
            **demand_learned(after, starts, signals.time, since_sec, context.window_sec, burst),
            **slots_learned(signals),
            **stuck_learned(view),
            "queues": flows_learned(after, flows, shares, signals.time),
        }
        after = after.model_copy(update=learned)
    return decision, after


def _view(signals: Signals, memory: Memory, context: Context) -> View:
    """What the gates look at. Queues that are ignored or abandoned are no part of the cluster's flow either."""
    every, cluster = queue_flows(signals), cluster_flow(signals)
    ignored = {sanitised(name) for name in context.ignore_task_queues}
    queues = {key: flow for key, flow in every.items() if sanitised(flow.task_queue) not in ignored}
    infer(queues.values(), memory.queues, cluster.described, context.window_sec, signals.time)
    view = View(signals, cluster, queues, memory, context.thresholds, context.window_sec, signals.time)
    left_out = [flow for key, flow in every.items() if key not in queues or view.abandoned(flow)]
    if not left_out:
        return view
    return replace(view, cluster=rest_of(cluster, left_out, view.flows[1:]))


# What is said of waiting work when nothing points at anything else; and the readings that point.
WEAK = frozenset({"worker_slow", "backlog_draining"})
POINTING = (
    "poller.pending_polls",
    "matching.tasks_dispatched_per_sec",
    "demand.tasks_added_per_sec",
    "matching.backlog_count",
    "version.backlog_count",
    "version.pollers",
)


def _blurred(signals: Signals) -> bool:
    """Whether a reading that points at causes was lost in this tick: then the last cause is the better guess."""
    lost = signals.missing
    return any(i in lost and lost[i].code is not MissingCode.ABSENT and not signals.quiet(i) for i in POINTING)


def _in_the_wake(cause: Issue, memory: Memory, now: Instant) -> bool:
    """Whether a cause that stresses comes within five minutes of what was critical: then that stays the cause that is
    remembered."""
    worse = memory.cause is not None and (memory.cause.severity, cause.severity) == (
        Severity.CRITICAL,
        Severity.WARNING,
    )
    fresh = memory.state is HealthState.CRITICAL or (memory.since is not None and now - memory.since < WAKE_LASTS)
    return worse and fresh


def _remembering(decision: Decision, memory: Memory) -> tuple[Decision, Memory]:
    """Happy names no cause that rests on a gate. While a state holds and no gate fires, the last cause stays named; so
    it does while a gate fires that it was found by, and nothing else explains that."""
    state, found = decision.verdict.health_state, decision.findings
    if state is ReportedState.HAPPY:
        if found:
            decision = replace(decision, findings=tuple(issue for issue in found if not issue.contributing_factors))
        forgotten = {"cause": None, "bottleneck": None, "burst_at": None}
        return decision, memory.model_copy(update=forgotten) if memory.cause else memory
    if state is ReportedState.UNKNOWN:
        return decision, memory
    cause = next((issue for issue in found if issue.contributing_factors), None)
    blurred = not decision.verdict.stale and _blurred(decision.facts.view.signals) and bool(decision.verdict.fired())
    if cause is not None and not (blurred and cause.finding in WEAK and memory.cause is not None):
        if _in_the_wake(cause, memory, decision.facts.view.now):
            return decision, memory
        return decision, memory.model_copy(update={"cause": cause, "bottleneck": decision.bottleneck})
    if memory.cause is None or memory.bottleneck is None:
        return decision, memory
    fired = decision.verdict.fired()
    unexplained = cause is None and any(gate in fired for gate in memory.cause.contributing_factors)
    if fired and not blurred and not unexplained:
        return decision, memory
    if unexplained and not blurred:
        return replace(decision, findings=(memory.cause, *found)), memory
    if blurred:
        others = tuple(issue for issue in found if issue.finding not in (memory.cause.finding, *WEAK))
        return replace(decision, findings=(memory.cause, *others), bottleneck=memory.bottleneck), memory
    last = past(memory.cause) if memory.last_usable == decision.facts.view.now else unsure(memory.cause)
    return replace(decision, findings=(last, *found), bottleneck=memory.bottleneck), memory


def evaluate(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:
    """The decision of a tick with all its words, and what to remember for the next. Same inputs, same answer."""
    decision, after = decide(signals, memory, context)
    verdict, bottleneck, found, facts = decision.verdict, decision.bottleneck, decision.findings, decision.facts
    actors = services(verdict.gates, facts.workers, signals, context.thresholds)
    links = chain(facts) if verdict.fired() and found else ()
    summary, narrative = explained(verdict, bottleneck, found, actors, links, facts, after)
    evaluation = Evaluation(
        evaluation_id=f"{context.cluster}:{signals.time.timestamp()}",
        cluster=context.cluster,
        time=signals.time,
        interval_sec=context.interval_sec,
        window_sec=context.window_sec,
        verdict=verdict,
        bottleneck=bottleneck,
        findings=found,
        services=actors,
        summary=summary,
        narrative=narrative,
        signals=signals,
    )
    return evaluation, after
