"""`copilot up` over a real, idle cluster: what it starts, what a killed worker costs, and that nothing stays behind."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from copilot.embedded.ports import free_ports
from copilot.embedded.supervisor import Supervisor
from copilot.embedded.temporal import DevServer
from tests.cli.forked import forked
from tests.folders import passable_folder

pytestmark = [pytest.mark.servers, pytest.mark.alone]


@pytest.fixture
def folder() -> Iterator[Path]:
    with passable_folder() as made:
        yield made


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[DevServer]:
    async with Supervisor(tmp_path, lambda _: None) as supervisor:
        server = DevServer("watched", tmp_path / "watched.sqlite", *free_ports(3))
        await supervisor.start(server.child({}))
        yield server


async def until(ask: Callable[[], Any], within: float = 60) -> Any:
    """Ask until the answer is not None; the API may not be there yet."""
    async with asyncio.timeout(within):
        while True:
            try:
                if (answer := ask()) is not None:
                    return answer
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)


def child_of(pid: int, *words: str) -> psutil.Process:
    """The child whose first arguments these are."""
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if child.cmdline()[1 : 1 + len(words)] == list(words):
                return child
    raise AssertionError(f"no child runs {words}")


async def test_a_killed_worker_and_a_lost_database_cost_a_few_ticks_and_stopping_leaves_nothing(
    folder: Path, watched: DevServer
) -> None:
    (port,) = free_ports(1)
    config = folder / "copilot.toml"
    config.write_text(
        f"""
[api]
port = {port}
[[clusters]]
name = "idle"
interval_sec = 2
window_sec = 10
metrics = [{{ url = "{watched.metrics_url}", role = "server" }}]
[clusters.temporal]
address = "{watched.address}"
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "copilot", "up", "--config", str(config), "--data-dir", str(folder / "data")]
    up = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as api:

            def status(after: float = 0) -> dict[str, Any] | None:
                said: dict[str, Any] = api.get("/status").json()
                return said if said["evaluation_id"] and int(said["evaluation_id"][5:]) > after else None

            assert (await until(status))["cluster"] == "idle"
            assert (await until(lambda: ((s := status()) and s["health_state"] == "happy") or None)) is True

            killed = time.time()
            child_of(up.pid, "-m", "copilot", "worker").kill()
            fresh = await until(lambda: status(after=killed + 1), within=30)
            assert fresh["health_state"] == "happy"

            for file in (folder / "data").glob("copilot.sqlite*"):
                file.unlink()
            lost = time.time()
            child_of(up.pid, "server", "start-dev").kill()
            fresh = await until(lambda: status(after=lost + 1), within=30)
            print("again after", time.time() - lost)
            assert fresh["health_state"] == "happy"
            await until(lambda: ((s := status()) and s["degraded_because"] is None) or None)

            def timeline() -> list[dict[str, Any]]:
                points: list[dict[str, Any]] = api.get("/status/timeline").json()["timeline"]
                return points

            points = await until(lambda: p if len(p := timeline()) >= 4 else None)
            times = [p["timestamp"] for p in points]
            assert times == sorted(set(times))

        for words in (["status", "--loops", "--json"], ["start", "--json"], ["db", "list-tables", "--json"]):
            beside = forked(*words, "--config", str(config), env={"COPILOT_DATA_DIR": str(folder / "data")})
            assert (beside.returncode, bool(beside.stdout)) == (0, True), words

        second = forked("up", "--config", str(config), "--data-dir", str(folder / "data"))
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr.startswith(f"copilot: another `copilot up` runs in {folder / 'data'}: stop it")

        family = psutil.Process(up.pid).children(recursive=True)
        assert len(family) >= 4
        up.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(up.wait(), 20) == 0
        assert psutil.wait_procs(family, timeout=10)[1] == []
        assert not (folder / "data" / "up.json").exists()
    finally:
        if up.returncode is None:
            up.kill()
            await up.wait()
        assert up.stdout is not None
        print((await up.stdout.read()).decode())
