"""The bodies of the answers, where they are not a model of the rules themselves. A new field is one line in its model,
and one in `fields` if it comes from the verdict."""

from dataclasses import asdict
from typing import Any, Literal, TypeVar

from pydantic import BaseModel
from whenever import Instant

from copilot.explain.changes import before_words
from copilot.explain.explanation import freshness
from copilot.explain.gates import forecast_words
from copilot.explain.mutes import muted_words
from copilot.explain.processes import ProcessRow, process_rows, processes_sentence
from copilot.rules.changes import ChangeBefore
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
from copilot.rules.signals.change import Change
from copilot.rules.signals.readings import LogPattern, Signals, nested
from copilot.rules.signals.spec import Kind
from copilot.rules.signals.taxonomy import ids
from copilot.store.base import SeriesPoint, TimelinePoint
from copilot.web.cards import remedies
from copilot.web.verdicts import VerdictView, joined

Group = dict[str, dict[str, float | None]]
NO_EVALUATION = "No evaluation has been received yet."


class ChangeLine(Change):
    """A stored change. `id` is the same however often it is reported."""

    id: str


class VerdictHead(BaseModel):
    """The first fields of every answer. `degraded`: the answer is the best available; `degraded_because` says what is
    unavailable."""

    cluster: str
    evaluation_id: str | None
    health_state: ReportedState
    timestamp: Instant | None
    stale: bool
    degraded: bool
    degraded_because: str | None


class Muted(BaseModel):
    """The mute that holds back the notifications of a verdict: `id` as in /silences."""

    id: str
    kind: Literal["ack", "silence", "maintenance"]
    until: Instant
    owner: str
    reason: str
    sentence: str


class ClusterLine(VerdictHead):
    """One cluster of the overview. `muted`: null where notifications are sent."""

    since: Instant | None
    age_sec: float | None
    bottleneck: BottleneckClassification
    top_factor: str | None
    summary: str
    muted: Muted | None = None


class StatusChange(ChangeLine):
    """A change before the present problem. `sentence`: when, what and by whom; `before_sec`: seconds before the first
    evidence; `shares`: the fields of the change that name what the problem names too."""

    sentence: str
    before_sec: float
    shares: tuple[str, ...]


class StatusForecast(BaseModel):
    """What becomes of a task queue's backlog at the present rate. `drains_in_sec`: between how many seconds; null: it
    does not drain. `more_dispatch`: by which share more tasks must be dispatched for it not to grow; null: it drains.
    """

    namespace: str
    task_queue: str
    task_type: str
    backlog: float
    drains_in_sec: tuple[float, float] | None
    more_dispatch: float | None
    sentence: str


class Status(ClusterLine):
    """The verdict with its evidence. Before the first evaluation the state is unknown and most fields are null.
    `explanation_note`: why no model explains, or when it did; empty where that needs no saying.
    `changes`: those of the 30 minutes before the first evidence of the present problem, the nearest to it first.
    `metrics_at`: when the minute began that the metrics are of, and `freshness` what that means, where they come late
    (Temporal Cloud). `recovery`: of backlogs whose trend is clear."""

    last_known_state: HealthState | None
    coverage: Coverage | None
    confidence: float | None
    trigger: Trigger | None
    primary_signals: Group
    amplifiers: Group
    worker_signals: Group
    gates: tuple[GateResult, ...]
    log_patterns: tuple[LogPattern, ...]
    recommended_actions: tuple[SuggestedAction, ...]
    explained_by: Literal["rules", "model"]
    explanation_note: str
    issue_count: int
    changes: list[StatusChange]
    metrics_at: Instant | None = None
    freshness: str = ""
    recovery: list[StatusForecast] = []


class Summary(VerdictHead):
    """The verdict with its explanation."""

    summary: str
    narrative: Narrative | None
    explained_by: Literal["rules", "model"]
    explanation_note: str


class Services(VerdictHead):
    """The state of each component."""

    services: tuple[ServiceHealth, ...]


class Targets(VerdictHead):
    """Every process that is read, or was within the hour, those that are not read first. `summary`: how many are read,
    and which is not."""

    summary: str
    targets: list[ProcessRow]


class LogPatterns(VerdictHead):
    """The log patterns of the newest evaluation."""

    patterns: tuple[LogPattern, ...]


class OpenIssues(BaseModel):
    """Numbers of open issues."""

    critical: int
    warning: int


class Issues(VerdictHead):
    """The issues. `open` counts all open ones, listed or not; `truncated`: more match than are listed."""

    open: OpenIssues
    truncated: bool
    issues: list[StoredIssue]


class TimelineEntry(BaseModel):
    """The verdict at one time; `primary_signals` only with `signals=true`."""

    timestamp: Instant
    health_state: ReportedState
    stale: bool
    bottleneck: BottleneckClassification
    top_factor: str | None
    primary_signals: Group | None = None


