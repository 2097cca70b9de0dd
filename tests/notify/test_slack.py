"""An incident is one message with a thread in Slack, by a bot's token, at a strict stand-in of Slack's Web API."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from copilot.notify.channels import channel
from copilot.notify.decide import ChannelState, Kind, Notification, Outcome, after_attempt
from copilot.rules.model import ReportedState
from copilot.settings.notify import NotifySettings
from tests.evaluations import NOON
from tests.fakes.http import read_request, response
from tests.fakes.serving import serving
from tests.notify.messages import a_message

TOKEN, CHANNEL = "xoxb-s3cret", "C0123456789"
Message = dict[str, Any]


@dataclass
class Slack:
    """One channel. `messages` by their ts; replies have a `thread_ts`. `next_error`: of the next call."""

    messages: dict[str, Message] = field(default_factory=dict)
    next_error: str = ""
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        error, self.next_error = self.next_error, ""
        answer: dict[str, Any]
        if not request.headers.get("content-type", "").startswith("application/json"):
            error = error or "invalid_post_type"
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            error = error or "invalid_auth"
        answer = {"ok": False, "error": error} if error else self._call(request.path, json.loads(request.body))
        limited = error == "ratelimited"
        status, more = ("429 Too Many Requests", ("Retry-After: 7",)) if limited else ("200 OK", ())
        writer.write(response(status, json.dumps(answer).encode(), "Connection: close", *more))
        await writer.drain()

    def _call(self, path: str, given: Message) -> dict[str, Any]:
        method, to = path.rpartition("/")[2], given.pop("channel", "")
        names = (CHANNEL,) if method == "chat.update" else (CHANNEL, "#ops")
        blocks = given.get("blocks", [])
        headers = [b["text"]["text"] for b in blocks if b["type"] == "header"]
        ts = given.pop("ts", "") or f"17953488{len(self.messages):02}.000100"
        if method not in ("chat.postMessage", "chat.update"):
            return {"ok": False, "error": "unknown_method"}
        if to not in names:
            return {"ok": False, "error": "channel_not_found"}
        if (method == "chat.update") != (ts in self.messages):
            return {"ok": False, "error": "message_not_found"}
        if given.get("thread_ts", ts) != ts and given["thread_ts"] not in self.messages:
            return {"ok": False, "error": "thread_not_found"}
        if not given.get("text") or any(len(h) > 150 for h in headers) or len(blocks) > 50:
            return {"ok": False, "error": "invalid_blocks"}
        self.messages[ts] = given
        return {"ok": True, "channel": CHANNEL, "ts": ts, "message": given | {"padding": 9_000 * "x"}}

    def shown(self) -> list[tuple[str, str]]:
        """Whether each message is a reply, and its first words."""
        return [("reply" if "thread_ts" in m else "message", m["text"].partition(" since")[0])
                for m in self.messages.values()]  # fmt: skip


@asynccontextmanager
async def slack() -> AsyncIterator[Slack]:
    it = Slack()
    async with serving(it.serve) as port:
        it.url = f"http://127.0.0.1:{port}/api"
        yield it


def a_bot(url: str, to: str = "#ops", token: str = TOKEN) -> NotifySettings:
    return NotifySettings.model_validate(
        {"name": "ops", "kind": "slack", "url": url, "channel": to, "token": token, "states": ["critical", "stressed"]}
    )


async def told(it: Slack, kind: Kind, state: str, before: ChannelState, **of: str) -> tuple[ChannelState, Outcome]:
    """The channel's state after one notification."""
    message = a_message(state, kind).model_copy(update={"thread": before.thread})
    outcome = await channel(a_bot(it.url, **of))(message)
    notification = Notification(kind=kind, state=ReportedState(state), number=before.number + 1, incident=NOON)
    return after_attempt(before, notification, outcome, NOON), outcome


async def test_an_incident_is_one_message_that_is_kept_up_to_date_and_each_change_a_reply() -> None:
    async with slack() as it:
        state = ChannelState()
        for kind, now in (("firing", "stressed"), ("worse", "critical"), ("resolved", "happy"), ("firing", "critical")):
            state, outcome = await told(it, kind, now, state)  # type: ignore[arg-type]
            assert outcome.delivered, outcome.why
            assert bool(state.thread) == (kind != "resolved")
        assert it.shown() == [
            ("message", "🟢 [RESOLVED] east is HAPPY"),
            ("reply", "🔴 [FIRING] east is CRITICAL"),
            ("reply", "🟢 [RESOLVED] east is HAPPY"),
            ("message", "🔴 [FIRING] east is CRITICAL"),
        ]
        assert await channel(a_bot(it.url))(a_message("happy", "test")) != Outcome(delivered=False)


async def test_an_incident_whose_message_was_deleted_gets_a_new_one() -> None:
    async with slack() as it:
        state, _ = await told(it, "firing", "stressed", ChannelState())
        it.messages.clear()
        state, outcome = await told(it, "worse", "critical", state)
        assert outcome.delivered
        assert it.shown() == [("message", "🔴 [FIRING] east is CRITICAL")]
        assert state.thread == f"{CHANNEL}:{next(iter(it.messages))}"


@pytest.mark.parametrize(
    ("error", "of", "final", "said"),
    [
        ("", {"to": "#nowhere"}, True, "Slack answered channel_not_found"),
        ("", {"token": "xoxb-other"}, True, "Slack answered invalid_auth"),
        ("is_archived", {}, True, "Slack answered is_archived"),
        ("internal_error", {}, False, "Slack answered internal_error"),
        ("ratelimited", {}, False, "answered 429"),
    ],
)
async def test_what_slack_refuses_is_named_and_tried_again_where_that_helps(
    error: str, of: dict[str, str], final: bool, said: str
) -> None:
    async with slack() as it:
        it.next_error = error
        state, outcome = await told(it, "firing", "critical", ChannelState(), **of)
    assert (outcome.delivered, outcome.final, said in outcome.why) == (False, final, True), outcome
    assert (outcome.retry_after_sec, state.thread) == (7.0 if error == "ratelimited" else None, "")
    assert TOKEN not in f"{outcome.why} {a_bot(it.url)!r}"
