"""What a message says: the rules' words about one state, without secrets, bounded, the state before all else."""

from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError
from whenever import Instant

from copilot.notify.decide import RESOLVED, Kind, Say, Seen, incident_id
from copilot.redaction.redactor import Redactor
from copilot.rules.model import ReportedState
from copilot.rules.signals.readings import Frozen

SHORT, LONG = 200, 600
MOST_GATES = 10
BODY_VERSION = 1


class _Document(BaseModel):
    """A part of an Evaluation document; what another release wrote otherwise is left out."""

    model_config = ConfigDict(extra="ignore")


class _Action(_Document):
    description: str = ""
    risk_level: str = ""
    runbook: str = ""


class _Finding(_Document):
    finding: str
    subject: str = ""
    title: str = ""
    severity: str = ""
    suggested_actions: tuple[_Action, ...] = ()


class _Gate(_Document):
    name: str
    fired: bool | None = None


class _Verdict(_Document):
    health_state: ReportedState
    since: Instant
    last_known_state: str | None = None
    gates: tuple[_Gate, ...] = ()


class SaidEvaluation(_Document):
    """What of an Evaluation document a message needs."""

    evaluation_id: str
    time: Instant
    verdict: _Verdict
    summary: str = ""
    findings: tuple[_Finding, ...] = ()


class NoticeFinding(Frozen):
    """The first contributing factor."""

    name: str
    subject: str
    title: str
    severity: str


class NoticeAction(Frozen):
    """What is advised first."""

    description: str
    risk_level: str


class NoticeLinks(Frozen):
    """Where to read on; None where nobody said where the page is, or there is no guide."""

    page: str | None = None
    guide: str | None = None


class Notice(Frozen):
    """A message to people, as the webhook sends it in JSON (docs/notifications.md). `previous_state`: what the channel
    was told before in this incident; `since`: when `health_state` began; `time`: of the evaluation."""

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
    finding: NoticeFinding | None = None
    action: NoticeAction | None = None
    fired_gates: tuple[str, ...] = ()
    links: NoticeLinks = NoticeLinks()

    @property
    def resolves(self) -> bool:
        """Whether the incident is over for the channel."""
        return self.kind == RESOLVED


def read_evaluation(document: dict[str, Any]) -> SaidEvaluation | None:
    """What is said in an Evaluation document, whole or in part; None if it cannot be read."""
    try:
        return SaidEvaluation.model_validate(document)
    except ValidationError:
        return None


def notice(
    cluster: str,
    say: Say,
    seen: Seen,
    previous: ReportedState | None,
    said: SaidEvaluation | None,
    public_url: str | None,
    *,
    addresses: bool = False,
) -> Notice:
    """The message. Findings and advice belong to a state that is bad: a resolve has none. `addresses`: IP addresses are
    hidden too."""
    redactor = Redactor(addresses=addresses)

    def plain(text: str, most: int) -> str:
        return bounded(redactor.redact(text[: 4 * most]), most)

    first = said.findings[0] if said and said.findings and say.kind != RESOLVED else None
    advice = first.suggested_actions[0] if first and first.suggested_actions else None
    return Notice(
        event_id=say.event_id(cluster),
        incident_id=incident_id(cluster, say.incident),
        kind=say.kind,
        cluster=cluster,
        health_state=say.state,
        previous_state=previous,
        since=seen.since,
        time=seen.time,
        evaluation_id=said.evaluation_id if said else f"{cluster}:{seen.time.timestamp()}",
        headline=headline(cluster, say.kind, say.state, previous, seen.since),
        summary=plain(said.summary, LONG) if said else "",
        finding=first
        and NoticeFinding(
            name=first.finding,
            subject=plain(first.subject, SHORT),
            title=plain(first.title, SHORT),
            severity=first.severity,
        ),
        action=advice and NoticeAction(description=plain(advice.description, LONG), risk_level=advice.risk_level),
        fired_gates=tuple(g.name for g in said.verdict.gates if g.fired)[:MOST_GATES] if said else (),
        links=links(public_url, cluster, advice.runbook if advice else ""),
    )


def headline(cluster: str, kind: Kind, state: ReportedState, previous: ReportedState | None, since: Instant) -> str:
    """The state in a line, whatever else is said."""
    now, before = state.value.upper(), previous.value.upper() if previous else ""
    when = f"since {said_time(since)}"
    if kind == "test":
        return f"{cluster}: this is a test of the Copilot's notifications"
    if kind == "reminder":
        return f"{cluster} is still {now}, {when}"
    if kind in ("eased", RESOLVED) and before and state is not ReportedState.HAPPY:
        return f"{cluster} is {now}, no longer {before}, {when}"
    blind = ": nobody can tell how it is" if state is ReportedState.UNKNOWN else ""
    again = " again" if state is ReportedState.HAPPY else ""
    return f"{cluster} is {now}{again}{blind}, {when}"


def said_time(time: Instant) -> str:
    """A moment for people: the minute, in UTC."""
    return f"{time.format_iso()[:16].replace('T', ' ')} UTC"


def links(public_url: str | None, cluster: str, runbook: str) -> NoticeLinks:
    """Where the page and the guide are."""
    if public_url is None:
        return NoticeLinks()
    base = public_url.rstrip("/")
    guide = f"{base}/runbooks/{quote(runbook, safe='')}/page" if runbook else None
    return NoticeLinks(page=f"{base}/?cluster={quote(cluster, safe='')}", guide=guide)


def bounded(text: str, most: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
