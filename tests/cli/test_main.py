"""The command line as a person or a script sees it."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from copilot.cli.main import COMMANDS, app, load
from copilot.rules.signals.readings import RecordingHeader
from tests.cli.forked import assert_refused, forked
from tests.evaluations import NOON, signals, write_recording


def commands(command: Any, *names: str) -> Iterator[str]:
    """All commands below a group, as they are typed."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(names)
        return
    for name, inner in below.items():
        yield from commands(inner, *names, name)


UNREACHABLE = 'api.port = 1\n[store]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n'
CLUSTER = '[[clusters]]\nmetrics = [{ url = "http://127.0.0.1:1/metrics", role = "server" }]\n'


def copilot(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return forked(*words, folder=folder, env={"COLUMNS": "200"})


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    header = RecordingHeader(cluster="night", interval_sec=30, window_sec=60, sources=("metrics",), taxonomy="1")
    write_recording(tmp_path / "r.jsonl.gz", header, [signals(NOON.add(seconds=30 * n)) for n in range(3)])
    return tmp_path / "r.jsonl.gz"


@pytest.mark.parametrize("command", list(commands(get_command(app))))
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"])
    assert shown.exit_code == 0
    assert f"Example: copilot {command}" in " ".join(shown.output.replace("│", " ").split())


def test_the_line_of_each_command_in_the_help_begins_as_its_own_help_does() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for name, (_, line) in COMMANDS.items():
        assert f"  {name} " in shown
        assert load(name).help.replace("\n", " ").startswith(re.split(r"[.,:(]", line)[0].rstrip()), name


def test_the_configuration_in_a_help_can_be_copied() -> None:
    shown = CliRunner().invoke(app, ["up", "--help"]).output
    assert '  [[clusters]]\n  name = "production"\n' in shown
    assert "a [temporal] address" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("words", "config", "why"),
    [
        (("status",), UNREACHABLE, "does `copilot api` run there?"),
        (("worker",), "", "no cluster is configured"),
        (("worker",), CLUSTER, "store.url is not set"),
        (("start",), "", "no cluster is configured"),
        (("start",), CLUSTER, "temporal.address is not set, and no `copilot up` runs in"),
        (("api",), CLUSTER, "store.url is not set"),
        (("up",), "", "no cluster is configured"),
        (("doctor",), "", "no cluster is configured"),
        (("doctor", "--cluster", "east"), CLUSTER, "no cluster is named east; there is default"),
        (("doctor", "--record", "r.jsonl"), CLUSTER, "--record needs --for"),
        (("doctor", "--record", "r.jsonl", "--for", "soon"), CLUSTER, "'soon' is not a duration"),
        (("doctor", "--record", "r.jsonl", "--for", "5s", "--interval", "1s"), CLUSTER, "--interval 1s cannot be used"),
        (("doctor", "--record", "no/r.jsonl", "--for", "5s"), CLUSTER, "no/r.jsonl cannot be written: No such file"),
        (("doctor", "--record", "copilot.toml", "--for", "5s"), CLUSTER, "copilot.toml exists already"),
        (("db", "setup-schema"), "", "store.url is not set"),
        (("db", "check-connection"), "", "store.url is not set"),
        (("db", "check-connection"), '[store]\nurl = "dsql://db.example.org"\n', "not an Aurora DSQL endpoint"),
        (("db", "prune"), UNREACHABLE, "127.0.0.1:1/none cannot be used"),
        (("db", "prune", "--older-than", "7"), UNREACHABLE, "--older-than 7 has no unit"),
        (("db", "list-tables"), UNREACHABLE, "127.0.0.1:1/none cannot be used"),
        (("status",), "nonsense = 1", "nonsense: Extra inputs"),
        (("notify", "test"), CLUSTER, "no channel is configured"),
        (("notify", "list"), "", "no channel is configured"),
        (("kb", "sync"), "", "knowledge.bucket is not set"),
        (("kb", "list-jobs"), "", "knowledge.data_source_id are not set"),
        (("kb", "start-ingestion"), "", "knowledge.data_source_id are not set"),
        (("kb", "search", "x"), 'knowledge.folder = "none"', "none cannot be read: No such file"),
        (("replay", "--recording", "absent.jsonl"), "", "absent.jsonl cannot be read: No such file"),
        (("status", "--config", "none.toml"), "", "none.toml cannot be read: No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_run_is_one_line_and_exit_2(tmp_path: Path, words: tuple[str, ...], config: str, why: str) -> None:
    (tmp_path / "copilot.toml").write_text(config, encoding="utf-8")
    assert_refused(copilot(*words, folder=tmp_path), why)


def test_replay_prints_one_object_per_tick(recording: Path) -> None:
    done = copilot("replay", "--recording", str(recording), "--format", "jsonl", folder=recording.parent)
    assert done.stderr == ""
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [s["time"] for s in said] == ["2026-11-22T12:00:00Z", "2026-11-22T12:00:30Z", "2026-11-22T12:01:00Z"]
    assert set(said[0]) == {"time", "health_state", "stale", "coverage", "bottleneck", "fired_gates", "top_factor",
                            "readings"}  # fmt: skip


def test_replay_ends_quietly_when_its_reader_closes_the_pipe(recording: Path) -> None:
    command = f"'{sys.executable}' -m copilot replay --recording '{recording}' | head -n 0"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_help_does_not_import_what_it_does_not_need() -> None:
    heavy = ("temporalio", "fastapi", "asyncpg", "httpx", "pydantic", "rich")
    code = f"import sys, copilot.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


async def test_a_worker_that_waits_for_its_temporal_ends_on_sigterm(tmp_path: Path) -> None:
    (tmp_path / "copilot.toml").write_text('temporal.address = "127.0.0.1:1"\n' + UNREACHABLE + CLUSTER)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "copilot", "worker"), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    async with asyncio.timeout(60):
        assert b"waiting for Temporal" in await worker.stdout.readline()
        worker.send_signal(signal.SIGTERM)
        await worker.communicate()
    assert worker.returncode == 0
