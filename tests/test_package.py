"""What the wheel holds: an installed Copilot finds its runbooks without the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from copilot.sources.runbooks import files

ROOT = Path(__file__).resolve().parents[1]
ASK = """
import asyncio, copilot
from copilot.sources.runbooks import LocalKnowledge, files, runbook
first = asyncio.run(LocalKnowledge().retrieve("no pollers on task queue orders")).passages[0]
print(copilot.__file__, len(files()), runbook("no_pollers").name, first.source, sep="\\n")
"""


def test_the_wheel_has_the_runbooks_and_finds_them(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    wheel = next(tmp_path.glob("*.whl"))
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    place, count, name, source = done.stdout.splitlines()
    assert Path(place).is_relative_to(installed)
    assert (int(count), name) == (len(files()), "no_pollers")
    assert source.startswith("no_pollers.md#")
