"""Alerts pushed to a real Alertmanager, and to replicas that fail."""

import asyncio
import contextlib
import json
import re
import subprocess
from collections.abc import AsyncIterator
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Any

import httpx
import pytest
from whenever import Instant

from copilot.embedded.ports import free_ports
from copilot.notify.alertmanager import LASTS_SEC, alerts
from copilot.notify.channels import channel
from copilot.notify.decide import Outcome
from copilot.notify.messages import Message
from copilot.settings.notify import NotifySettings
from tests.notify.lifetime import DELIVERED, Channel
from tests.notify.messages import a_message
from tests.notify.standin import StandIn, standing_in
from tests.sources.watched_frontend import process
from tests.test_tree import ROOT


def pushes_to(*urls: str) -> NotifySettings:
    return NotifySettings.model_validate({"name": "am", "kind": "alertmanager", "urls": urls})


@contextlib.asynccontextmanager
async def alertmanager(folder: Path, receiver: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    """An Alertmanager that notifies the receiver at once; a client of its API."""
    (port,) = free_ports(1)
    route = {"receiver": "here", "group_by": ["alertname", "cluster"], "group_wait": "1ms", "group_interval": "1s"}
    receivers = [{"name": "here", "webhook_configs": [{"url": receiver.url, "send_resolved": True}]}]
    config = folder / "alertmanager.yml"
    config.write_text(json.dumps({"route": route, "receivers": receivers}))
    argv = ("prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=")  # fmt: skip
    async with process(*argv), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get("/-/ready")).is_success:
                    break
            await asyncio.sleep(0.05)
        yield client


async def active(client: httpx.AsyncClient, cluster: str = "east") -> list[dict[str, Any]]:
    asked = {"filter": f'cluster="{cluster}"'}
    found: list[dict[str, Any]] = (await client.get("/api/v2/alerts", params=asked)).json()
    return found


async def notified(receiver: StandIn, *expected: tuple[str, str]) -> dict[str, Any]:
    """The first notification with these alerts (severity, status)."""
    while True:
        for posted in receiver.posted:
            if {(a["labels"]["severity"], a["status"]) for a in posted.json["alerts"]} == set(expected):
                found: dict[str, Any] = posted.json
                return found
        receiver.reached.clear()
        await asyncio.wait_for(receiver.reached.wait(), 60)


@pytest.mark.servers
@pytest.mark.needs_debian("prometheus-alertmanager")
async def test_an_incident_is_one_alert_at_a_time_that_can_be_silenced_and_ends_once(tmp_path: Path) -> None:
    async with standing_in() as receiver, alertmanager(tmp_path, receiver) as client:
        push = channel(pushes_to(str(client.base_url)))

        async def pushed(message: Message) -> Outcome:
            return (await push(message)).model_copy(update={"silences": None})

        assert await pushed(a_message("stressed")) == DELIVERED
        await notified(receiver, ("warning", "firing"))
        assert await pushed(a_message("critical", "worse", "stressed")) == DELIVERED
        assert await pushed(a_message("critical", "repeat", "critical")) == DELIVERED
        body = await notified(receiver, ("critical", "firing"), ("warning", "resolved"))
        assert body["groupLabels"] == {"alertname": "TemporalClusterUnhealthy", "cluster": "east"}
        (alert,) = await active(client)
        assert alert["labels"] == {"alertname": "TemporalClusterUnhealthy", "cluster": "east", "severity": "critical"}
        assert alert["startsAt"].startswith("2026-11-22T11:57:00")
        lasts = Instant.parse_iso(alert["endsAt"]) - Instant.now()
        assert 0 < lasts.total("seconds") <= LASTS_SEC
        about = alert["annotations"]
        assert (about["finding"], about["subject"]) == ("no_pollers", "orders")
        assert about["action"].startswith("Start workers for `orders`")
        assert about["runbook_url"] == "https://copilot.example.org/runbooks/no_pollers/page"
        assert alert["generatorURL"] == "https://copilot.example.org/?cluster=east"

        now = Instant.now()
        silence = {
            "matchers": [{"name": "cluster", "value": "east", "isRegex": False}],
            "startsAt": now.format_iso(), "endsAt": now.add(minutes=10).format_iso(),
            "createdBy": "me", "comment": "known",
        }  # fmt: skip
        made = (await client.post("/api/v2/silences", json=silence)).raise_for_status()
        assert await pushed(a_message("critical", "repeat", "critical")) == DELIVERED
        async with asyncio.timeout(60):
            while [a["status"]["state"] for a in await active(client)] != ["suppressed"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        (there,) = (await push(a_message("critical", "repeat", "critical"))).silences or ("none",)
        assert there == f"{client.base_url}/#/silences/{made.json()['silenceID']}"
        assert (await push(a_message("happy", "resolved", "critical"))).silences == ()
        assert await active(client) == []
        assert await pushed(a_message("happy", "test")) == DELIVERED
        assert [a["labels"]["severity"] for a in await active(client)] == ["info"]


@pytest.mark.needs_debian("prometheus-alertmanager")
def test_the_route_and_receiver_of_the_docs_are_a_valid_configuration(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(route:.*?)```", (ROOT / "docs/notifications.md").read_text(), re.DOTALL)
    config = tmp_path / "alertmanager.yml"
    config.write_text(text)
    checked = subprocess.run(["amtool", "check-config", config], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


async def test_every_replica_is_pushed_to_and_one_that_accepts_is_enough() -> None:
    (port,) = free_ports(1)
    dead = f"http://127.0.0.1:{port}"
    async with standing_in() as one, standing_in((503, {}, b"starting")) as other:
        outcome = await channel(pushes_to(f"{one.url}/am/", other.url, dead))(a_message())
        assert outcome.delivered
        assert outcome.why == "answered 503 Said: starting; 127.0.0.1 cannot be reached (connection refused)"
        assert [p.target for p in (*one.posted, *other.posted) if p.body] == ["/am/api/v2/alerts", "/api/v2/alerts"]
        both = await channel(pushes_to(other.url, dead))(a_message())
    assert (both.delivered, both.final, both.doubtful) == (False, False, True)
    async with standing_in((400, {}, b"bad")) as refusing:
        assert (await channel(pushes_to(refusing.url))(a_message())).final


def test_an_alert_has_no_empty_label_and_no_label_that_changes() -> None:
    (plain,) = alerts(a_message("unknown", public_url=None, findings=()), Instant.now())
    assert plain["labels"] == {"alertname": "TemporalClusterUnhealthy", "cluster": "east", "severity": "error"}
    assert "generatorURL" not in plain
    assert "" not in plain["annotations"].values()


def test_an_alert_is_pushed_again_each_minute_and_follows_every_change() -> None:
    states = [(0.0, "stressed"), (30.0, "critical"), (200.0, "stressed"), (210.0, "happy")]
    assert Channel(pushes_to("http://127.0.0.1:1")).run(states, 600).delivered == [
        (0, "firing", "stressed"), (30, "worse", "critical"), (90, "repeat", "critical"), (150, "repeat", "critical"),
        (200, "improved", "stressed"), (210, "resolved", "happy"),
    ]  # fmt: skip


def test_an_alertmanager_that_is_back_has_the_alert_within_a_minute() -> None:
    answers = chain(repeat(Outcome(delivered=False, why="down"), 10), repeat(DELIVERED))
    am = Channel(pushes_to("http://127.0.0.1:1"), lambda _: next(answers))
    am.run([(0.0, "critical")], 900)
    assert max(b[0] - a[0] for a, b in pairwise(am.attempts)) <= 60
    assert am.delivered[0][1] == "firing"
