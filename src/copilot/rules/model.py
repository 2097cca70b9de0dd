"""What the rules decide about a cluster: the verdict, its gates, the findings and their evidence. No sentences."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field, FiniteFloat
from whenever import Instant

from copilot.rules.recovery import Forecast
from copilot.rules.signals.readings import Frozen, Signals
from copilot.rules.targets import Process

Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class HealthState(StrEnum):
    """What the rules decide."""

    HAPPY = "happy"
    STRESSED = "stressed"
    CRITICAL = "critical"


class ReportedState(StrEnum):
    """What is reported: a health state, or unknown when there is too little fresh evidence for one."""

    HAPPY = "happy"
    STRESSED = "stressed"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """The one order of states, from best (0) to worst (3): happy, stressed, unknown, critical. Not enough data is
        worse than stressed, because it may hide an outage, and better than a known one."""
        return _RANK[self]


_RANK = {
    state: rank for rank, state in enumerate(ReportedState(s) for s in ("happy", "stressed", "unknown", "critical"))
}


class Severity(StrEnum):
    """How bad a gate or a finding is: a warning makes the cluster stressed, a critical one can make it critical."""

    WARNING = "warning"
    CRITICAL = "critical"


class ActionType(StrEnum):
    """The kind of a suggested action."""

    SCALE = "scale"
    RESTART = "restart"
    CONFIGURE = "configure"
    ALERT = "alert"


class BottleneckClassification(StrEnum):
    """Which side runs out of capacity first."""

    HEALTHY = "healthy"
    SERVER_LIMITED = "server_limited"
    WORKER_LIMITED = "worker_limited"
    MIXED = "mixed"
    UNKNOWN = "unknown"


class Trigger(StrEnum):
    """Why an assessment was made."""

    STATE_CHANGE = "state_change"
    SCHEDULED = "scheduled"
    LOG_SPIKE = "log_spike"
    MANUAL = "manual"


Unjudged = Literal["missing", "no_traffic", "not_expected", "recovering"]


@dataclass(slots=True)
class GateResult:
    """One gate at one tick. `fired` None: it could not be judged, `unjudged` says why, and `lacking` which signal it
    lacks. `margin`: how far the value is inside its threshold, as a share of the threshold (negative when over).
    `evidence`: the readings it used, by signal id. `aspect`: which of several ways of looking at the problem it fired
    by; empty for the usual one. `since`: the first of the evaluations in a row at which it fired. `sentence` is empty
    until `explain` fills it.

    Not a pydantic model, because a tick makes some twenty; validated like one where it comes from outside."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str = ""
    severity: Severity = Severity.WARNING
    fired: bool | None = False
    unjudged: Unjudged | None = None
    value: FiniteFloat | None = None
    threshold: FiniteFloat | None = None
    margin: FiniteFloat | None = None
    unit: str = ""
    evidence: dict[str, FiniteFloat] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    aspect: str = ""
    lacking: str = ""
    since: Instant | None = None
    sentence: str = ""


class Coverage(Frozen):
    """Shares of expected ids that were read (value or no traffic), per kind, and the primary ids that were not."""

    primary: Share
    amplifiers: Share | None
    worker: Share | None
    missing: tuple[str, ...] = ()


class Transition(Frozen):
    """A change of the reported state and the gates that caused it. `before` None: the first report."""

    before: ReportedState | None
    after: ReportedState
    time: Instant
    gates: tuple[str, ...] = ()


class Verdict(Frozen):
    """The state and the evidence for it. `usable_at`: the newest tick with enough of it; None: there was none yet.
    `relapses`: how often the present incident had seemed to be over and came back within minutes."""

    health_state: ReportedState
    last_known_state: HealthState | None
    since: Instant
    stale: bool
    coverage: Coverage
    confidence: Share
    gates: tuple[GateResult, ...]
    transition: Transition | None = None
    usable_at: Instant | None = None
    relapses: int = 0

    def fired(self) -> tuple[str, ...]:
        """Names of the firing gates, in the order of the rules."""
        return tuple(g.name for g in self.gates if g.fired)


EvidenceValue: TypeAlias = str | FiniteFloat | tuple[str, ...]
Evidence: TypeAlias = dict[str, EvidenceValue]
"""What a finding rests on: names (task queues, types, causes), counts, ages in seconds, rates in 1/s, by key."""


class OfferedAction(Frozen):
    """An action the rules offer: `key` of the finding's catalogue. `rule`: the scaling rule it comes with, if any."""

    key: str
    rule: str = ""


class Detected(Frozen):
    """A finding that was detected: one contributing factor. `finding` is its stable name (no_pollers, …); `subject`
    tells two of one finding apart (a task queue, say; empty for the cluster). `contributing_factors`: the gates it
    explains. `phase`: seen now; `fading`: within its limits, and not seen to be gone; `past`: gone; `after`: gone, and
    what it caused is still seen; `unsure`: too little was read to tell."""

    finding: str
    subject: str = ""
    severity: Severity
    contributing_factors: tuple[str, ...] = ()
    related_signals: tuple[str, ...] = ()
    evidence: Evidence = Field(default_factory=dict)
    actions: tuple[OfferedAction, ...] = ()
    phase: Literal["now", "fading", "past", "after", "unsure"] = "now"


