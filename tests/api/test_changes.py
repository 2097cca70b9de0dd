"""Changes are reported, listed and refused."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from copilot.api.auth import new_token, token_hash
from copilot.api.deps import Deps
from copilot.cli.main import app
from copilot.settings.api import ApiSettings
from tests.api.conftest import client
from tests.api.standin import away_store, deps
from tests.api.test_status import telling
from tests.cli.test_status import served
from tests.evaluations import NOON

READER, REPORTER = new_token(), new_token()
TOKENS = ApiSettings(tokens={"me": token_hash(READER)}, change_tokens={"ci": token_hash(REPORTER)})
EARLIER = NOON.subtract(minutes=1)
DEPLOY = {"text": "checkout 1.4.2", "at": EARLIER.format_iso(), "deployment": "checkout", "build": "b42"}


def two_clusters() -> Deps:
    return deps(telling(), clusters=("default", "quiet"))


async def report(api: httpx.AsyncClient, change: Any, **headers: str) -> httpx.Response:
    content = change if isinstance(change, bytes) else json.dumps(change).encode()
    return await api.post("/changes", content=content, headers={"content-type": "application/json", **headers})


async def test_a_change_is_stored_once_without_secrets_and_listed_newest_first() -> None:
    secret = "see https://ci:hunter2secret@ci.example/1\x1b[31m"
    async with client(two_clusters()) as api:
        answers = [await report(api, {**DEPLOY, "cluster": "default"}) for _ in range(2)]
        await report(api, {"cluster": "default", "text": secret, "kind": "config", "task_queue": "orders"})
        await report(api, {**DEPLOY, "cluster": "quiet"})
        listed = (await api.get("/changes?cluster=default")).json()
        first = (await api.get("/changes?cluster=default&limit=1")).json()
        past = (await api.get("/changes?cluster=default&end=2026-11-21")).json()
        then = (await api.get(f"/changes?cluster=default&start={EARLIER}&end={EARLIER}")).json()
    assert [a.status_code for a in answers] == [201, 200]
    assert [c["kind"] for c in listed["changes"]] == ["config", "deploy"]
    assert "hunter2secret" not in (shown := listed["changes"][0]["text"])
    assert shown.isprintable()
    assert answers[1].json() == listed["changes"][1] == then["changes"][-1]
    assert (listed["truncated"], first["truncated"], past["changes"]) == (False, True, [])


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        (b"{", 422, "JSON"),
        ({}, 422, "Field required"),
        ({"text": " \n"}, 422, "in one line"),
        ({"text": "x" * 301}, 422, "at most 300"),
        ({"text": "x", "secret": "y"}, 422, "not permitted"),
        ({"text": "x", "kind": "party"}, 422, "deploy"),
        ({"text": "x", "link": "javascript:alert(1)"}, 422, "http:// or https://"),
        ({"text": "x", "at": "yesterday"}, 422, "not a valid time"),
        ({"text": "x", "at": "2030-01-01"}, 422, "in the future"),
        ({"text": "x", "at": [1]}, 422, "not a valid time"),
        ({"text": "x", "at": 86_400}, 422, "days ago"),
        (b"[" * 5_000, 422, "recursion"),
        ({"text": "x", "cluster": "other"}, 404, "no cluster 'other'"),
        ({"text": "x", "cluster": None}, 422, "cluster is required: default, quiet"),
        (b" " * 8_193, 413, "8192 bytes"),
    ],
)
async def test_what_is_no_change_of_these_clusters_is_refused_in_one_line(change: Any, status: int, said: str) -> None:
    given = {"cluster": "default", **change} if isinstance(change, dict) else change
    async with client(two_clusters()) as api:
        answer = await report(api, given)
        assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True), answer.text
        form = await report(api, {"cluster": "default", "text": "x"}, **{"content-type": "text/plain"})
        assert form.status_code == 415
        assert (await api.get("/changes?cluster=default")).json()["changes"] == []


async def test_a_flood_is_stopped_and_a_store_that_is_down_is_named() -> None:
    async with client(two_clusters()) as api:
        flood = [(await report(api, {"cluster": "quiet", "text": f"{n}"})).status_code for n in range(121)]
    assert flood == [201] * 120 + [429]
    async with client(deps(telling(), store=away_store())) as api:
        assert (await report(api, {"text": "x"})).status_code == 503
        listed = (await api.get("/changes")).json()
    assert listed["degraded"]
    assert "cannot be used" in listed["degraded_because"]


async def test_a_token_for_changes_can_do_only_that_and_no_other_can() -> None:
    reader, reporter = ({"authorization": f"Bearer {t}"} for t in (READER, REPORTER))
    async with client(two_clusters(), TOKENS) as api:
        stored = await report(api, {**DEPLOY, "cluster": "default"}, **reporter)
        assert (stored.status_code, stored.json()["who"]) == (201, "ci")
        refused = await report(api, {**DEPLOY, "cluster": "default"}, **reader)
        assert (refused.status_code, "--changes" in refused.text) == (403, True)
        assert (await report(api, DEPLOY)).status_code == 401
        for path in ("/changes", "/status", "/", "/metrics", "/openapi.json"):
            assert (await api.get(path, headers=reporter)).status_code == 403
        assert (await api.post("/login", data={"token": REPORTER})).status_code == 401


def change(url: str, *words: str) -> Result:
    return CliRunner().invoke(app, ["change", *words, "--api", url])


@pytest.mark.servers
def test_a_change_is_added_and_listed_from_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(TOKENS, east="happy", west="happy") as url:
        monkeypatch.setenv("COPILOT_TOKEN", REPORTER)
        added = change(url, "add", "checkout 1.4.2", "--cluster", "east", "--build", "b42", "--who", "ada")
        elsewhere = change(url, "add", "x", "--cluster", "north")
        listing = change(url, "list")
        monkeypatch.setenv("COPILOT_TOKEN", READER)
        listed, as_json = change(url, "list", "--within", "1h"), change(url, "list", "--cluster", "east", "--json")
    assert added.output == "Stored for east: checkout 1.4.2\n"
    assert "there is no cluster 'north'" in str(elsewhere.exception)
    assert "can only report changes" in str(listing.exception)
    assert listed.output.split("\n")[1].endswith("deploy          checkout 1.4.2 by ada (build b42)")
    assert "west  no changes" in listed.output
    assert json.loads(as_json.output)["changes"][0]["build"] == "b42"
