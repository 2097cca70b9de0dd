"""Verdicts, gates and transitions by OTLP over HTTP, beside what Prometheus scrapes. Imported only if an endpoint is
set: spans.py. INSTRUMENTS and EVENTS are contracts: names stay, new ones may come. `make docs` lists them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.util.types import AnyValue
from whenever import Instant

from copilot import __version__
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, GateResult, ReportedState, Severity
from copilot.telemetry.tracing import resource, said_seldom

SCOPE = "temporal.copilot"
CLUSTER, STATE = "temporal.copilot.cluster.name", "temporal.copilot.cluster.state"
BEFORE, AFTER = "temporal.copilot.state.before", "temporal.copilot.state.after"
GATE, SEVERITY = "temporal.copilot.gate.name", "temporal.copilot.gate.severity"
SUBJECT, KIND = "temporal.copilot.gate.subject", "temporal.copilot.signal.kind"
EVALUATION, FINDING = "temporal.copilot.evaluation.id", "temporal.copilot.finding.name"
HELD_TICKS, HELD_SEC = 3, 60.0
"""An evaluation is left out once it is older than three intervals and a minute: another worker has the cluster now."""

Values: TypeAlias = Iterable[tuple[float | None, Mapping[str, str]]]
_KINDS = {"primary": "primary", "amplifier": "amplifiers", "worker": "worker"}


def _states(e: Evaluation) -> Values:
    return ((state is e.verdict.health_state, {STATE: state.value}) for state in ReportedState)


def _coverage(e: Evaluation) -> Values:
    return ((getattr(e.verdict.coverage, key), {KIND: kind}) for kind, key in _KINDS.items())


def _gates(e: Evaluation) -> Values:
    return ((gate.fired, _of_gate(gate)) for gate in e.verdict.gates)


def _of_gate(gate: GateResult) -> dict[str, str]:
    subject = ",".join(f"{k}={v}" for k, v in sorted(gate.labels.items()))
    return {GATE: gate.name, SEVERITY: gate.severity.value, SUBJECT: subject}


@dataclass(frozen=True, slots=True)
class Observed:
    """A metric that is read from each cluster's newest evaluation. A value of None is left out, never 0."""

    name: str
    kind: Literal["updowncounter", "gauge"]
    unit: str
    text: str
    attributes: tuple[str, ...]
    values: Callable[[Evaluation], Values]


INSTRUMENTS = (
    Observed("temporal.copilot.cluster.status", "updowncounter", "{cluster}",
             "1 for the state that is reported, 0 for the others", (STATE,), _states),
    Observed("temporal.copilot.cluster.stale", "updowncounter", "{cluster}",
             "1 while the verdict is held without fresh evidence", (), lambda e: [(e.verdict.stale, {})]),
    Observed("temporal.copilot.cluster.state_duration", "gauge", "s", "How long the state had lasted at the last tick",
             (), lambda e: [((e.time - e.verdict.since).total("seconds"), {})]),
    Observed("temporal.copilot.verdict.confidence", "gauge", "1", "Confidence of the verdict, 0 to 1", (),
             lambda e: [(e.verdict.confidence, {})]),
    Observed("temporal.copilot.verdict.coverage", "gauge", "1", "Share of expected signals that were read, 0 to 1",
             (KIND,), _coverage),
    Observed("temporal.copilot.gate.firing", "updowncounter", "{gate}",
             "1 while the gate is firing, 0 while it is clear; absent while it is unjudged",
             (GATE, SEVERITY, SUBJECT), _gates),
)  # fmt: skip
TRANSITIONS = ("temporal.copilot.cluster.transitions", "{transition}", "Changes of the reported state", (BEFORE, AFTER))

EVENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "temporal.copilot.state.changed": (
        "The reported state changed. ERROR: to critical; WARN: to stressed or unknown; INFO: to happy",
        (BEFORE, AFTER, "temporal.copilot.state.gates", FINDING),
    ),
    "temporal.copilot.gate.fired": (
        "A gate began to fire. ERROR where it can make the cluster critical, else WARN",
        (GATE, SEVERITY, SUBJECT, "temporal.copilot.gate.value", "temporal.copilot.gate.threshold",
         "temporal.copilot.gate.unit"),
    ),
    "temporal.copilot.gate.cleared": ("A gate that was firing is clear. INFO", (GATE, SEVERITY, SUBJECT)),
}  # fmt: skip
"""Log events: what each says, and its attributes besides cluster and evaluation."""
CHANGED, FIRED, CLEARED = EVENTS

