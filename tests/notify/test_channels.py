"""Each channel on the wire, against a stand-in on loopback."""

import hashlib
import hmac
import json
import logging
from functools import partial
from pathlib import Path

import pytest
from jsonschema import validate
from pydantic import SecretStr
from whenever import Instant

from copilot.embedded.ports import free_ports
from copilot.errors import SettingsError
from copilot.explain import explained
from copilot.notify.channels import SENDERS, channel
from copilot.notify.decide import Outcome
from copilot.settings.notify import NotifySettings
from tests.evaluations import evaluation, issue
from tests.notify.messages import a_message
from tests.notify.standin import Answer, standing_in

TOKEN = "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
KEY = "R0UT1NGK3YR0UT1NGK3YR0UT1NGK3Y00"
EVENT_V2 = json.loads(Path(__file__).with_name("pagerduty_event_v2.json").read_text(encoding="utf-8"))


def webhook(url: str, **more: object) -> NotifySettings:
    return NotifySettings.model_validate({"name": "hook", "kind": "webhook", "url": url, "secret": "s3cret"} | more)


def slack(url: str) -> NotifySettings:
    return NotifySettings(name="ops", kind="slack", url=SecretStr(f"{url}/services/{TOKEN}"))


def pagerduty(url: str) -> NotifySettings:
    return NotifySettings(name="pager", kind="pagerduty", key=SecretStr(KEY), url=SecretStr(f"{url}/v2/enqueue"))


async def test_a_webhook_is_sent_the_documented_body_with_a_signature_that_can_be_verified() -> None:
    began = Instant.now().timestamp()
    async with standing_in() as it:
        url = it.url.replace("//", "//me:pass@")
        outcome = await channel(webhook(f"{url}/hook?team=a"))(a_message())
    assert outcome == Outcome(delivered=True)
    (posted,) = it.posted
    made = explained(evaluation("critical"))
    first = made.findings[0]
    assert posted.target == "/hook?team=a"
    assert posted.headers["authorization"] == "Basic bWU6cGFzcw=="
    assert posted.headers["content-type"] == "application/json"
    timestamp = posted.headers["copilot-timestamp"]
    assert began <= int(timestamp) <= Instant.now().timestamp()
    assert posted.headers["copilot-event-id"] == posted.json["event_id"]
    expected = hmac.new(b"s3cret", f"{timestamp}.".encode() + posted.body, hashlib.sha256).hexdigest()
    assert posted.headers["copilot-signature"] == f"sha256={expected}"
    assert posted.json == {
        "version": 1,
        "event_id": "east:1795348620:2:critical",
        "incident_id": "east:1795348620",
        "kind": "firing",
        "cluster": "east",
        "health_state": "critical",
        "previous_state": None,
        "since": "2026-11-22T11:57:00Z",
        "time": "2026-11-22T12:00:00Z",
        "evaluation_id": "east:1795348800",
        "headline": "[FIRING] east is CRITICAL since 2026-11-22 11:57 UTC",
        "summary": made.summary,
        "finding": {"name": "no_pollers", "subject": "orders", "title": first.title, "severity": "critical"},
        "action": {"description": first.suggested_actions[0].description, "risk_level": "low"},
        "firing_gates": [gate.name for gate in made.verdict.gates if gate.fired],
        "page_url": "https://copilot.example.org/?cluster=east",
        "runbook_url": "https://copilot.example.org/runbooks/no_pollers/page",
        "held_back": [],
    }


