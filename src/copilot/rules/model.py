"""What is said about a cluster: the verdict, its gates, the findings, and the words."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, FiniteFloat
from whenever import Instant

from copilot.rules.signals.readings import Frozen, Signals

Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class HealthState(StrEnum):
    """What the rules decide."""

    HAPPY = "happy"
    STRESSED = "stressed"
    CRITICAL = "critical"


class ReportedState(StrEnum):
    """What is reported: a health state, or unknown when there is too little fresh evidence to stand by one."""

    HAPPY = "happy"
    STRESSED = "stressed"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How bad a gate or an issue is: a warning stresses, a critical one can make the cluster critical."""

    WARNING = "warning"
    CRITICAL = "critical"


class ActionType(StrEnum):
    """What kind of act is suggested."""

    SCALE = "scale"
    RESTART = "restart"
    CONFIGURE = "configure"
    ALERT = "alert"


class BottleneckClassification(StrEnum):
    """Whose capacity ends first."""

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
    """One gate at one tick; nobody changes it. `fired` None: it could not be judged, `unjudged` says why. `margin` is
    how far the value is inside its threshold, as a share of the threshold (negative when over). `evidence` are the
    readings it used.

    No pydantic model because a tick makes some twenty; checked where it comes in from outside like all the rest."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    severity: Severity
    fired: bool | None
    unjudged: Unjudged | None = None
    value: FiniteFloat | None = None
    threshold: FiniteFloat | None = None
    margin: FiniteFloat | None = None
    unit: str = ""
    sentence: str = ""
    evidence: dict[str, FiniteFloat] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


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
    """The state and the evidence for it. `usable_at`: the newest tick with enough of it; None: there was none yet."""

    health_state: ReportedState
    last_known_state: HealthState | None
    since: Instant
    stale: bool
    coverage: Coverage
    confidence: Share
    gates: tuple[GateResult, ...]
    transition: Transition | None = None
    usable_at: Instant | None = None

    def fired(self) -> tuple[str, ...]:
        """Names of the gates that fired, in the order of the rules."""
        return tuple(g.name for g in self.gates if g.fired)


class SuggestedAction(Frozen):
    """Something a person could do about it."""

    action_type: ActionType
    target_service: str
    description: str
    confidence: Share
    risk_level: Literal["low", "medium", "high"]
    parameters: dict[str, str | int | float] = Field(default_factory=dict)
    runbook: str = ""
    source: Literal["rules", "model"] = "rules"


class Issue(Frozen):
    """A finding: one contributing factor, ranked. `finding` is its stable name (no_pollers, slots_exhausted, …);
    `subject` tells two issues of one finding apart (a task queue, say; empty for the cluster). The same problem is the
    same (cluster, finding, subject) for as long as it lasts: the store gives it an id and the three instants."""

    finding: str
    subject: str = ""
    severity: Severity
    title: str
    description: str
    likely_cause: str
    contributing_factors: tuple[str, ...] = ()
    related_signals: tuple[str, ...] = ()
    suggested_actions: tuple[SuggestedAction, ...] = ()


class StoredIssue(Issue):
    """An issue with its life."""

    id: str
    first_seen: Instant
    last_seen: Instant
    resolved_at: Instant | None = None


class Narrative(Frozen):
    """The explanation in six parts (requirements §4.1)."""

    setting: str
    trigger: str
    reactions: tuple[str, ...]
    why: str
    meaning: str
    watch_next: str


@dataclass(slots=True)
class ServiceHealth:
    """How one actor does: frontend, history, matching, persistence or workers. Nobody changes it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    forward_progress: Literal["ok", "degraded", "blocked", "unknown"]
    pressure: Literal["low", "moderate", "high", "unknown"]
    dominant_signal: str | None = None
    artifact_signals: tuple[str, ...] = ()


class Evaluation(Frozen):
    """Everything said at one tick. The newest `time` wins everywhere. `explanation_note`: a sentence on whose words
    these are and why, where that needs saying."""

    evaluation_id: str
    cluster: str
    time: Instant
    interval_sec: FiniteFloat
    window_sec: FiniteFloat
    verdict: Verdict
    bottleneck: BottleneckClassification
    findings: tuple[Issue, ...]
    services: tuple[ServiceHealth, ...]
    summary: str
    narrative: Narrative
    explained_by: Literal["rules", "model"] = "rules"
    explanation_note: str = ""
    signals: Signals

    @property
    def top_factor(self) -> str | None:
        """The first finding's name; None when there is nothing to say."""
        return self.findings[0].finding if self.findings else None

    def replay_line(self) -> dict[str, Any]:
        """The replay contract's object (design.md §4), ready for JSON."""
        return replay_line(self.verdict, self.bottleneck, self.top_factor, self.signals)


def replay_line(
    verdict: Verdict, bottleneck: BottleneckClassification, top_factor: str | None, signals: Signals
) -> dict[str, Any]:
    """The replay contract's object (design.md §4), ready for JSON."""
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
    """An evaluation worth keeping with its issues: made on a change, on schedule, on a log spike or by hand."""

    trigger: Trigger


class Snapshot(Frozen):
    """One evaluation with all it was decided from: the machine's memory before the tick (opaque JSON here), the hash
    under which the thresholds are kept, and the versions of taxonomy and rules."""

    evaluation: Evaluation
    memory_before: dict[str, Any]
    thresholds_hash: str
    taxonomy_version: str
    rules_version: str
