"""`copilot doctor` as a person or a script sees it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from copilot.cli.main import app
from copilot.embedded.data_folder import owned_folder
from copilot.sources.recorded import read_recording
from tests.cli.forked import forked
from tests.local.test_data_folder import described
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer


@pytest.fixture
async def server() -> AsyncIterator[MetricsServer]:
    async with MetricsServer.start(recorded("server")) as started:
        yield started


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "XDG_RUNTIME_DIR": str(folder / "run")}


async def doctor(folder: Path, *words: str) -> tuple[int | None, str, str]:
    done = await asyncio.to_thread(forked, "doctor", *words, folder=folder, env=environment(folder))
    return done.returncode, done.stdout, done.stderr


def configured(folder: Path, url: str, interval_sec: int = 30) -> None:
    endpoint = f'{{ url = "{url}", role = "server" }}'
    text = f'[[clusters]]\nname = "night"\ninterval_sec = {interval_sec}\nmetrics = [{endpoint}]\n'
    (folder / "copilot.toml").write_text(text, encoding="utf-8")


async def test_a_cluster_that_can_be_judged_is_exit_0(tmp_path: Path, server: MetricsServer) -> None:
    configured(tmp_path, server.url)
    code, out, err = await doctor(tmp_path, "--quick")
    assert (code, err) == (0, "")
    assert "Primary signals: coverage 1.00" in out
    assert "not configured: `copilot up` starts one" in out
    assert out.rstrip().endswith("night: a verdict can be trusted")


async def test_a_cluster_that_cannot_is_exit_1_and_says_why(tmp_path: Path, server: MetricsServer) -> None:
    configured(tmp_path, server.url)
    server.status = "403 Forbidden"
    code, out, err = await doctor(tmp_path, "--quick", "--json")
    assert (code, err) == (1, "")
    said = json.loads(out)
    assert said["fine"] is False
    (cluster,) = said["clusters"]
    assert cluster["distrust"][0].endswith("HTTP 403 Forbidden")
    row = next(s for s in cluster["signals"] if s["id"] == "demand.starts_per_sec")
    assert (row["status"], row["value"], row["code"]) == ("missing", None, "forbidden")


async def test_without_a_configuration_it_says_what_to_do(tmp_path: Path) -> None:
    code, out, err = await doctor(tmp_path)
    assert (code, out) == (2, "")
    assert err == "copilot: no ./copilot.toml and no running demo: use --config PATH, or start `copilot demo`\n"


async def test_without_a_configuration_it_finds_the_demo_that_runs(
    tmp_path: Path, server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    with owned_folder(tmp_path / "demo") as folder:
        configured(folder, server.url)
        described(folder).write()
        code, out, err = await doctor(tmp_path, "--quick")
    assert (code, err) == (0, "no copilot.toml here: using the demo at http://127.0.0.1:1\n"), out
    assert "night: a verdict can be trusted" in out


async def recording(folder: Path, name: str) -> asyncio.subprocess.Process:
    """A process that records, and has written two ticks."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "copilot", "doctor", "--record", name, "--for", "10m"),
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment(folder),
    )
    assert process.stderr is not None
    lines = [(await asyncio.wait_for(process.stderr.readline(), 60)).decode() for _ in range(3)]
    assert lines[0].startswith(f"recording to {name} for 600 s")
    assert "tick 2: " in lines[2]
    return process


async def test_a_recording_survives_ctrl_c_and_a_kill(tmp_path: Path, server: MetricsServer) -> None:
    configured(tmp_path, server.url, interval_sec=2)
    interrupted, killed = await asyncio.gather(recording(tmp_path, "r.jsonl.gz"), recording(tmp_path, "k.jsonl.gz"))
    killed.kill()
    interrupted.send_signal(signal.SIGINT)
    rest = (await asyncio.wait_for(interrupted.communicate(), 60))[1].decode()
    assert interrupted.returncode == 0
    assert rest.splitlines()[-1].startswith("r.jsonl.gz has ")
    header, ticks = read_recording(tmp_path / "r.jsonl.gz")
    assert (header.cluster, header.interval_sec, header.sources) == ("night", 2.0, ("metrics",))
    assert len(list(ticks)) >= 2
    replayed = CliRunner().invoke(app, ["replay", "--recording", str(tmp_path / "r.jsonl.gz")])
    assert json.loads(replayed.output.splitlines()[0])["health_state"] == "happy"

    await killed.communicate()
    whole = [t.time for t in read_recording(tmp_path / "k.jsonl.gz")[1]]
    assert len(whole) >= 2
    bitten = tmp_path / "bitten.jsonl.gz"
    bitten.write_bytes((tmp_path / "k.jsonl.gz").read_bytes()[:-20])
    cut = forked("replay", "--recording", str(bitten))
    assert cut.returncode == 0
    times = [json.loads(line)["time"] for line in cut.stdout.splitlines()]
    assert times == [time.format_iso() for time in whole[:-1]]
    assert f"is cut off: reading its {len(whole)} complete lines" in cut.stderr