async def test_slack_shows_state_cause_and_advice_in_text_it_does_not_interpret() -> None:
    foreign = issue(subject="<!channel>", title="No pollers on task queue <!channel> & *co*")
    async with standing_in() as it:
        outcome = await channel(slack(it.url))(a_message(findings=(foreign,), summary="<@U1> waits & waits"))
        await channel(slack(it.url))(a_message(public_url=None))
    assert outcome.delivered
    posted, without_url = it.posted
    assert [b["type"] for b in without_url.json["blocks"]][-1] == "section", "no links"
    assert posted.target == f"/services/{TOKEN}"
    text, blocks = posted.json["text"], posted.json["blocks"]
    assert text.startswith("🔴 [FIRING] east is CRITICAL since 2026-11-22 11:57 UTC")
    assert "<" not in text
    assert "&lt;@U1&gt; waits &amp; waits" in text
    assert [b["type"] for b in blocks] == ["header", "section", "section", "section", "section", "context"]
    assert len(blocks[0]["text"]["text"]) <= 150
    words = [b["text"] for b in blocks[:1] + blocks[2:5]] + blocks[1]["fields"]
    assert {w["type"] for w in words} == {"plain_text"}
    assert blocks[3]["text"]["text"] == "Cause: No pollers on task queue <!channel> & *co*"
    assert blocks[4]["text"]["text"].startswith("Do first: Start workers for `orders`")
    assert blocks[5]["elements"][0]["text"] == (
        "<https://copilot.example.org/?cluster=east|Open the page> · "
        "<https://copilot.example.org/?cluster=east#muted|Acknowledge or silence> · "
        "<https://copilot.example.org/runbooks/no_pollers/page|View runbook>"
    )


@pytest.mark.parametrize(
    ("state", "severity"), [("critical", "critical"), ("unknown", "error"), ("stressed", "warning")]
)
async def test_pagerduty_is_sent_an_event_for_the_incident_with_a_severity(state: str, severity: str) -> None:
    async with standing_in((202, {}, b'{"status":"success"}')) as it:
        assert (await channel(pagerduty(it.url))(a_message(state))).delivered
    event = it.posted[0].json
    validate(event, EVENT_V2)
    assert (event["event_action"], event["routing_key"]) == ("trigger", KEY)
    assert event["dedup_key"] == f"copilot:{a_message(state).incident_id}"
    assert event["payload"]["severity"] == severity
    assert event["payload"]["summary"].startswith(f"[FIRING] east is {state.upper()}")
    assert event["payload"]["source"] == "east"
    assert event["client_url"] == "https://copilot.example.org/?cluster=east"


async def test_pagerduty_resolves_the_incident_and_a_test_leaves_no_open_alert() -> None:
    async with standing_in() as it:
        pager = channel(pagerduty(it.url))
        for message in (a_message(), a_message("happy", "resolved", "critical"), a_message("happy", "test")):
            assert (await pager(message)).delivered
    opened, resolved, trigger, resolve = (posted.json for posted in it.posted)
    validate(resolved, EVENT_V2)
    assert resolved == {"routing_key": KEY, "event_action": "resolve", "dedup_key": opened["dedup_key"]}
    assert [trigger["event_action"], resolve["event_action"]] == ["trigger", "resolve"]
    assert trigger["payload"]["severity"] == "info"
    assert trigger["dedup_key"] == resolve["dedup_key"]


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
async def test_apprise_gets_title_and_text() -> None:
    async with standing_in() as it:
        to = NotifySettings(name="long", kind="apprise", url=SecretStr(it.url.replace("http", "json") + "/x"))
        outcome = await channel(to)(a_message())
    assert outcome == Outcome(delivered=True)
    (posted,) = it.posted
    assert posted.json["title"] == "[FIRING] east is CRITICAL since 2026-11-22 11:57 UTC"
    assert posted.json["type"] == "failure"
    assert "Cause: No pollers on `orders`" in posted.json["message"]


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")
async def test_apprise_that_fails_can_be_retried_and_an_address_it_does_not_know_cannot() -> None:
    async with standing_in((500, {}, b"")) as it:
        to = NotifySettings(name="long", kind="apprise", url=SecretStr(it.url.replace("http", "json")))
        failed = await channel(to)(a_message())
    unknown = await channel(NotifySettings(name="l", kind="apprise", url=SecretStr("nonsense://x")))(a_message())
    assert (failed.delivered, failed.final) == (False, False)
    assert (unknown.delivered, unknown.final) == (False, True)