class Timeline(VerdictHead):
    """The verdicts over a range, oldest first."""

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


class Clusters(BaseModel):
    """All clusters, the worst first."""

    clusters: list[ClusterLine]


class RunbookLine(BaseModel):
    """A runbook's name and title."""

    name: str
    title: str


class RunbookText(RunbookLine):
    """A runbook. `markdown` is the whole text, including the title."""

    markdown: str


class Runbooks(BaseModel):
    """All runbooks, by name."""

    runbooks: list[RunbookLine]


class ServiceStatus(BaseModel):
    """The answer of a probe."""

    status: Literal["ok", "ready"]


B = TypeVar("B", bound=VerdictHead)


def verdict_body(kind: type[B], view: VerdictView, because: str | None = None, **more: object) -> B:
    """A body that shows the verdict, with `more` fields. `because`: another reason for being degraded."""
    return kind.model_validate({**fields(view, because), **more})


def fields(view: VerdictView, because: str | None = None) -> dict[str, Any]:
    """Every field that comes from the verdict; the models pick theirs."""
    e, reasons = view.evaluation, joined(view.degraded_because, because)
    verdict = e.verdict if e else None
    return {
        "cluster": view.cluster,
        "evaluation_id": e.evaluation_id if e else None,
        "health_state": view.state,
        "timestamp": e.time if e else None,
        "stale": view.stale,
        "degraded": reasons is not None,
        "degraded_because": reasons,
        "since": verdict.since if verdict else None,
        "age_sec": rounded_age(view),
        "bottleneck": e.bottleneck if e else BottleneckClassification.UNKNOWN,
        "top_factor": e.top_factor if e else None,
        "summary": e.summary if e else NO_EVALUATION,
        "narrative": e.narrative if e else None,
        "explained_by": e.explained_by if e else "rules",
        "explanation_note": e.explanation_note if e else "",
        "last_known_state": verdict.last_known_state if verdict else None,
        "coverage": verdict.coverage if verdict else None,
        "confidence": verdict.confidence if verdict else None,
        "trigger": view.trigger,
        "gates": verdict.gates if verdict else (),
        "log_patterns": e.signals.logs if e else (),
        "patterns": e.signals.logs if e else (),
        "recommended_actions": [r.action for r in remedies(e.findings)] if e else (),
        "services": e.services if e else (),
        "issue_count": len(e.findings) if e else 0,
        "changes": [_status_change(before) for before in view.changes],
        "metrics_at": e.signals.metrics_at if e else None,
        "freshness": freshness(e.signals) if e else "",
        "muted": _muted(view),
        "recovery": [{**asdict(f), "sentence": forecast_words(f)} for f in (e.work.recovery if e else ())],
    }


def _muted(view: VerdictView) -> Muted | None:
    judged = view.muted
    if judged is None or judged.by is None or judged.until is None:
        return None
    mute = judged.by.mute
    shown = {"id": mute.id, "kind": mute.kind, "owner": mute.owner, "reason": mute.reason}
    return Muted(**shown, until=judged.until, sentence=muted_words(judged.by, judged.until))


def change_line(change: Change) -> ChangeLine:
    """A change as it is listed."""
    return ChangeLine(**dict(change), id=change.digest)


def _status_change(before: ChangeBefore) -> StatusChange:
    change, sentence = before.change, before_words(before)
    return StatusChange(**dict(change), id=change.digest, sentence=sentence, before_sec=before.before_sec,
                        shares=before.shares)  # fmt: skip


def targets(view: VerdictView) -> Targets:
    """The processes of the newest evaluation."""
    processes = view.evaluation.processes if view.evaluation else ()
    summary = processes_sentence(processes, view.now) if view.evaluation else NO_EVALUATION
    return verdict_body(Targets, view, summary=summary, targets=process_rows(processes, view.now))


def groups(signals: Signals | None) -> dict[str, Group]:
    """All signals by kind and group; null where there is no value."""
    kinds: dict[str, Kind] = {"primary_signals": "primary", "amplifiers": "amplifier", "worker_signals": "worker"}
    return {name: nested({i: signals.value(i) if signals else None for i in ids(kind)}) for name, kind in kinds.items()}


def rounded_age(view: VerdictView) -> float | None:
    """Seconds since the evaluation was made, to a tenth; None before the first."""
    return None if view.age_sec is None else round(view.age_sec, 1)


def timeline_entry(point: TimelinePoint) -> dict[str, Any]:
    """A TimelineEntry as a dict: an answer has too many to make models of them."""
    entry: dict[str, Any] = {
        "timestamp": point.time.format_iso(),
        "health_state": point.health_state.value,
        "stale": point.stale,
        "bottleneck": point.bottleneck.value,
        "top_factor": point.top_factor,
    }
    if point.signals is not None:
        entry["primary_signals"] = nested({i: point.signals.get(i) for i in ids("primary")})
    return entry