class DetectedIssue(Detected):
    """A detected finding with its life: the same (cluster, finding, subject) is one issue for as long as it lasts."""

    id: str
    first_seen: Instant
    last_seen: Instant
    resolved_at: Instant | None = None


class SuggestedAction(Frozen):
    """Something a person can do about a finding. `key` names it in the finding's catalogue."""

    key: str = ""
    action_type: ActionType
    target_service: str
    description: str
    confidence: Share
    risk_level: Literal["low", "medium", "high"]
    parameters: dict[str, str | int | float] = Field(default_factory=dict)
    runbook: str = ""
    source: Literal["rules", "model"] = "rules"


class Issue(Detected):
    """A detected finding, explained."""

    title: str
    description: str
    likely_cause: str
    suggested_actions: tuple[SuggestedAction, ...] = ()


class StoredIssue(Issue, DetectedIssue):
    """A stored issue, explained."""


class Narrative(Frozen):
    """The explanation in six parts."""

    setting: str
    trigger: str
    reactions: tuple[str, ...]
    why: str
    meaning: str
    watch_next: str


@dataclass(slots=True)
class ServiceHealth:
    """Health of one component: frontend, history, matching, persistence or workers. `artifact_signals` look odd and are
    expected where another component is the cause."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    forward_progress: Literal["ok", "degraded", "blocked", "unknown"]
    pressure: Literal["low", "moderate", "high", "unknown"]
    dominant_signal: str | None = None
    artifact_signals: tuple[str, ...] = ()


class QueueBacklog(Frozen):
    """The backlog of one task queue: tasks, and the age of the oldest in seconds. Empty names: the cluster's."""

    task_queue: str = ""
    task_type: str = ""
    backlog: FiniteFloat = 0.0
    backlog_age_sec: FiniteFloat = 0.0


class Work(Frozen):
    """What an evaluation knows of work and who could do it. `backlog`: tasks on all queues that count. `queues`: those
    with a backlog, oldest first. `draining`: each is dispatched at least as fast as tasks are added. `no_pollers`,
    `slots_exhausted`: None where nothing tells. `full_slots`: the type of slots that are all in use. `recovery`: what
    becomes of backlogs at the present rate, where a trend is clear."""

    backlog: FiniteFloat | None = None
    queues: tuple[QueueBacklog, ...] = ()
    draining: bool = False
    no_pollers: bool | None = None
    slots_exhausted: bool | None = None
    full_slots: str | None = None
    recovery: tuple[Forecast, ...] = ()


class Evaluation(Frozen):
    """Everything decided at one tick. The newest `time` wins everywhere. `processes`: what is known of each target.
    `began`: the first evidence of the present problem, that is the first tick at which a gate was firing; None: happy.
    """

    evaluation_id: str
    cluster: str
    time: Instant
    interval_sec: FiniteFloat
    window_sec: FiniteFloat
    verdict: Verdict
    bottleneck: BottleneckClassification
    findings: tuple[Detected, ...]
    services: tuple[ServiceHealth, ...]
    work: Work = Work()
    processes: tuple[Process, ...] = ()
    began: Instant | None = None
    signals: Signals

    @property
    def top_factor(self) -> str | None:
        """The first finding's name; None when there is nothing to say."""
        return self.findings[0].finding if self.findings else None

    def replay_line(self) -> dict[str, Any]:
        """The replay contract's object (docs/architecture.md), ready for JSON."""
        return replay_line(self.verdict, self.bottleneck, self.top_factor, self.signals)


def replay_line(
    verdict: Verdict, bottleneck: BottleneckClassification, top_factor: str | None, signals: Signals
) -> dict[str, Any]:
    """The replay contract's object (docs/architecture.md), ready for JSON."""
    return {
        "time": signals.time.format_iso(),
        "health_state": verdict.health_state.value,
        "stale": verdict.stale,
        "coverage": round(verdict.coverage.primary, 4),
        "bottleneck": bottleneck.value,
        "fired_gates": list(verdict.fired()),
        "top_factor": top_factor,
        "readings": dict(signals.readings),
    }


class HealthAssessment(Evaluation):
    """An evaluation that is stored with its issues: made on a change, on schedule, on a log spike or by hand.
    `explanation`: a model's explanation of it (explain/model/answer.py), None without one."""

    trigger: Trigger
    explanation: dict[str, Any] | None = None


class Snapshot(Frozen):
    """One evaluation with all it was decided from: the machine's memory before the tick (opaque JSON here), the hash
    under which the thresholds are kept, and the versions of taxonomy and rules."""

    evaluation: Evaluation
    memory_before: dict[str, Any]
    thresholds_hash: str
    taxonomy_version: str
    rules_version: str
