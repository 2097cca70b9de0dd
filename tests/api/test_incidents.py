"""Incidents as the stored verdicts show them, over the API."""

import re

import pytest

from copilot.rules.model import BottleneckClassification, ReportedState
from copilot.rules.signals.change import Change
from copilot.store.base import TimelinePoint
from copilot.store.incidents import incidents
from tests.api.conftest import client
from tests.api.standin import deps
from tests.evaluations import NOON
from tests.web.stories import lived, story

LETTERS = {state.value[0]: state for state in ReportedState}


def minutes(states: str, cause: str = "no_pollers") -> list[TimelinePoint]:
    """A point a minute from NOON on, by the first letter of its state; a space is a minute without one."""
    return [
        TimelinePoint(
            NOON.add(minutes=n), LETTERS[letter], stale=False, bottleneck=BottleneckClassification.WORKER_LIMITED,
            top_factor=None if letter == "h" else cause,
        )
        for n, letter in enumerate(states)
        if letter != " "
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param("hhhh", [], id="nothing happened"),
        pytest.param("uuhh", [], id="before the first verdict"),
        pytest.param("uusc", [(2, None, "critical", True)], id="ill from the first verdict on"),
        pytest.param("hsch", [(1, 3, "critical", False)], id="one"),
        pytest.param("hshhsh", [(1, 5, "stressed", False)], id="it came back within ten minutes"),
        pytest.param("hsh" + 12 * "h" + "sch",
                     [(15, 17, "critical", False), (1, 2, "stressed", False)], id="two, the newest first"),
        pytest.param("hsu", [(1, None, "unknown", False)], id="blind in the middle and open"),
    ],
)  # fmt: skip
def test_an_incident_lasts_from_leaving_happy_to_happy_again(
    states: str, expected: list[tuple[int, int | None, str, bool]]
) -> None:
    found = [
        (
            (i.began - NOON).total("minutes"),
            (i.ended - NOON).total("minutes") if i.ended else None,
            i.worst.value,
            i.cut,
        )
        for i in incidents("east", minutes(states))
    ]
    assert found == expected


def test_an_incident_has_its_states_the_causes_in_their_order_and_the_cause_at_its_worst() -> None:
    (found,) = incidents("east", [*minutes("hs", "worker_slow"), *minutes("  cccsh")])
    assert found.id == f"east:{NOON.add(minutes=1).timestamp()}"
    assert [s.health_state for s in found.states] == ["stressed", "critical", "stressed", "happy"]
    assert [c.finding for c in found.causes] == ["worker_slow", "no_pollers"]
    assert (found.cause, found.worst_at) == ("no_pollers", NOON.add(minutes=2))


async def test_incidents_are_listed_shown_with_evidence_and_exported() -> None:
    known = await story("critical")
    deploy = Change(
        cluster="default", at=NOON.subtract(minutes=12), kind="deploy", text="orders 1.4.2", task_queue="orders"
    )
    await known.store.save_changes([deploy])
    async with client(known) as api:
        listed = (await api.get("/incidents")).json()
        newest, past = listed["incidents"]
        assert (newest["ended"], newest["worst"], newest["cause"]) == (None, "critical", "no_pollers")
        assert past["ended"] is not None
        assert [s["health_state"] for s in past["states"]][-1] == "happy"
        assert (await api.get("/incidents?limit=1")).json()["incidents"] == [newest]
        shown = (await api.get(f"/incidents/{newest['id']}")).json()
        assert {name: shown[name] for name in newest} == newest
        assert shown["findings"][0]["finding"] == "no_pollers"
        assert [i["id"] for i in shown["similar"]] == [past["id"]]
        assert [c["change"]["text"] for c in shown["changes"]] == ["orders 1.4.2"]
        text = shown["markdown"]
        assert re.search(r"^- \d+ min before: orders 1.4.2$", text, re.MULTILINE)
        assert text.startswith(f"# default: {shown['findings'][0]['title']}\n")
        assert "the cluster became critical" in text
        assert "Start workers for `orders`" in text
        assert f"`{past['id']}`" in text
        acked = await api.post("/acks", json={"reason": "restarting <workers>", "owner": "ada"})
        assert acked.status_code == 201
        address = f"/incidents/{newest['id']}"
        shown = (await api.get(address)).json()
        (entry,) = shown["log"]
        assert (entry["kind"], entry["who"], entry["text"]) == ("acknowledged", "ada", "restarting <workers>")
        assert "acknowledged ada: restarting <workers>" in shown["markdown"]
        noted = await api.post(f"{address}/notes", json={"text": "the token is password=hunter2-hunter2"})
        assert (noted.status_code, "hunter2" in noted.text) == (201, False)
        assert (await api.post(f"{address}/notes", json={"text": " "})).status_code == 422
        assert (await api.post("/incidents/default:1/notes", json={"text": "x"})).status_code == 404
        sent = await api.post(f"{address}/note", data={"text": "scaled to <0>"})
        assert (sent.status_code, sent.headers["location"]) == (
            303,
            f"/incidents/{newest['id'].replace(':', '%3A')}#log",
        )
        noted_text = [e["text"] for e in (await api.get(address)).json()["log"] if e["kind"] == "note"]
        assert noted_text[1:] == ["scaled to <0>"]
        assert "note someone on this machine: scaled to <0>" in (await api.get(address)).json()["markdown"]
        assert not [e for e in (await api.get(f"/incidents/{past['id']}")).json()["log"] if e["kind"] == "note"]
        html = {"accept": "text/html"}
        page = (await api.get(address, headers=html)).text
        assert "<b>acknowledged</b> ada: restarting &lt;workers&gt;" in page
        assert past["id"].replace(":", "%3A") in page
        assert "orders 1.4.2" in page
        assert 'class="stretch" data-state="critical"' in page
        assert newest["id"].replace(":", "%3A") in (await api.get("/incidents", headers=html)).text
        for wrong in ("default:1", "default", "west:1", "default:9999999999999999999"):
            answer = await api.get(f"/incidents/{wrong}")
            assert (answer.status_code, "code" in answer.json()["error"]) == (404, True)


async def test_incidents_are_those_of_the_cluster_and_of_the_range() -> None:
    store, loop, clock = await lived("happy", cluster="east")
    async with client(deps(loop, store, clock, clusters=("east", "west"))) as api:
        assert (await api.get("/incidents")).status_code == 422
        (one,) = (await api.get("/incidents?cluster=east")).json()["incidents"]
        assert (await api.get("/incidents?cluster=west")).json()["incidents"] == []
        inside = f"/incidents?cluster=east&start={one['worst_at']}"
        assert (await api.get(inside)).json()["incidents"][0]["cut"]
        assert (await api.get(f"/incidents?cluster=east&start={one['ended']}")).json()["incidents"] == []
