"""Slack, by an incoming webhook.

Text from the cluster is `plain_text`, which Slack does not interpret: a task queue named `<!channel>` alerts nothing.
The text beside the blocks, which push notifications show, is escaped as Slack requires.
"""

import json
from dataclasses import dataclass
from typing import Any

from copilot.notify.decide import Outcome
from copilot.notify.messages import Message, bounded
from copilot.notify.webhook import TIMEOUT_SEC, post, secret
from copilot.settings.notify import NotifySettings

# Slack's limits (docs.slack.dev, Block Kit): a header, and a section's text.
HEADER, SECTION = 150, 3000
SIGNS = {"happy": "🟢", "stressed": "🟡", "critical": "🔴", "unknown": "🟣"}


@dataclass(frozen=True)
class Slack:
    """Posts to the incoming webhook of the settings."""

    settings: NotifySettings
    timeout_sec: float = TIMEOUT_SEC

    async def send(self, message: Message) -> Outcome:
        """One POST. Slack has no event ids: if its response is lost, the message may appear twice."""
        url = secret(self.settings.url, self.settings.url_file)
        return await post(url, json.dumps(body(message)).encode(), {}, timeout_sec=self.timeout_sec)


def body(message: Message) -> dict[str, Any]:
    """The body of the POST to an incoming webhook."""
    sign = SIGNS[message.health_state]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(f"{sign} {message.headline}", HEADER)},
        {"type": "section", "fields": [
            _plain(f"Cluster: {message.cluster}"),
            _plain(f"State: {message.health_state.value}"),
            _plain(f"Since: {message.since.round('second').format_iso()}"),
            _plain(f"Previous state: {message.previous_state.value if message.previous_state else '–'}"),
        ]},
    ]  # fmt: skip
    blocks += [{"type": "section", "text": _plain(line)} for line in message.lines()]
    if links := " · ".join(f"<{escaped(url)}|{label}>" for label, url in message.links().items()):
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": links}]})
    return {"text": escaped(f"{sign} {message.headline}. {message.summary}".strip()), "blocks": blocks}


def escaped(text: str) -> str:
    """The text with Slack's markup escaped (docs.slack.dev, formatting text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str, max_chars: int = SECTION) -> dict[str, Any]:
    return {"type": "plain_text", "text": bounded(text, max_chars), "emoji": False}
