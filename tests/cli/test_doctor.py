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


async def started(folder: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "copilot", "doctor", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment(folder),
    )


async def doctor(folder: Path, *words: str) -> tuple[int | None, str, str]:
    done = await asyncio.to_thread(forked, "doctor", *words, folder=folder, env=environment(folder))
    return done.returncode, done.stdout, done.stderr


def configured(folder: Path, url: str) -> Path:
    file = folder / "copilot.toml"
    endpoint = f'{{ url = "{url}", role = "server" }}'
    file.write_text(f'[[clusters]]\nname = "night"\ninterval_sec = 2\nmetrics = [{endpoint}]\n', encoding="utf-8")
    return file


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
    assert (code, err) == (0, "no copilot.toml here: using the demo at http://127.0.0.1:1\n")
    assert "night: a verdict can be trusted" in out


async def test_a_recording_ended_by_ctrl_c_is_kept_and_can_be_replayed(tmp_path: Path, server: MetricsServer) -> None:
    configured(tmp_path, server.url)
    process = await started(tmp_path, "--record", "r.jsonl.gz", "--for", "10m")
    assert process.stderr is not None
    lines = [(await asyncio.wait_for(process.stderr.readline(), 30)).decode() for _ in range(3)]
    assert lines[0].startswith("recording to r.jsonl.gz for 600 s")
    assert "tick 2: " in lines[2]
    process.send_signal(signal.SIGINT)
    rest = (await asyncio.wait_for(process.communicate(), 20))[1].decode()
    assert process.returncode == 0
    assert rest.splitlines()[-1].startswith("r.jsonl.gz has ")
    header, ticks = read_recording(tmp_path / "r.jsonl.gz")
    assert (header.cluster, header.interval_sec, header.sources) == ("night", 2.0, ("metrics",))
    assert len(list(ticks)) >= 2
    replayed = CliRunner().invoke(app, ["replay", "--recording", str(tmp_path / "r.jsonl.gz")])
    assert json.loads(replayed.output.splitlines()[0])["health_state"] == "happy"


async def test_a_recording_whose_writer_was_killed_is_read_to_its_last_whole_line(
    tmp_path: Path, server: MetricsServer
) -> None:
    name = "r.jsonl.gz"
    configured(tmp_path, server.url)
    process = await started(tmp_path, "--record", name, "--for", "10m")
    assert process.stderr is not None
    lines = [(await asyncio.wait_for(process.stderr.readline(), 30)).decode() for _ in range(3)]
    assert "tick 2: " in lines[2]
    process.kill()
    await process.wait()
    whole = [t.time for t in read_recording(tmp_path / name)[1]]
    assert len(whole) == 2
    bitten = tmp_path / f"bitten-{name}"
    bitten.write_bytes((tmp_path / name).read_bytes()[:-20])
    replayed = forked("replay", "--recording", str(bitten))
    assert replayed.returncode == 0
    assert [json.loads(line)["time"] for line in replayed.stdout.splitlines()] == [whole[0].format_iso()]
    assert "is cut off: reading its 2 complete lines" in replayed.stderr
