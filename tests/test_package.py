"""What is released: the sdist has all that a wheel is made of; an installed Copilot finds its runbooks without the
repository, is a module, completes its commands, and says the one version there is."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from copilot import __version__
from copilot.sources.knowledge.runbooks import files
from tests.test_tree import ROOT, tracked

NAME = f"temporal_sre_copilot-{__version__}"
ASK = """
import asyncio, copilot
from copilot.sources.knowledge.local import LocalKnowledge
from copilot.sources.knowledge.runbooks import files, runbook
first = asyncio.run(LocalKnowledge().retrieve("no pollers on task queue orders")).passages[0]
print(copilot.__file__, len(files()), runbook("no_pollers").name, first.source, sep="\\n")
"""


def build(source: Path, kind: str, into: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made of the sdist, unpacked."""
    folder = tmp_path_factory.mktemp("package")
    build(ROOT, "sdist", folder)
    with tarfile.open(folder / f"{NAME}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    build(folder / NAME, "wheel", folder)
    with zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl") as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def run(installed: Path, *words: str, **more: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), **more}
    done = subprocess.run(
        [sys.executable, *words], cwd=installed, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_the_wheel_has_every_file_of_ours(installed: Path) -> None:
    ours = {str(p.relative_to(ROOT / "src")) for p in tracked("src/copilot")}
    made = {str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()}
    assert ours <= made
    assert not [name for name in made if "test" in Path(name).name]


def test_the_wheel_finds_its_runbooks(installed: Path) -> None:
    place, count, name, source = run(installed, "-c", ASK).splitlines()
    assert Path(place).is_relative_to(installed)
    assert (int(count), name) == (len(files()), "no_pollers")
    assert source.startswith("no_pollers.md#")


def test_there_is_one_version(installed: Path) -> None:
    assert run(installed, "-m", "copilot", "--version") == f"copilot {__version__}\n"
    about = installed / f"{NAME}.dist-info" / "METADATA"
    assert f"\nVersion: {__version__}\n" in about.read_text(encoding="utf-8")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_what_completes_commands(installed: Path, shell: str) -> None:
    assert "_COPILOT_COMPLETE" in run(
        installed, "-m", "copilot", "--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )


def test_commands_are_completed(installed: Path) -> None:
    asked = {"_COPILOT_COMPLETE": "complete_bash", "COMP_WORDS": "copilot st", "COMP_CWORD": "1"}
    assert run(installed, "-m", "copilot", **asked).split() == ["start", "status"]
