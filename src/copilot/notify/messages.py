"""The text of a notification: the rules' explanation of one state, without secrets, bounded, the state first."""

from urllib.parse import quote

from pydantic import BaseModel, Field
from whenever import Instant

from copilot.explain.mutes import held_words, moment
from copilot.notify.decide import RESOLVED, SUMMARY, ClusterState, Kind, Notification, incident_id
from copilot.redaction.redactor import Redactor
from copilot.rules.model import EvidenceValue, ReportedState
from copilot.rules.mutes import MuteLife
from copilot.rules.signals.readings import Frozen

SEVERITY = {"happy": "info", "stressed": "warning", "unknown": "error", "critical": "critical"}
"""What alerts call a state: PagerDuty's words."""
MAX_SHORT, MAX_LONG = 200, 600
MAX_GATES = 10
MAX_HELD = 10
BODY_VERSION = 1


# Parts of an Evaluation document. Fields that a message does not need, or that another release wrote, are ignored.


class _Action(BaseModel):
    description: str = ""
    risk_level: str = ""
    runbook: str = ""


class _Finding(BaseModel):
    finding: str
    subject: str = ""
    title: str = ""
    severity: str = ""
    contributing_factors: tuple[str, ...] = ()
    evidence: dict[str, EvidenceValue] = {}
    phase: str = "now"
    suggested_actions: tuple[_Action, ...] = ()


class _Gate(BaseModel):
    name: str
    fired: bool | None = None
    labels: dict[str, str] = {}


class _Verdict(BaseModel):
    health_state: ReportedState
    since: Instant
    last_known_state: str | None = None
    gates: tuple[_Gate, ...] = ()


class EvaluationExcerpt(BaseModel):
    """What a message needs of an Evaluation document."""

    evaluation_id: str
    time: Instant
    verdict: _Verdict
    summary: str = ""
    findings: tuple[_Finding, ...] = ()


class MessageFinding(Frozen):
    """The first finding: the cause."""

    name: str
    subject: str
    title: str
    severity: str


class MessageAction(Frozen):
    """The first suggested action."""

    description: str
    risk_level: str


class Message(Frozen):
    """A notification as the webhook sends it in JSON (docs/notifications.md). `previous_state`: the state that the
    channel was last notified of in this incident; `since`: when `health_state` began; `time`: of the evaluation.
    The URLs are None without `[api] public_url`, or where there is no runbook. `held_back`: in a summary, the
    notifications that a maintenance window held back, one line each, the last ones where they are many. `thread`:
    where the receiver keeps the incident's messages together; it is not part of the JSON."""

    version: int = BODY_VERSION
    event_id: str
    incident_id: str
    kind: Kind
    cluster: str
    health_state: ReportedState
    previous_state: ReportedState | None = None
    since: Instant
    time: Instant
    evaluation_id: str
    headline: str
    summary: str
    finding: MessageFinding | None = None
    action: MessageAction | None = None
    firing_gates: tuple[str, ...] = ()
    page_url: str | None = None
    runbook_url: str | None = None
    held_back: tuple[str, ...] = ()
    thread: str = Field(default="", exclude=True)

    def details(self) -> dict[str, str]:
        """What text channels show below the headline, by its label; without what there is none of."""
        cause = self.finding.title if self.finding else None
        action = self.action.description if self.action else None
        held = "; ".join(self.held_back)
        texts = {"Summary": self.summary, "Held back": held, "Cause": cause, "Do first": action}
        return {label: text for label, text in texts.items() if text}

    def lines(self) -> list[str]:
        """The same as sentences."""
        return [text if label == "Summary" else f"{label}: {text}" for label, text in self.details().items()]

    def links(self) -> dict[str, str]:
        """The addresses to read on at, by their label."""
        mute = f"{self.page_url}#muted" if self.page_url and self.kind not in (RESOLVED, SUMMARY, "test") else None
        urls = {"Open the page": self.page_url, "Acknowledge or silence": mute, "View runbook": self.runbook_url}
        return {label: url for label, url in urls.items() if url}


