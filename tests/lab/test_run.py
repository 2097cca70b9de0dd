"""A real run with tiny phases, and one that is ended early."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from copilot.sources.recorded import read_recording
from lab.recorded_run import Taken
from lab.run import LiveEvaluation, Phases, Show, run_scenario
from lab.scenarios import SCENARIOS

pytestmark = pytest.mark.servers

TINY = Phases(interval_sec=2.0, warm_sec=4.0, before_sec=6.0, fault_sec=10.0, after_sec=4.0)


class Shown(Show):
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.evaluations: list[LiveEvaluation] = []

    def event(self, scenario: str, text: str) -> None:
        self.events.append(f"{scenario}: {text}")

    def evaluation(self, live: LiveEvaluation) -> None:
        self.evaluations.append(live)


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def children() -> set[psutil.Process]:
    """The processes of this one, servers that other tests share among them; without a browser, which begins new ones
    when it likes."""
    every = psutil.Process().children(recursive=True)
    return {p for p in every if p.is_running() and "chrom" not in p.name()}


@pytest.mark.alone
async def test_a_run_injects_and_clears_the_fault_and_leaves_a_recording_with_its_marks(tmp_path: Path) -> None:
    shown, before = Shown(), children()
    await run_scenario(SCENARIOS["half-the-workers"], tmp_path, shown, TINY)

    assert files(tmp_path) == ["half-the-workers.json", "half-the-workers.jsonl.gz"]
    header, ticks = read_recording(tmp_path / "half-the-workers.jsonl.gz")
    recorded = list(ticks)
    taken = Taken.model_validate_json((tmp_path / "half-the-workers.json").read_bytes())
    assert (header.cluster, header.interval_sec, taken.scenario) == ("half-the-workers", 2.0, "half-the-workers")
    assert len(recorded) == len(shown.evaluations)
    assert taken.marks.before <= recorded[0].time < taken.marks.fault < taken.marks.after < recorded[-1].time
    assert recorded[-1].time < taken.marks.end
    assert {t.targets["worker"] for t in recorded if t.time < taken.marks.fault} == {2}
    assert 1 in [t.targets["worker"] for t in recorded if taken.marks.fault < t.time < taken.marks.after]
    assert set(taken.machine) == {"cpus", "python", "temporal_server"}
    phases = [t.phase for t in shown.evaluations]
    assert list(dict.fromkeys(phases)) == ["before", "fault", "after"]
    assert phases == sorted(phases, key=["before", "fault", "after"].index)
    assert "half-the-workers: worker-2 is killed and stays down" in shown.events
    assert children() <= before


def test_ctrl_c_ends_a_run_of_the_command_with_nothing_left(tmp_path: Path) -> None:
    words = (sys.executable, "-m", "copilot", "lab", "run", "healthy", "--json", "--out", str(tmp_path / "out"))
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as process:
        assert process.stderr is not None
        assert any("load is ready" in line for line in process.stderr)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert list(tmp_path.iterdir()) == []
