"""Slack, by an incoming webhook.

Words that come from the cluster stand in `plain_text`, which Slack does not interpret: a task queue named
`<!channel>` calls nobody. The text beside the blocks, which notifications show, is escaped as Slack asks.
"""

import json
from dataclasses import dataclass
from typing import Any

from copilot.notify.decide import Outcome
from copilot.notify.messages import Notice, bounded
from copilot.notify.posting import WITHIN_SEC, post, secret
from copilot.rules.model import ReportedState
from copilot.settings.notify import NotifySettings

# Slack's limits (docs.slack.dev, Block Kit): a header, and a section's text.
HEADER, SECTION = 150, 3000
SIGNS = {
    ReportedState.HAPPY: "🟢",
    ReportedState.STRESSED: "🟡",
    ReportedState.CRITICAL: "🔴",
    ReportedState.UNKNOWN: "🟣",
}


@dataclass(frozen=True)
class Slack:
    """Posts to the incoming webhook of the settings."""

    settings: NotifySettings
    within_sec: float = WITHIN_SEC

    async def send(self, notice: Notice) -> Outcome:
        """One POST. Slack knows no event ids: where its answer is lost, the message may come twice."""
        url = secret(self.settings.url, self.settings.url_file)
        return await post(url, json.dumps(message(notice)).encode(), {}, within_sec=self.within_sec)


def message(notice: Notice) -> dict[str, Any]:
    """The body of an incoming webhook's message."""
    sign = SIGNS[notice.health_state]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(f"{sign} {notice.headline}", HEADER)},
        {"type": "section", "fields": [
            _plain(f"Cluster: {notice.cluster}"),
            _plain(f"State: {notice.health_state.value}"),
            _plain(f"Since: {notice.since.round('second').format_iso()}"),
            _plain(f"Before: {notice.previous_state.value if notice.previous_state else '–'}"),
        ]},
    ]  # fmt: skip
    if notice.summary:
        blocks.append({"type": "section", "text": _plain(notice.summary)})
    if notice.finding is not None:
        blocks.append({"type": "section", "text": _plain(f"Cause: {notice.finding.title}")})
    if notice.action is not None:
        risk = f" (risk: {notice.action.risk_level})" if notice.action.risk_level else ""
        blocks.append({"type": "section", "text": _plain(f"Do first: {notice.action.description}{risk}")})
    links = [
        f"<{escaped(url)}|{words}>"
        for url, words in ((notice.links.page, "Open the page"), (notice.links.guide, "View guide"))
        if url is not None
    ]
    if links:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": " · ".join(links)}]})
    return {"text": escaped(f"{sign} {notice.headline}. {notice.summary}".strip()), "blocks": blocks}


def escaped(text: str) -> str:
    """Text in which Slack finds no markup of its own (docs.slack.dev, formatting text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str, most: int = SECTION) -> dict[str, Any]:
    return {"type": "plain_text", "text": bounded(text, most), "emoji": False}
