"""The `slack` channel: an incoming webhook, to which each notification is a message of its own; or, with a bot's token,
one message an incident, which always shows the present state, and a reply in its thread for each change.

Text from the cluster is `plain_text` to Slack, which does not interpret it: a task queue named `<!channel>` alerts
nothing. The text beside the blocks, which push notifications show, is escaped as Slack requires.
"""

import json
from html import escape
from typing import Any

from copilot.notify.decide import RESOLVED, Outcome
from copilot.notify.messages import Message, bounded
from copilot.notify.webhook import TIMEOUT_SEC, exchange, post, secret
from copilot.settings.notify import NotifySettings

SIGNS = {"happy": "🟢", "stressed": "🟡", "critical": "🔴", "unknown": "🟣"}
# Slack's limits (docs.slack.dev, Block Kit): a header, and a section's text.
HEADER, SECTION = 150, 3000
API = "https://slack.com/api"
MAX_ANSWER_BYTES = 131_072
"""An answer repeats the message."""
# Errors of the Web API that pass; all others need somebody to change the channel, the token or the app.
PASSING = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable",
                     "request_timeout", "team_added_to_org"})  # fmt: skip
GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"})
"""Errors of an update after which the incident gets a new message."""
IN_THREAD = ("worse", "improved", "repeat", RESOLVED)


async def send(settings: NotifySettings, message: Message, timeout_sec: float = TIMEOUT_SEC) -> Outcome:
    """One POST to the incoming webhook; with a token one or two to the Web API. Slack has no event ids: if its response
    is lost, the message may appear twice."""
    token = secret(settings.token, settings.token_file)
    if not token:
        url = secret(settings.url, settings.url_file)
        return await post(url, json.dumps(body(message)).encode(), {}, timeout_sec=timeout_sec)
    base = (secret(settings.url, settings.url_file) or API).rstrip("/")

    async def call(method: str, **given: Any) -> tuple[Outcome, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=utf-8"}
        content = json.dumps(given).encode()
        outcome, text = await exchange(
            f"{base}/{method}", content, headers, secrets=(token,), timeout_sec=timeout_sec, max_bytes=MAX_ANSWER_BYTES
        )
        return _judged(outcome, text)

    shown, (channel, _, thread) = body(message), message.thread.partition(":")
    if thread and message.kind in IN_THREAD:
        outcome, answer = await call("chat.update", channel=channel, ts=thread, **shown)
        if outcome.delivered:
            outcome, _ = await call("chat.postMessage", channel=channel, thread_ts=thread, text=shown["text"])
        if outcome.delivered or answer.get("error") not in GONE:
            return outcome
    outcome, answer = await call("chat.postMessage", channel=settings.channel, **shown)
    where = f"{answer.get('channel')}:{answer.get('ts')}" if outcome.delivered else ""
    return outcome.model_copy(update={"thread": where})


def _judged(outcome: Outcome, text: str) -> tuple[Outcome, dict[str, Any]]:
    """What Slack answered: its errors come with status 200 and `ok` false."""
    if not outcome.delivered:
        return outcome, {}
    try:
        answer = dict(json.loads(text))
    except (ValueError, TypeError):
        return Outcome(delivered=False, doubtful=True, why="it answered no JSON: is url Slack's API?"), {}
    if answer.get("ok") is True:
        return outcome, answer
    error = bounded(str(answer.get("error")), HEADER)
    return Outcome(delivered=False, final=error not in PASSING, why=f"Slack answered {error}"), answer


def body(message: Message) -> dict[str, Any]:
    """A message's text and blocks."""
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
    if links := " · ".join(f"<{escape(url, quote=False)}|{label}>" for label, url in message.links().items()):
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": links}]})
    return {"text": escape(f"{sign} {message.headline}. {message.summary}".strip(), quote=False), "blocks": blocks}


def _plain(text: str, max_chars: int = SECTION) -> dict[str, Any]:
    return {"type": "plain_text", "text": bounded(text, max_chars), "emoji": False}
