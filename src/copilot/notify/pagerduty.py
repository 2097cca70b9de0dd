"""PagerDuty, by its Events API v2. All events of an incident have one dedup_key, so that they become one alert."""

import json
from dataclasses import dataclass
from typing import Any

from copilot.notify.decide import Outcome
from copilot.notify.messages import Message, bounded
from copilot.notify.webhook import TIMEOUT_SEC, post, secret
from copilot.settings.notify import NotifySettings

ENQUEUE = "https://events.pagerduty.com/v2/enqueue"
# Limits of the Events API v2: dedup_key and payload.summary.
MAX_DEDUP_KEY, MAX_SUMMARY = 255, 1024
SEVERITY = {"happy": "info", "stressed": "warning", "unknown": "error", "critical": "critical"}


@dataclass(frozen=True)
class PagerDuty:
    """Sends events to the integration of the settings' key."""

    settings: NotifySettings
    timeout_sec: float = TIMEOUT_SEC

    async def send(self, message: Message) -> Outcome:
        """One event; for a test two: it triggers an alert of its own and resolves it."""
        key = secret(self.settings.key, self.settings.key_file)
        url = secret(self.settings.url, self.settings.url_file) or ENQUEUE
        actions = {"resolved": ["resolve"], "test": ["trigger", "resolve"]}.get(message.kind, ["trigger"])
        outcome = Outcome(delivered=True)
        for action in actions:
            content = json.dumps({"routing_key": key, **event(message, action)}).encode()
            outcome = await post(url, content, {}, secrets=(key,), timeout_sec=self.timeout_sec)
            if not outcome.delivered:
                break
        return outcome


def event(message: Message, action: str) -> dict[str, Any]:
    """The event of a message: a `resolve` names the incident only, a `trigger` describes it too."""
    incident = {"event_action": action, "dedup_key": f"copilot:{message.incident_id}"[:MAX_DEDUP_KEY]}
    if action == "resolve":
        return incident
    details = {
        **message.details(),
        **({"Firing gates": ", ".join(message.firing_gates)} if message.firing_gates else {}),
        "Evaluation": message.evaluation_id,
        "Event": message.event_id,
    }
    cause = message.finding.title if message.finding else message.summary
    return {
        **incident,
        "client": "Temporal SRE Copilot",
        **({"client_url": message.page_url} if message.page_url else {}),
        "links": [{"href": url, "text": label} for label, url in message.links().items()],
        "payload": {
            "summary": bounded(f"{message.headline}. {cause}".rstrip(" ."), MAX_SUMMARY),
            "source": message.cluster,
            "severity": "info" if message.kind == "test" else SEVERITY[message.health_state],
            "timestamp": message.since.format_iso(),
            "component": "temporal",
            "class": message.finding.name if message.finding else message.health_state.value,
            "custom_details": details,
        },
    }
