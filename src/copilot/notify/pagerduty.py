"""PagerDuty, by its Events API v2. All events of an incident bear one dedup_key, so that they make one alert."""

import json
from dataclasses import dataclass
from typing import Any

from copilot.notify.decide import Outcome
from copilot.notify.messages import Notice, bounded
from copilot.notify.posting import WITHIN_SEC, post, secret
from copilot.rules.model import ReportedState
from copilot.settings.notify import NotifySettings

ENQUEUE = "https://events.pagerduty.com/v2/enqueue"
# Limits of the Events API v2: dedup_key and payload.summary.
DEDUP_KEY, SUMMARY = 255, 1024
SEVERITY = {
    ReportedState.HAPPY: "info",
    ReportedState.STRESSED: "warning",
    ReportedState.UNKNOWN: "error",
    ReportedState.CRITICAL: "critical",
}


@dataclass(frozen=True)
class PagerDuty:
    """Sends events to the integration of the settings' key."""

    settings: NotifySettings
    within_sec: float = WITHIN_SEC

    async def send(self, notice: Notice) -> Outcome:
        """One event. A test triggers an alert of its own, and resolves it."""
        key = secret(self.settings.key, self.settings.key_file)
        url = secret(self.settings.url, self.settings.url_file) or ENQUEUE
        events = [event(notice, key)]
        if notice.kind == "test":
            events.append(resolving(notice, key))
        outcome = Outcome(delivered=True)
        for each in events:
            outcome = await post(url, json.dumps(each).encode(), {}, secrets=(key,), within_sec=self.within_sec)
            if not outcome.delivered:
                break
        return outcome


def event(notice: Notice, key: str) -> dict[str, Any]:
    """The event of a message: `resolve` when the incident is over, else `trigger`."""
    if notice.resolves:
        return resolving(notice, key)
    said = f"{notice.headline}. {notice.finding.title if notice.finding else notice.summary}".rstrip(" .")
    details: dict[str, Any] = {
        "summary": notice.summary,
        "cause": notice.finding.title if notice.finding else "",
        "do first": notice.action.description if notice.action else "",
        "fired gates": ", ".join(notice.fired_gates),
        "evaluation": notice.evaluation_id,
        "event": notice.event_id,
    }
    links = [
        {"href": href, "text": text}
        for href, text in ((notice.links.page, "The Copilot's page"), (notice.links.guide, "Guide"))
        if href is not None
    ]
    return {
        **_of_incident(notice, key, "trigger"),
        "client": "Temporal SRE Copilot",
        **({"client_url": notice.links.page} if notice.links.page else {}),
        "links": links,
        "payload": {
            "summary": bounded(said, SUMMARY),
            "source": notice.cluster,
            "severity": "info" if notice.kind == "test" else SEVERITY[notice.health_state],
            "timestamp": notice.since.format_iso(),
            "component": "temporal",
            "class": notice.finding.name if notice.finding else notice.health_state.value,
            "custom_details": {name: text for name, text in details.items() if text},
        },
    }


def resolving(notice: Notice, key: str) -> dict[str, Any]:
    """The event that ends the alert of a message's incident."""
    return _of_incident(notice, key, "resolve")


def _of_incident(notice: Notice, key: str, action: str) -> dict[str, Any]:
    return {"routing_key": key, "event_action": action, "dedup_key": f"copilot:{notice.incident_id}"[:DEDUP_KEY]}
