"""Mutes are made, listed, ended and refused: over the API, by the page's form and from the shell."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from copilot.api.auth import new_token, token_hash
from copilot.api.deps import Deps
from copilot.cli.main import app
from copilot.settings.api import ApiSettings
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, away_store, deps
from tests.cli.test_status import served
from tests.evaluations import NOON, evaluation

TOKEN, VIEWER = new_token(), new_token()
TOKENS = ApiSettings.model_validate(
    {"tokens": {"ada": {"hash": token_hash(TOKEN), "role": "operator"}, "eve": token_hash(VIEWER)}}
)
SOON = NOON.add(hours=2).format_iso()
SILENCE = {"cluster": "default", "end": SOON, "reason": "known"}


def watching(state: str = "critical", clock: Clock | None = None) -> Deps:
    loop = ToldLoop()
    loop.tell(evaluation(state))
    return deps(loop, clock=clock, clusters=("default", "quiet"))


async def test_a_silence_is_listed_and_shown_until_it_ends_with_who_made_it_and_from_where() -> None:
    clock = Clock()
    async with client(watching(clock=clock), TOKENS) as api:
        api.headers["authorization"] = f"Bearer {TOKEN}"
        named = {**SILENCE, "finding": "no_pollers", "reason": "see https://me:hunter2secret@ci.example\n"}
        made = (await api.post("/silences", json=named)).json()
        assert (made["state"], made["matches_now"], made["note"], made["owner"]) == ("active", True, "", "ada")
        assert "hunter2secret" not in made["reason"]
        (listed,) = (await api.get("/silences?cluster=default")).json()["silences"]
        assert listed == made
        (act,) = listed["acts"]
        assert (act["kind"], act["who"], act["origin"].startswith("127.0.0.1, python-httpx")) == (
            "created",
            "ada",
            True,
        )
        muted = (await api.get("/status?cluster=default")).json()["muted"]
        assert muted["sentence"].startswith("Muted until 2026-11-22 14:00 UTC (silenced), by ada, because: see https")
        assert (await api.get("/status?cluster=quiet")).json()["muted"] is None
        page = (await api.get("/?cluster=default", headers={"accept": "text/html"})).text
        viewed = await api.get("/?cluster=default", headers={"authorization": f"Bearer {VIEWER}"})
        assert muted["sentence"] in page
        assert muted["sentence"] in viewed.text
        assert ["End it" in text for text in (page, viewed.text)] == [True, False]
        refused = await api.post("/acks", json={"cluster": "default"}, headers={"authorization": f"Bearer {VIEWER}"})
        assert refused.status_code == 403
        ended = [(await api.post(f"/silences/{made['id']}/end")).json() for _ in range(2)]
        assert ended[0] == ended[1]
        assert (ended[0]["state"], ended[0]["ended_because"]) == ("over", "ended by ada")
        assert (await api.get("/status?cluster=default")).json()["muted"] is None
        assert (await api.get("/silences?cluster=default")).json()["silences"] == []
        clock.now = NOON.add(hours=3)
        (past,) = (await api.get("/silences?cluster=default&all=true")).json()["silences"]
        assert [a["kind"] for a in past["acts"]] == ["created", "ended"]


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"end": None}, 422, "say when it ends"),
        ({"end": NOON.subtract(hours=1).format_iso()}, 422, "in the past"),
        ({"end": NOON.add(hours=31 * 24).format_iso()}, 422, "more than 30 days"),
        ({"end": SOON, "start": NOON.add(hours=3).format_iso()}, 422, "ends before it starts"),
        ({"end": "soon"}, 422, "not a valid time"),
        ({"reason": None}, 422, "string"),
        ({"reason": " "}, 422, "give a reason"),
        ({"finding": "no_polers"}, 422, "there is no finding 'no_polers'"),
        ({"weekly": True}, 422, "only weekly maintenance"),
        ({"kind": "maintenance", "weekly": True, "zone": "Mars"}, 422, "no time zone"),
        ({"cluster": "north"}, 404, "no cluster 'north'"),
        ({"cluster": None}, 422, "cluster is required: default, quiet"),
        ({"secret": 1}, 422, "not permitted"),
    ],
)
async def test_a_silence_that_is_none_is_refused_in_one_line(given: dict[str, Any], status: int, said: str) -> None:
    async with client(watching()) as api:
        answer = await api.post("/silences", json={**SILENCE, **given})
        assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True), answer.text
        assert (await api.post("/silences", json={"end": SOON})).json()["error"]["message"] == "reason is required"
        assert (await api.post("/silences", content=b"{}")).status_code == 415
        assert (await api.post("/silences/none/end")).status_code == 404
        assert (await api.get("/silences?cluster=default")).json()["silences"] == []


async def test_a_matcher_that_matches_nothing_is_accepted_and_said() -> None:
    async with client(watching("happy")) as api:
        made = await api.post("/silences", json={**SILENCE, "finding": "no_pollers", "task_queue": "orders"})
        assert (made.status_code, made.json()["matches_now"]) == (201, False)
        assert "matches nothing" in made.json()["note"]
        weekly = {
            **SILENCE,
            "kind": "maintenance",
            "start": SOON,
            "end": NOON.add(hours=3).format_iso(),
            "weekly": True,
        }
        planned = (await api.post("/silences", json=weekly)).json()
        assert (planned["state"], planned["until"][:10], planned["breaks_when_worse"]) == (
            "pending",
            "2027-02-14",
            False,
        )
        assert (await api.get("/status?cluster=default")).json()["muted"] is None


async def test_the_open_incident_is_acknowledged_and_no_other() -> None:
    at_noon, there = watching(), "http://am:9093/#/silences/1"
    await at_noon.store.save_inspection("default", "alertmanager", NOON, {"links": [there]})
    async with client(at_noon) as api:
        assert (await api.get("/silences?cluster=default")).json()["alertmanager"] == [there]
        assert there in (await api.get("/?cluster=default", headers={"accept": "text/html"})).text
        unknown = await api.post("/acks", json={"incident": "default:1"})
        assert (unknown.status_code, "not the open incident" in unknown.text) == (409, True)
        acked = (await api.post("/acks", json={"cluster": "default"})).json()
        assert (acked["kind"], acked["end"], acked["owner"]) == (
            "ack", NOON.add(hours=4).format_iso(), "someone on this machine",
        )  # fmt: skip
        quiet = await api.post("/acks", json={"cluster": "default", "end": "2026-11-21"})
        assert (quiet.status_code, "in the past" in quiet.text) == (422, True)
    async with client(watching("happy")) as api:
        assert (await api.post("/acks", json={"cluster": "default"})).status_code == 409


async def test_the_pages_form_works_without_scripts_and_for_no_other_origin() -> None:
    async with client(watching()) as api:
        form = {"cluster": "default", "what": "silence", "finding": "no_pollers", "for": "4h", "reason": "known"}
        made = await api.post("/mute", data=form)
        assert (made.status_code, made.headers["location"]) == (303, "/?cluster=default#muted")
        await api.post("/mute", data={**form, "what": "ack"})
        foreign = await api.post("/mute", data=form, headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403
        assert (await api.post("/mute", data={**form, "for": "ever"})).status_code == 422
        found = (await api.get("/silences?cluster=default")).json()["silences"]
        assert {m["kind"] for m in found} == {"ack", "silence"}
        for mute in found:
            await api.post("/mute", data={"end": mute["id"]})
        assert (await api.get("/silences?cluster=default")).json()["silences"] == []


async def test_a_store_that_is_down_is_named() -> None:
    loop = ToldLoop()
    loop.tell(evaluation("critical"))
    async with client(deps(loop, store=away_store())) as api:
        assert (await api.post("/silences", json=SILENCE)).status_code == 503
        assert (await api.get("/silences")).json()["degraded"]


def run(url: str, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--api", url])


@pytest.mark.servers
def test_mutes_are_made_listed_and_ended_from_the_shell() -> None:
    with served(east="critical", west="happy") as url:
        wanted = ("--finding", "no_pollers", "--for", "2h", "--reason", "rollout", "--cluster", "east")
        made = json.loads(run(url, "silence", "add", *wanted, "--json").output)
        acked = run(url, "ack", "--cluster", "east", "--reason", "on it")
        window = (
            "--from",
            "2099-12-05T22:00:00Z",
            "--for",
            "2h",
            "--weekly",
            "--reason",
            "upgrade",
            "--cluster",
            "west",
        )
        planned = run(url, "maintenance", "add", *window)
        endless = run(url, "silence", "add", "--for", "31d", "--reason", "x", "--cluster", "east")
        none = run(url, "ack", "--cluster", "west")
        listed, status = run(url, "silence", "list"), run(url, "status", "--cluster", "east")
        ended = run(url, "silence", "end", made["id"])
        every = json.loads(run(url, "silence", "list", "--all", "--cluster", "east", "--json").output)
    assert "active   east: everything, until" in acked.output
    assert "by someone on this machine: on it" in acked.output
    assert ("pending" in planned.output, "weekly until" in planned.output) == (True, True)
    assert "more than 30 days" in str(endless.exception)
    assert "west is happy" in str(none.exception)
    assert made["id"] in listed.output
    assert "west\n  maintenance-" in listed.output
    assert "Muted until" in status.output
    assert "ended by someone on this machine" in ended.output
    assert {m["state"] for m in every["silences"]} == {"over", "active"}
