"""`copilot demo` and `copilot fault`: what is refused, and what is left of a demo that is ended as it starts. A whole
demo: tests/e2e."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from copilot.embedded.data_folder import owned_folder
from tests.cli.forked import assert_refused, forked

COPILOT = (sys.executable, "-m", "copilot")


@pytest.fixture(autouse=True)
def own_list_of_demos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("demo", "--fault", "earthquake"), "there is no fault 'earthquake'; choose one of workers-down, "),
        (("demo", "--for", "ever"), "'ever' is not a duration: write 30s"),
        (("demo", "--interval", "1s"), "greater than or equal to 2"),
        (("demo", "--data-dir", "/dev/null/x"), "choose a folder that you can write to with --data-dir"),
        (("fault", "idle"), "no demo runs: start one with `copilot demo`"),
        (("fault", "earthquake"), "there is no fault 'earthquake'"),
        (("fault",), "name a fault"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(words: tuple[str, ...], why: str) -> None:
    assert_refused(forked(*words), why)


def test_the_faults_are_listed_without_a_demo() -> None:
    rows = json.loads(forked("fault", "--list", "--json").stdout)
    assert {"name": "workers-down", "what": "both workers are killed and stay down", "active": False} in rows


def family(pid: int) -> list[psutil.Process]:
    me = psutil.Process(pid)
    return [me, *me.children(recursive=True)]


def end(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are still there after a minute."""
    return psutil.wait_procs(processes, timeout=60)[1]


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COPILOT, "demo", "--interval", "5s", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        yield demo
        demo.kill()


@pytest.mark.servers
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_ended_while_it_starts_leaves_no_process(
    running: subprocess.Popen[str], by: signal.Signals
) -> None:
    assert running.stderr is not None
    assert any("watched-server is ready" in line for line in running.stderr)
    processes = family(running.pid)
    running.send_signal(by)
    assert running.wait(60) == (0 if by is signal.SIGTERM else -by)
    assert end(processes) == []
    with owned_folder(None):
        """The next demo removes what is left of a killed one."""
