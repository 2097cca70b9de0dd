"""The verdict as Prometheus metrics, read from the live copies when they are scraped."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from copilot.api.deps import Deps
from copilot.api.live import LiveCopies, Said
from copilot.explain import ExplainedEvaluation
from copilot.rules.model import ReportedState


class VerdictCollector(Collector):
    """Gauges of all clusters. What is not known is left out, never 0; a cluster never heard of is unknown."""

    def __init__(self, deps: Deps, live: LiveCopies) -> None:
        self._deps = deps
        self._live = live

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family after the other, a sample per cluster."""
        heard = [self._live.said(c) for c in self._deps.clusters]
        yield _states(heard)
        yield _degraded(heard)
        evaluated = [(s, s.evaluation) for s in heard if s.evaluation is not None]
        yield from _verdicts(evaluated)
        yield _coverage([e for _, e in evaluated])
        yield from _gates([e for _, e in evaluated])


def _states(heard: list[Said]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "copilot_health_state", "1 for the state that is reported, 0 for the others", labels=["cluster", "state"]
    )
    for said in heard:
        state = said.evaluation.verdict.health_state if said.evaluation else ReportedState.UNKNOWN
        for candidate in ReportedState:
            family.add_metric([said.cluster, candidate.value], float(candidate is state))
    return family


def _degraded(heard: list[Said]) -> GaugeMetricFamily:
    family = GaugeMetricFamily("copilot_degraded", "1 while the loop or the state store is away", labels=["cluster"])
    for said in heard:
        family.add_metric([said.cluster], float(said.degraded_because is not None))
    return family


def _verdicts(evaluated: list[tuple[Said, ExplainedEvaluation]]) -> Iterator[GaugeMetricFamily]:
    stale = GaugeMetricFamily("copilot_stale", "1 while the verdict is held without fresh evidence", labels=["cluster"])
    age = GaugeMetricFamily("copilot_evaluation_age_seconds", "Seconds since the newest evaluation", labels=["cluster"])
    since = GaugeMetricFamily(
        "copilot_state_since_timestamp_seconds", "When the state began, epoch seconds", labels=["cluster"]
    )
    confidence = GaugeMetricFamily("copilot_confidence_ratio", "Confidence of the verdict, 0 to 1", labels=["cluster"])
    for said, e in evaluated:
        stale.add_metric([said.cluster], float(e.verdict.stale))
        age.add_metric([said.cluster], said.age_sec or 0.0)
        since.add_metric([said.cluster], e.verdict.since.timestamp(unit="millisecond") / 1000)
        confidence.add_metric([said.cluster], e.verdict.confidence)
    cycle = GaugeMetricFamily(
        "copilot_cycle_duration_seconds", "Seconds the newest evaluation took to be read and judged", labels=["cluster"]
    )
    for said, _ in evaluated:
        if said.cycle_sec is not None:
            cycle.add_metric([said.cluster], said.cycle_sec)
    yield from (stale, age, since, confidence, cycle)


def _coverage(evaluated: list[ExplainedEvaluation]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "copilot_coverage_ratio", "Share of expected signals that were read, 0 to 1", labels=["cluster", "kind"]
    )
    for e in evaluated:
        coverage = e.verdict.coverage
        shares = {"primary": coverage.primary, "amplifier": coverage.amplifiers, "worker": coverage.worker}
        for kind, share in shares.items():
            if share is not None:
                family.add_metric([e.cluster, kind], share)
    return family


def _gates(evaluated: list[ExplainedEvaluation]) -> Iterator[GaugeMetricFamily]:
    labels = ["cluster", "gate", "severity", "subject"]
    fired = GaugeMetricFamily(
        "copilot_gate_fired", "1 while the gate fires, 0 while it does not; left out while it cannot be judged",
        labels=labels,
    )  # fmt: skip
    judged = GaugeMetricFamily("copilot_gate_judged", "1 if the gate could be judged", labels=labels)
    for e in evaluated:
        seen = set()
        for gate in e.verdict.gates:
            subject = ",".join(f"{k}={v}" for k, v in sorted(gate.labels.items()))
            where = (e.cluster, gate.name, gate.severity.value, subject)
            if where in seen:
                continue
            seen.add(where)
            judged.add_metric(where, float(gate.fired is not None))
            if gate.fired is not None:
                fired.add_metric(where, float(gate.fired))
    yield from (fired, judged)
