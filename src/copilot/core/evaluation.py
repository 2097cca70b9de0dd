"""One tick of the rules: signals and memory in, everything that is said out."""

from dataclasses import dataclass, field

from copilot.core.assessment import BottleneckClassification, Evaluation, ReportedState, Verdict
from copilot.core.bottleneck import WorkerEvidence, classify_bottleneck, worker_evidence
from copilot.core.causal_chain import chain
from copilot.core.facts import Facts
from copilot.core.findings import findings
from copilot.core.flow import cluster_flow, queue_flows
from copilot.core.gates import judge
from copilot.core.memory import Memory, remember_demand, remember_flows, remember_slots
from copilot.core.narrative import narrative, summary
from copilot.core.services import services
from copilot.core.signals import Signals
from copilot.core.state_machine import evaluate_health_state, usable
from copilot.core.thresholds import Thresholds
from copilot.core.view import View

RULES_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Context:
    """What the rules must know besides the readings: the cluster's name, interval and rate window in seconds,
    thresholds, and the task queues the operator wants ignored."""

    cluster: str
    interval_sec: float
    window_sec: float
    thresholds: Thresholds = field(default_factory=Thresholds)
    ignore_task_queues: tuple[str, ...] = ()


def _bottleneck(verdict: Verdict, evidence: WorkerEvidence) -> BottleneckClassification:
    """Blind knows of none; and a gate that fired once, too little for a state, is too little to blame somebody."""
    if verdict.health_state is ReportedState.UNKNOWN:
        return BottleneckClassification.UNKNOWN
    if verdict.health_state is ReportedState.HAPPY:
        return BottleneckClassification.HEALTHY
    return classify_bottleneck(verdict.gates, evidence)


def evaluate(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:
    """The verdict with its findings and words, and what to remember for the next tick. Same inputs, same answer."""
    queues = queue_flows(signals, context.ignore_task_queues)
    cluster = cluster_flow(signals)
    view = View(signals, cluster, queues, memory, context.thresholds, context.window_sec, signals.time)
    verdict, after = evaluate_health_state(judge(view), signals, memory, context.interval_sec, context.window_sec)
    evidence = worker_evidence(view)
    facts = Facts(view, {g.name: g for g in verdict.gates}, evidence, blind=verdict.stale)
    found = findings(facts)
    bottleneck = _bottleneck(verdict, evidence)
    if verdict.health_state is ReportedState.HAPPY:
        found = tuple(issue for issue in found if not issue.contributing_factors)
    actors = services(verdict.gates, evidence, signals, context.thresholds)
    if usable(signals, verdict.coverage):
        after = remember_demand(
            after, signals.value("demand.starts_per_sec"), signals.time, context.thresholds.burst_factor
        )
        after = remember_slots(after, signals)
        flows = {**queues, cluster.key: cluster}
        after = after.model_copy(update={"queues": remember_flows(after, flows, signals.time)})
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
        summary=summary(verdict, found, signals),
        narrative=narrative(verdict, bottleneck, found, actors, chain(facts) if found else (), signals),
        signals=signals,
    )
    return evaluation, after