KINDS = {"webhook": webhook, "slack": slack, "pagerduty": pagerduty}
SECRETS = (TOKEN, KEY, "s3cret")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param((200, {}, b"ok"), Outcome(delivered=True), id="200"),
        pytest.param((429, {"Retry-After": "17"}, b""),
                     Outcome(delivered=False, why="answered 429 Said", retry_after_sec=17), id="429"),
        pytest.param((500, {}, b"rollup_error"),
                     Outcome(delivered=False, doubtful=True, why="answered 500 Said: rollup_error"), id="500"),
        pytest.param((408, {}, b""), Outcome(delivered=False, why="answered 408 Said"), id="408"),
        pytest.param((404, {}, b"no_service"),
                     Outcome(delivered=False, final=True, why="answered 404 Said: no_service"), id="404"),
        pytest.param((302, {"Location": "http://127.0.0.1:1/"}, b""),
                     Outcome(delivered=False, final=True, why="answered 302 Said"), id="a redirect is not followed"),
    ],
)  # fmt: skip
async def test_what_an_answer_means(kind: str, answer: Answer, expected: Outcome) -> None:
    async with standing_in(answer) as it:
        assert await channel(KINDS[kind](it.url))(a_message()) == expected
        assert len(it.posted) == 1


async def test_retry_after_may_be_a_moment() -> None:
    soon = Instant.now().add(seconds=90).format_rfc2822().replace("+0000", "GMT")
    async with standing_in((503, {"Retry-After": soon}, b"")) as it:
        outcome = await channel(webhook(it.url))(a_message())
    assert outcome.retry_after_sec is not None
    assert 0 < outcome.retry_after_sec <= 90


@pytest.mark.parametrize("kind", KINDS)
async def test_a_receiver_that_never_answers_may_have_got_it(kind: str) -> None:
    async with standing_in(None) as it:
        outcome = await partial(SENDERS[kind], timeout_sec=0.2)(KINDS[kind](it.url), a_message())
    assert outcome == Outcome(delivered=False, doubtful=True, why="no answer from 127.0.0.1 within 0.2 s")


async def test_a_receiver_that_cannot_be_reached_got_nothing() -> None:
    (port,) = free_ports(1)
    outcome = await channel(webhook(f"http://127.0.0.1:{port}"))(a_message())
    assert outcome == Outcome(delivered=False, why="127.0.0.1 cannot be reached (connection refused)")


@pytest.mark.parametrize("kind", KINDS)
async def test_no_secret_is_logged_or_in_the_reason_of_a_failure(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"errors": [f"bad key {KEY}", f"/services/{TOKEN}", "s3cret"]}).encode()
    async with standing_in((400, {}, echo)) as it:
        url = f"{it.url}/services/{TOKEN}"
        settings = webhook(url) if kind == "webhook" else KINDS[kind](it.url)
        outcome = await channel(settings)(a_message())
        (port,) = free_ports(1)
        refused = await channel(KINDS[kind](f"http://127.0.0.1:{port}"))(a_message())
    said = f"{outcome.why} {refused.why} {caplog.text} {settings!r}"
    mine = {"webhook": ("s3cret", TOKEN), "slack": (TOKEN,), "pagerduty": (KEY,)}[kind]
    assert outcome.final
    assert [secret for secret in mine if secret in said] == []


async def test_an_address_in_a_file_is_read_for_every_message(tmp_path: Path) -> None:
    file = tmp_path / "url"
    settings = NotifySettings(name="ops", kind="slack", url_file=file)
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        await channel(settings)(a_message())
    async with standing_in() as it:
        file.write_text(f"{it.url}/services/1\n")
        await channel(settings)(a_message())
        file.write_text(f"{it.url}/services/2\n")
        await channel(settings)(a_message())
    assert [posted.target for posted in it.posted] == ["/services/1", "/services/2"]
    file.write_text("no address")
    assert (await channel(settings)(a_message())).final