_OF_STATE = {
    ReportedState.HAPPY: SeverityNumber.INFO,
    ReportedState.CRITICAL: SeverityNumber.ERROR,
}


@dataclass
class VerdictTelemetry:
    """Sends verdicts until it is closed. `metrics`, `events`: whether each has an endpoint."""

    process: str
    metrics: bool
    events: bool
    now: Callable[[], Instant] = Instant.now
    _newest: dict[str, Evaluation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        about = resource(self.process)
        readers = [PeriodicExportingMetricReader(OTLPMetricExporter())] if self.metrics else []
        self._meters = MeterProvider(readers, about, shutdown_on_exit=False)
        meter = self._meters.get_meter(SCOPE, __version__)
        for one in INSTRUMENTS:
            create = meter.create_observable_gauge if one.kind == "gauge" else meter.create_observable_up_down_counter
            create(one.name, [self._observing(one)], one.unit, one.text)
        self._transitions = meter.create_counter(*TRANSITIONS[:3])
        self._logs = LoggerProvider(about, shutdown_on_exit=False)
        if self.events:
            self._logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        self._log = self._logs.get_logger(SCOPE, __version__)
        said_seldom("metrics", "logs")

    def judged(self, evaluation: Evaluation, before: Memory, after: Memory) -> None:
        """Take the evaluation of a tick, and what the rules remembered before and after it. Sends nothing itself. An
        evaluation that is made twice, because its worker died, is told twice, with the same id."""
        self._newest[evaluation.cluster] = evaluation
        for name, severity, attributes in _events(evaluation, before, after):
            told = {CLUSTER: evaluation.cluster, EVALUATION: evaluation.evaluation_id, **attributes}
            time = evaluation.time.timestamp(unit="nanosecond")
            self._log.emit(LogRecord(
                timestamp=time, severity_number=severity, severity_text=severity.name, event_name=name,
                body=f"{evaluation.cluster}: {_words(name, attributes)}",
                attributes={k: v for k, v in told.items() if v is not None},
            ))  # fmt: skip
            if name == CHANGED:
                states = {key: str(attributes[key]) for key in (BEFORE, AFTER)}
                self._transitions.add(1, {CLUSTER: evaluation.cluster, **states})

    def close_events(self) -> None:
        """Send what is left of events and stop."""
        self._logs.shutdown()

    def close_metrics(self) -> None:
        """Send the metrics once more and stop."""
        self._meters.shutdown()

    def _observing(self, one: Observed) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            now = self.now()
            for e in tuple(self._newest.values()):
                if (now - e.time).total("seconds") > HELD_TICKS * e.interval_sec + HELD_SEC:
                    continue
                for value, attributes in one.values(e):
                    if value is not None:
                        yield Observation(float(value), {CLUSTER: e.cluster, **attributes})

        return observe


_Told: TypeAlias = tuple[str, SeverityNumber, Mapping[str, AnyValue]]


def _events(evaluation: Evaluation, before: Memory, after: Memory) -> Iterator[_Told]:
    """What changed at this tick. The first report of a cluster is no change."""
    changed = evaluation.verdict.transition
    if changed is not None and changed.before is not None:
        severity = _OF_STATE.get(changed.after, SeverityNumber.WARN)
        yield CHANGED, severity, {
            BEFORE: changed.before.value, AFTER: changed.after.value, "temporal.copilot.state.gates": changed.gates,
            FINDING: evaluation.top_factor,
        }  # fmt: skip
    for gate in evaluation.verdict.gates:
        was, remembered = before.gates.get(gate.name), after.gates.get(gate.name)
        fires, fired = bool(remembered and remembered.fired), bool(was and was.fired)
        if fires and not fired:
            severity = SeverityNumber.ERROR if gate.severity is Severity.CRITICAL else SeverityNumber.WARN
            measured = {f"temporal.copilot.gate.{k}": getattr(gate, k) for k in ("value", "threshold", "unit")}
            yield FIRED, severity, {**_of_gate(gate), **measured}
        elif fired and not fires:
            yield CLEARED, SeverityNumber.INFO, _of_gate(gate)


def _words(name: str, attributes: Mapping[str, AnyValue]) -> str:
    said = {key: str(value) for key, value in attributes.items() if value is not None}
    if name == CHANGED:
        because = f" ({said[FINDING]})" if FINDING in said else ""
        return f"{said[BEFORE]} → {said[AFTER]}{because}"
    return f"gate {said[GATE]} {'fires' if name == FIRED else 'is clear'}"
