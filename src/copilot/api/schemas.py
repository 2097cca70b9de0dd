"""The bodies of the answers, where they are not a core model themselves (requirements §6)."""

from typing import Any, Literal

from pydantic import BaseModel
from whenever import Instant

from copilot.api.live import Said
from copilot.rules.model import (
    BottleneckClassification,
    Coverage,
    GateResult,
    HealthState,
    Narrative,
    ReportedState,
    ServiceHealth,
    StoredIssue,
    SuggestedAction,
    Trigger,
)
from copilot.rules.signals.readings import LogPattern, Signals, nested
from copilot.rules.signals.taxonomy import Kind, ids
from copilot.store.base import SeriesPoint, TimelinePoint

Group = dict[str, dict[str, float | None]]
NOTHING_YET = "No evaluation has been heard of yet."


class Verdicted(BaseModel):
    """What every answer says first. `degraded`: it is the best there is, and `degraded_because` says what is away."""

    cluster: str
    evaluation_id: str | None
    health_state: ReportedState
    timestamp: Instant | None
    stale: bool
    degraded: bool
    degraded_because: str | None


class Status(Verdicted):
    """The verdict with its evidence. Before the first evaluation the state is unknown and most fields are null."""

    last_known_state: HealthState | None
    since: Instant | None
    age_sec: float | None
    coverage: Coverage | None
    confidence: float | None
    bottleneck: BottleneckClassification
    top_factor: str | None
    trigger: Trigger | None
    primary_signals: Group
    amplifiers: Group
    worker_signals: Group
    gates: tuple[GateResult, ...]
    log_patterns: tuple[LogPattern, ...]
    recommended_actions: tuple[SuggestedAction, ...]
    summary: str
    explained_by: Literal["rules", "model"]
    issue_count: int


class Services(Verdicted):
    """How each actor does."""

    services: tuple[ServiceHealth, ...]


class OpenIssues(BaseModel):
    """How many problems are open."""

    critical: int
    warning: int


class Issues(Verdicted):
    """The problems there are. `open` counts all that are open, listed or not; `truncated`: more fit what was asked than
    are listed."""

    open: OpenIssues
    truncated: bool
    issues: list[StoredIssue]


class Summary(Verdicted):
    """The verdict in words."""

    summary: str
    narrative: Narrative | None
    explained_by: Literal["rules", "model"]


class TimelineEntry(BaseModel):
    """What was said at one moment; `primary_signals` is there only when asked for."""

    timestamp: Instant
    health_state: ReportedState
    stale: bool
    bottleneck: BottleneckClassification
    top_factor: str | None
    primary_signals: Group | None = None


class Timeline(Verdicted):
    """What was said over a range, oldest first."""

    start: Instant
    end: Instant
    timeline: list[TimelineEntry]


class SignalSeries(BaseModel):
    """One signal over a range, oldest first; null where there was no value."""

    cluster: str
    id: str
    kind: Kind
    unit: str
    meaning: str
    start: Instant
    end: Instant
    points: list[SeriesPoint]
    degraded: bool
    degraded_because: str | None


class LogPatterns(Verdicted):
    """Log patterns seen at the newest tick."""

    patterns: tuple[LogPattern, ...]


class EvaluationLine(BaseModel):
    """The newest evaluation as `copilot replay` prints it, with its id."""

    evaluation_id: str
    time: Instant
    health_state: ReportedState
    stale: bool
    coverage: float
    bottleneck: BottleneckClassification
    fired_gates: list[str]
    top_factor: str | None
    readings: dict[str, float | None]


class Guide(BaseModel):
    """A runbook. `markdown` is the whole text, its title included."""

    name: str
    title: str
    markdown: str


class GuideLine(BaseModel):
    """A runbook's name and title."""

    name: str
    title: str


class Guides(BaseModel):
    """The runbooks there are, by name."""

    guides: list[GuideLine]


class Well(BaseModel):
    """That all is well."""

    status: Literal["ok", "ready"]


class ClusterLine(Verdicted):
    """One cluster of the overview."""

    since: Instant | None
    age_sec: float | None
    bottleneck: BottleneckClassification
    top_factor: str | None
    summary: str


class Clusters(BaseModel):
    """All clusters, the worst first."""

    clusters: list[ClusterLine]


def verdicted(said: Said, *, because: str | None = None) -> dict[str, Any]:
    """The fields of Verdicted. `because`: another reason for being degraded."""
    reasons = "; ".join(dict.fromkeys(r for r in (said.degraded_because, because) if r)) or None
    e = said.evaluation
    return {
        "cluster": said.cluster,
        "evaluation_id": e.evaluation_id if e else None,
        "health_state": e.verdict.health_state if e else ReportedState.UNKNOWN,
        "timestamp": e.time if e else None,
        "stale": e.verdict.stale if e else True,
        "degraded": reasons is not None,
        "degraded_because": reasons,
    }


def status(said: Said) -> Status:
    """The verdict with its evidence."""
    e = said.evaluation
    return Status(
        **verdicted(said),
        last_known_state=e.verdict.last_known_state if e else None,
        since=e.verdict.since if e else None,
        age_sec=age(said),
        coverage=e.verdict.coverage if e else None,
        confidence=e.verdict.confidence if e else None,
        bottleneck=e.bottleneck if e else BottleneckClassification.UNKNOWN,
        top_factor=e.top_factor if e else None,
        trigger=said.trigger,
        primary_signals=group(e.signals if e else None, "primary"),
        amplifiers=group(e.signals if e else None, "amplifier"),
        worker_signals=group(e.signals if e else None, "worker"),
        gates=e.verdict.gates if e else (),
        log_patterns=e.signals.logs if e else (),
        recommended_actions=_actions(said),
        summary=e.summary if e else NOTHING_YET,
        explained_by=e.explained_by if e else "rules",
        issue_count=len(e.findings) if e else 0,
    )


def cluster_line(said: Said) -> ClusterLine:
    """The verdict in one line."""
    e = said.evaluation
    return ClusterLine(
        **verdicted(said),
        since=e.verdict.since if e else None,
        age_sec=age(said),
        bottleneck=e.bottleneck if e else BottleneckClassification.UNKNOWN,
        top_factor=e.top_factor if e else None,
        summary=e.summary if e else NOTHING_YET,
    )


def entry(point: TimelinePoint) -> dict[str, Any]:
    """A TimelineEntry, ready for JSON: there are too many of them in an answer to make models of."""
    said: dict[str, Any] = {
        "timestamp": point.time.format_iso(),
        "health_state": point.health_state.value,
        "stale": point.stale,
        "bottleneck": point.bottleneck.value,
        "top_factor": point.top_factor,
    }
    readings = point.signals
    if readings is not None:
        said["primary_signals"] = nested({i: readings.get(i) for i in ids("primary")})
    return said


def group(signals: Signals | None, kind: Kind) -> Group:
    """All signals of a kind, nested by group; null where there is no value."""
    return nested({i: signals.value(i) if signals else None for i in ids(kind)})


def age(said: Said) -> float | None:
    """Seconds since the evaluation was made, as they are told."""
    return None if said.age_sec is None else round(said.age_sec, 1)


def _actions(said: Said) -> tuple[SuggestedAction, ...]:
    if said.evaluation is None:
        return ()
    ranked = [a for finding in said.evaluation.findings for a in finding.suggested_actions]
    return tuple(a for i, a in enumerate(ranked) if a not in ranked[:i])
