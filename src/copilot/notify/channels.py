"""The channels: a webhook, Alertmanager, Slack, PagerDuty, and over apprise (the extra `notify`) mail, Teams, Telegram,
ntfy and many more. Which notifications each gets, and when, is decided in decide.py.

All events of an incident have one dedup_key at PagerDuty, so that they become one alert.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from copilot.errors import SettingsError
from copilot.notify import alertmanager, slack, webhook
from copilot.notify.decide import Outcome
from copilot.notify.messages import SEVERITY, Message, bounded
from copilot.notify.webhook import TIMEOUT_SEC, post, secret
from copilot.settings.notify import NotifySettings

Channel: TypeAlias = Callable[[Message], Awaitable[Outcome]]
"""Tries once to deliver a message, within seconds. A failure of the other side is an outcome, without secrets; it never
raises. SettingsError: a secret's file cannot be read, or an extra is not installed."""

APPRISE_TYPES = {"happy": "success", "stressed": "warning", "critical": "failure", "unknown": "warning"}
ENQUEUE = "https://events.pagerduty.com/v2/enqueue"
# Limits of PagerDuty's Events API v2: dedup_key and payload.summary.
MAX_DEDUP_KEY, MAX_SUMMARY = 255, 1024


def channel(settings: NotifySettings) -> Channel:
    """The channel of these settings. It reads no file and connects to nothing before the first message."""
    return partial(SENDERS[settings.kind], settings)


async def send_pagerduty(settings: NotifySettings, message: Message, timeout_sec: float = TIMEOUT_SEC) -> Outcome:
    """One event to the integration of the settings' key; for a test two: it triggers an alert of its own and resolves
    it."""
    key = secret(settings.key, settings.key_file)
    url = secret(settings.url, settings.url_file) or ENQUEUE
    outcome = Outcome(delivered=True)
    for action in {"resolved": ["resolve"], "test": ["trigger", "resolve"]}.get(message.kind, ["trigger"]):
        if outcome.delivered:
            content = json.dumps({"routing_key": key, **pagerduty_event(message, action)}).encode()
            outcome = await post(url, content, {}, secrets=(key,), timeout_sec=timeout_sec)
    return outcome


def pagerduty_event(message: Message, action: str) -> dict[str, Any]:
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


async def send_apprise(settings: NotifySettings, message: Message, timeout_sec: float = 2 * TIMEOUT_SEC) -> Outcome:
    """One message to the apprise URL. apprise reports only whether it was delivered. SettingsError if it is not
    installed."""
    try:
        from apprise import Apprise, NotifyFormat, NotifyType
    except ImportError:
        needs = f"channel {settings.name!r} needs apprise: install temporal-sre-copilot[notify]"
        raise SettingsError([needs]) from None
    # Below a warning, its log contains URLs.
    logging.getLogger("apprise").setLevel(logging.WARNING)
    target = Apprise()
    # The first call loads all of apprise's plugins, which takes a second.
    if not await asyncio.to_thread(target.add, secret(settings.url, settings.url_file)):
        return Outcome(delivered=False, final=True, why="apprise does not know its url")
    kind = NotifyType("info" if message.kind == "test" else APPRISE_TYPES[message.health_state.value])
    text = "\n".join([*message.lines(), *message.links().values()]) or message.headline
    parts = {"body": text, "title": message.headline, "notify_type": kind, "body_format": NotifyFormat.TEXT}
    try:
        async with asyncio.timeout(timeout_sec):
            if await target.async_notify(**parts):
                return Outcome(delivered=True)
    except TimeoutError:
        why = f"apprise did not complete within {timeout_sec:g} s"
    else:
        why = "apprise could not deliver it: see the worker's log"
    return Outcome(delivered=False, doubtful=True, why=why)


async def send_heartbeat(settings: NotifySettings, message: Message | None = None) -> Outcome:  # noqa: ARG001
    """One POST of an empty object to the URL, whatever the message says."""
    return await post(secret(settings.url, settings.url_file), b"{}", {})


SENDERS: dict[str, Callable[..., Awaitable[Outcome]]] = {
    "webhook": webhook.send, "slack": slack.send, "pagerduty": send_pagerduty, "apprise": send_apprise,
    "heartbeat": send_heartbeat, "alertmanager": alertmanager.send,
}  # fmt: skip
