"""One verdict, wherever people look: every face says the same in every recorded scenario."""

import asyncio
import json
import re
from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser
from io import StringIO
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from whenever import Instant

from copilot.cli.status import print_status
from copilot.rules.model import Evaluation, ReportedState
from lab.judge import play
from lab.labels import label_of
from lab.recorded_run import load_run
from tests.api.conftest import client_of
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import snapshot
from tests.fakes.memory_store import MemoryStore
from tests.lab.runs import RECORDED

SINCE = re.compile(r'class="since">since <time datetime="([^"]+)"')


def moments(said: list[Evaluation]) -> list[Evaluation]:
    """The first tick of each state that is not happy, and the last tick."""
    first = {e.verdict.health_state: e for e in reversed(said) if e.verdict.health_state is not ReportedState.HAPPY}
    return sorted({e.time: e for e in (*first.values(), said[-1])}.values(), key=lambda e: e.time)


NAMES = {(label_of(n).states, label_of(n).bottleneck): n for n in reversed(RECORDED) if n != "idle"}.values()
"""One recording for each of the states and bottlenecks that a label allows."""


@pytest.mark.parametrize("name", NAMES)
async def test_every_face_says_the_same(name: str) -> None:
    said = play(load_run(name, RECORDED[name]))
    loop, store, clock = ToldLoop(), MemoryStore(), Clock()
    async with client_of(deps(loop, store, clock, (name,))) as (app, api):
        for moment in moments(said):
            clock.now = moment.time.add(seconds=1)
            await store.save_snapshots([snapshot(e) for e in said if e.time <= moment.time])
            loop.tell(moment)
            await app.state.live.refresh(name)
            status, summary = (await api.get("/status")).json(), (await api.get("/status/summary")).json()
            faces = {
                "status": _of_status(status),
                "summary": {"state": summary["health_state"], "words": summary["summary"]},
                "issues": _of_issues((await api.get("/status/issues")).json()),
                "page": _of_page((await api.get("/")).text),
                "events": _of_line(await first_event(app)),
                "clusters": _of_line((await api.get("/clusters")).json()["clusters"][0]),
                "timeline": _of_line((await api.get("/status/timeline")).json()["timeline"][-1]),
                "metrics": _of_metrics((await api.get("/metrics")).text),
            }
            different = {face: _differing(faces["status"], told) for face, told in faces.items()}
            assert {face: differing for face, differing in different.items() if differing} == {}
            assert _printed(status) == {"state": True, "summary": True, "action": True}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (one[key], told) for key, told in other.items() if one[key] != told}


def _of_status(told: dict[str, Any]) -> dict[str, Any]:
    actions = told["recommended_actions"]
    return {
        "state": told["health_state"],
        "since": Instant.parse_iso(told["since"]).timestamp(unit="millisecond"),
        "bottleneck": told["bottleneck"],
        "finding": told["top_factor"],
        "action": actions[0]["description"] if actions else None,
        "words": told["summary"],
    }


def _of_issues(told: dict[str, Any]) -> dict[str, Any]:
    actions = [a["description"] for i in told["issues"] for a in i["suggested_actions"]]
    first = told["issues"][0]["finding"] if told["issues"] else None
    return {"state": told["health_state"], "finding": first, "action": actions[0] if actions else None}


def _of_page(html: str) -> dict[str, Any]:
    page = _Page()
    page.feed(html)
    first = re.search(r'<li class="action".*?<p class="what">(.*?)</p>', html, re.DOTALL)
    since = SINCE.search(html)
    return {
        "state": page.hero.get("data-state"),
        "bottleneck": page.hero.get("data-bottleneck"),
        "finding": page.finding,
        "action": unescape(re.sub("</?code>", "`", first[1])) if first else None,
    } | ({"since": Instant.parse_iso(since[1]).timestamp(unit="millisecond")} if since else {})


class _Page(HTMLParser):
    """Reads state, bottleneck and first finding from the page's data attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.hero: dict[str, str | None] = {}
        self.finding: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        given = dict(attrs)
        if "data-evaluation" in given:
            self.hero = given
        self.finding = self.finding or given.get("data-finding")


def _of_line(told: dict[str, Any]) -> dict[str, Any]:
    line = {"state": told["health_state"], "bottleneck": told["bottleneck"], "finding": told["top_factor"]}
    return line | ({"since": Instant.parse_iso(told["since"]).timestamp(unit="millisecond")} if "since" in told else {})


def _of_metrics(text: str) -> dict[str, Any]:
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    state = [s.labels["state"] for s in samples if s.name == "copilot_health_state" and s.value == 1]
    since = [s.value for s in samples if s.name == "copilot_state_since_timestamp_seconds"]
    return {"state": state[0], "since": round(1000 * since[0])}


def _printed(status: dict[str, Any]) -> dict[str, bool]:
    out = StringIO()
    print_status(status, Console(file=out, width=10_000, highlight=False))
    text, actions = out.getvalue(), status["recommended_actions"]
    return {
        "state": status["health_state"].upper() in text,
        "summary": status["summary"] in text,
        "action": not actions or f"1. {actions[0]['description']}" in text,
    }


async def first_event(app: FastAPI) -> dict[str, Any]:
    """What the event stream says first. The app is called by hand: a stream without end needs one who leaves."""
    heard, said, asked = asyncio.Event(), "", False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await heard.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal said
        text = message.get("body", b"").decode()
        if "data:" in text and not heard.is_set():
            said = text.split("data: ")[1]
            heard.set()

    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": "/events",
        "raw_path": b"/events", "query_string": b"", "headers": [(b"host", b"localhost")],
        "scheme": "http", "client": None, "server": None, "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    told: dict[str, Any] = json.loads(said)
    return told
