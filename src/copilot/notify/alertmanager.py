"""The `alertmanager` channel: an alert that is pushed again while the problem lasts (Alertmanager's API v2).

The label set is an alert's identity, so only what lasts is a label; cause, numbers and links are annotations. An alert
ends by itself some minutes after the last push, so nothing stays open when the Copilot dies. Grouping, silences,
inhibition and repeats are Alertmanager's own.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
from whenever import Instant

from copilot.notify.decide import RESOLVED, Outcome
from copilot.notify.messages import SEVERITY, Message
from copilot.notify.webhook import TIMEOUT_SEC, post
from copilot.settings.notify import ALERTMANAGER_PUSH_SEC, NotifySettings

ALERT = "TemporalClusterUnhealthy"
PATH = "/api/v2/alerts"
ASK_SEC = 3.0
LASTS_SEC = 3 * ALERTMANAGER_PUSH_SEC
"""How long an alert lasts without another push."""


async def send(settings: NotifySettings, message: Message, timeout_sec: float = TIMEOUT_SEC) -> Outcome:
    """One push to every Alertmanager of a high-availability cluster, which do not forward alerts to each other.
    Delivered if one of them accepted it: the next push, within a minute, goes to all again."""
    urls = [url.get_secret_value() for url in settings.urls]
    content = json.dumps(alerts(message, Instant.now())).encode()
    pushes = [post(url.rstrip("/") + PATH, content, {}, timeout_sec=timeout_sec) for url in urls]
    outcomes = await asyncio.gather(*pushes)
    failed = [outcome for outcome in outcomes if not outcome.delivered]
    why = "; ".join(outcome.why for outcome in failed)
    if len(failed) < len(outcomes):
        firing = message.kind not in (RESOLVED, "test")
        return Outcome(delivered=True, why=why, silences=await silences(urls, message.cluster) if firing else ())
    # While one of them may accept the alert later, it is not given up.
    waits = [outcome.retry_after_sec for outcome in failed if outcome.retry_after_sec is not None]
    return Outcome(
        delivered=False,
        why=why,
        final=all(outcome.final for outcome in failed),
        doubtful=any(outcome.doubtful for outcome in failed),
        retry_after_sec=min(waits, default=None),
    )


async def silences(urls: Sequence[str], cluster: str) -> tuple[str, ...] | None:
    """Links to Alertmanager's own silences of our alerts of a cluster, from the first replica that answers; None: none
    does."""
    matchers = [f'alertname="{ALERT}"', f"cluster={json.dumps(cluster)}"]
    for url in urls:
        address = httpx.URL(url.rstrip("/"))
        asked = httpx.URL(url.rstrip("/") + PATH, params={"filter": matchers})
        # As in webhook.py: the path may be a secret, and HTTP clients log URLs.
        login = httpx.BasicAuth(address.username, address.password) if address.userinfo else None
        bare = asked.copy_with(raw_path=b"/", userinfo=b"")
        request = httpx.Request("GET", bare, extensions={"target": asked.raw_path})
        try:
            async with asyncio.timeout(ASK_SEC), httpx.AsyncClient(timeout=None) as client:
                found = (await client.send(request, auth=login)).raise_for_status().json()
            ids = {silence for alert in found for silence in alert["status"]["silencedBy"]}
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError):
            continue
        return tuple(f"{address.copy_with(userinfo=b'')}/#/silences/{silence}" for silence in sorted(ids))
    return None


def alerts(message: Message, now: Instant) -> list[dict[str, Any]]:
    """The alerts of one push: the one that fires, and the one of the previous state, which ends now."""
    if message.kind == "test":
        return [_alert(message, "info", startsAt=now, endsAt=now.add(seconds=ALERTMANAGER_PUSH_SEC))]
    firing, before = SEVERITY[message.health_state], message.previous_state and SEVERITY[message.previous_state]
    pushed = []
    if message.kind != RESOLVED:
        pushed.append(_alert(message, firing, startsAt=message.since, endsAt=now.add(seconds=LASTS_SEC)))
    if before and (message.kind == RESOLVED or before != firing):
        pushed.append(_alert(message, before, endsAt=now))
    return pushed


def _alert(message: Message, severity: str, **times: Instant) -> dict[str, Any]:
    names = {"Summary": "description", "Cause": "cause", "Do first": "action"}
    annotations = {names[label]: text for label, text in message.details().items()}
    about = {
        "summary": message.headline,
        "finding": message.finding.name if message.finding else "",
        "subject": message.finding.subject if message.finding else "",
        "firing_gates": ", ".join(message.firing_gates),
        "runbook_url": message.runbook_url or "",
        "dashboard_url": message.page_url or "",
        "incident_id": message.incident_id,
    }
    return {
        "labels": {"alertname": ALERT, "cluster": message.cluster, "severity": severity},
        "annotations": {name: text for name, text in (annotations | about).items() if text},
        **{name: time.format_iso() for name, time in times.items()},
        **({"generatorURL": message.page_url} if message.page_url else {}),
    }
