"""Everything of ours is killed at once, and then Prometheus and Alertmanager too: somebody outside tells it each time.

Real `copilot up`, Prometheus with the alert rules of deploy/, and Alertmanager. The service that reports when posts
stop is a server of this test: it tells of a path that was silent for three intervals.
"""

import asyncio
import contextlib
import json
import re
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from copilot.api.heartbeat import EVERY_SEC
from copilot.embedded.ports import free_ports
from tests.fakes.http import read_request, response
from tests.fakes.serving import serving
from tests.folders import passable_folder
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import PrometheusServer, prometheus
from tests.test_tree import ROOT

pytestmark = [
    pytest.mark.servers,
    pytest.mark.alone,
    pytest.mark.long,
    pytest.mark.needs_debian("prometheus"),
    pytest.mark.needs_debian("prometheus-alertmanager"),
]
RULES = ROOT / "deploy" / "grafana" / "prometheus-rules.yaml"
FASTER = 20
"""Prometheus scrapes each second here, not each 15 or 30, so the rules' times are shortened too."""
WATCHDOG_SEC = 5.0
UNITS = {"s": 1, "m": 60, "h": 3600}


class Outside:
    """The service outside: what was posted to each path, and when last."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.alerts: list[dict[str, Any]] = []
        self.url = ""
        self._posted = asyncio.Condition()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            async with self._posted:
                self.last[request.path] = time.monotonic()
                if request.path == "/alerts":
                    self.alerts += json.loads(request.body)["alerts"]
                self._posted.notify_all()
            writer.write(response("200 OK", b""))
            await writer.drain()

    async def posted(self, path: str) -> None:
        """Wait until something came to this path."""
        async with self._posted:
            await self._posted.wait_for(lambda: path in self.last)

    def gone(self, cluster: str) -> bool:
        """Whether an alert says that nobody watches this cluster."""
        about = [a["labels"] for a in self.alerts if a["labels"].get("cluster") == cluster]
        return any((a["alertname"], a["severity"]) == ("CopilotGone", "critical") for a in about)

    async def told_of(self, cluster: str) -> None:
        """Wait for that alert."""
        async with self._posted:
            await self._posted.wait_for(lambda: self.gone(cluster))

    async def silent(self, path: str, interval_sec: float) -> None:
        """Wait until nothing came to this path for three intervals, which is the service's message."""
        while (left := self.last[path] + 3 * interval_sec - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    it = Outside()
    async with serving(it.answer) as port:
        it.url = f"http://127.0.0.1:{port}"
        yield it


@asynccontextmanager
async def started(log: Path, *argv: str) -> AsyncIterator[Process]:
    """A process of ours, killed with its children at the end."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        kill(process.pid)
        await process.wait()


def kill(*pids: int) -> None:
    """kill -9 of these and of all they started, the parents first: nobody is left to start anything again."""
    family = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def faster_rules(folder: Path) -> str:
    """deploy's rules, their times divided by FASTER."""

    def shorter(found: re.Match[str]) -> str:
        return f"{found[1]}{max(1, int(found[2]) * UNITS[found[3]] // FASTER)}s{found[4]}"

    text = re.sub(r"( for: |\[)(\d+)([smh])(\n|\])", shorter, RULES.read_text())
    assert text.count("15s") >= 2
    (folder / "rules.yaml").write_text(text)
    return str(folder / "rules.yaml")


def alertmanager(folder: Path, port: int, to: str) -> Sequence[str]:
    """The command of an Alertmanager that sends the Watchdog to a path of its own."""
    receivers = [
        {"name": name, "webhook_configs": [{"url": f"{to}/{name}", "send_resolved": False}]}
        for name in ("alerts", "watchdog")
    ]
    wait = {"group_wait": "1s", "group_interval": "1s"}
    route = {
        **{"receiver": "alerts", "group_by": ["..."], **wait},
        "routes": [
            {"receiver": "watchdog", "matchers": ["alertname=Watchdog"], "repeat_interval": f"{WATCHDOG_SEC:g}s"}
        ],
    }
    (folder / "alertmanager.yml").write_text(yaml.safe_dump({"route": route, "receivers": receivers}))
    return (
        "prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'am'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    )  # fmt: skip


def configuration(folder: Path, page: str, port: int, heartbeats: str) -> str:
    file = folder / "copilot.toml"
    file.write_text(f"""
data_dir = "{folder / "data"}"
[api]
port = {port}
[[clusters]]
name = "orders"
interval_sec = 5
metrics = [{{ url = "{page}", role = "server" }}]
[[notify]]
name = "outside"
kind = "heartbeat"
url = "{heartbeats}"
""")
    file.chmod(0o600)
    return str(file)


@pytest.mark.timeout(600)
async def test_whatever_of_ours_is_killed_a_message_comes_from_outside_within_three_intervals() -> None:
    port, to_alert = free_ports(2)
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(passable_folder())
        it = await stack.enter_async_context(outside())
        watched = await stack.enter_async_context(MetricsServer.start(recorded("server")))
        config = configuration(folder, watched.url, port, f"{it.url}/heartbeat")
        up = await stack.enter_async_context(
            started(folder / "up.log", sys.executable, "-m", "copilot", "up", "--config", config)
        )
        alerts = await stack.enter_async_context(
            started(folder / "alertmanager.log", *alertmanager(folder, to_alert, it.url))
        )
        server: PrometheusServer = await stack.enter_async_context(
            prometheus(
                folder,
                {"copilot": [f"127.0.0.1:{port}"]},
                rule_files=[faster_rules(folder)],
                alerting={"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{to_alert}"]}]}]},
            )
        )
        try:
            async with asyncio.timeout(240):
                await server.until('copilot_health_state{cluster="orders"}', patience_sec=200)
                await asyncio.gather(it.posted("/heartbeat"), it.posted("/watchdog"))
        except TimeoutError:
            print((folder / "up.log").read_text())
            raise
        assert not it.gone("orders")

        kill(up.pid)
        async with asyncio.timeout(3 * EVERY_SEC):
            await asyncio.gather(it.told_of("orders"), it.silent("/heartbeat", EVERY_SEC))
        assert it.last["/watchdog"] > it.last["/heartbeat"]

        kill(server.pid, alerts.pid)
        async with asyncio.timeout(3 * EVERY_SEC):
            await it.silent("/watchdog", WATCHDOG_SEC)