def compose(
    cluster: str,
    notification: Notification,
    state: ClusterState,
    previous: ReportedState | None,
    evaluation: EvaluationExcerpt | None,
    public_url: str | None,
) -> Message:
    """The message of a notification. A resolved one has no finding and no action."""
    redactor = Redactor()

    def plain(text: str, max_chars: int) -> str:
        return bounded(redactor.redact(text[: 4 * max_chars]), max_chars)

    kind = notification.kind
    first = evaluation.findings[0] if evaluation and evaluation.findings and kind != RESOLVED else None
    action = first.suggested_actions[0] if first and first.suggested_actions else None
    runbook = action.runbook if action else ""
    return Message(
        event_id=notification.event_id(cluster),
        incident_id=incident_id(cluster, notification.incident),
        kind=kind,
        cluster=cluster,
        health_state=notification.state,
        previous_state=previous,
        since=state.since,
        time=state.time,
        evaluation_id=evaluation.evaluation_id if evaluation else f"{cluster}:{state.time.timestamp()}",
        headline=headline(cluster, kind, notification.state, previous, state.since),
        summary=plain(evaluation.summary, MAX_LONG) if evaluation else "",
        finding=first
        and MessageFinding(
            name=first.finding,
            subject=plain(first.subject, MAX_SHORT),
            title=plain(first.title, MAX_SHORT),
            severity=first.severity,
        ),
        action=action and MessageAction(description=plain(action.description, MAX_LONG), risk_level=action.risk_level),
        firing_gates=tuple(g.name for g in evaluation.verdict.gates if g.fired)[:MAX_GATES] if evaluation else (),
        page_url=_url(public_url, f"?cluster={quote(cluster, safe='')}"),
        runbook_url=_url(public_url, f"runbooks/{quote(runbook, safe='')}/page") if runbook else None,
    )


def compose_summary(
    cluster: str,
    notification: Notification,
    state: ClusterState,
    life: MuteLife,
    channel: str,
    public_url: str | None,
) -> Message:
    """The message of a maintenance window that has ended: what it held back on a channel."""
    mute, held = life.mute, life.held_in((notification.incident, life.over_at), channel)
    many = f"{len(held)} notification{'s' if len(held) != 1 else ''}"
    about = f"Maintenance by {mute.owner} since {moment(notification.incident)} ({mute.reason}) held back {many}."
    return Message(
        event_id=notification.event_id(cluster),
        incident_id=incident_id(cluster, notification.incident),
        kind=SUMMARY,
        cluster=cluster,
        health_state=state.state,
        since=state.since,
        time=state.time,
        evaluation_id=f"{cluster}:{state.time.timestamp()}",
        headline=headline(cluster, SUMMARY, state.state, None, state.since),
        summary=bounded(Redactor().redact(about), MAX_LONG),
        held_back=tuple(held_words(held)[-MAX_HELD:]),
        page_url=_url(public_url, f"?cluster={quote(cluster, safe='')}"),
    )


def headline(cluster: str, kind: Kind, state: ReportedState, previous: ReportedState | None, since: Instant) -> str:
    """One line: firing or resolved, the cluster, its state, and since when."""
    if kind == "test":
        return f"[TEST] {cluster}: notifications from Temporal SRE Copilot work"
    if kind == SUMMARY:
        return f"[MAINTENANCE ENDED] {cluster} is {state.value.upper()}"
    line = f"[{'RESOLVED' if kind == RESOLVED else 'FIRING'}] {cluster} is "
    line += f"still {state.value.upper()}" if kind == "repeat" else state.value.upper()
    if kind in ("improved", RESOLVED) and previous and state is not ReportedState.HAPPY:
        line += f", no longer {previous.value.upper()},"
    if state is ReportedState.UNKNOWN:
        line += " (not enough data)"
    return f"{line} since {since.format_iso()[:16].replace('T', ' ')} UTC"


def _url(public_url: str | None, path: str) -> str | None:
    return None if public_url is None else f"{public_url.rstrip('/')}/{path}"


def bounded(text: str, max_chars: int) -> str:
    """The text as one line of at most `max_chars` characters."""
    line = " ".join(text.split())
    return line if len(line) <= max_chars else f"{line[: max_chars - 1].rstrip()}…"
