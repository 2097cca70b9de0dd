"""What is released: the sdist has all that a wheel is made of, and one version; commands are completed. What an
installed Copilot does without the repository: tests/deploy/test_image_content.py."""

import json
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from referencing import Registry, Resource

from copilot import __version__
from tests.cli.forked import forked
from tests.deploy.schemas import schema
from tests.test_tree import ROOT, tracked
from tools.sbom import document

NAME = f"temporal_sre_copilot-{__version__}"


def build(source: Path, kind: str, into: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)


def test_the_wheel_of_the_sdist_has_every_file_of_ours_and_the_version(tmp_path: Path) -> None:
    build(ROOT, "sdist", tmp_path)
    with tarfile.open(tmp_path / f"{NAME}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    build(tmp_path / NAME, "wheel", tmp_path)
    with zipfile.ZipFile(tmp_path / f"{NAME}-py3-none-any.whl") as wheel:
        made = set(wheel.namelist())
        about = wheel.read(f"{NAME}.dist-info/METADATA").decode()
        parts = wheel.read(f"{NAME}.dist-info/sboms/temporal-sre-copilot.cdx.json")
    assert {str(p.relative_to(ROOT / "src")) for p in tracked("src/copilot")} <= made
    assert not [name for name in made if "test" in Path(name).name]
    assert f"\nVersion: {__version__}\n" in about
    assert json.loads(parts) == document()
    assert forked("--version").stdout == f"copilot {__version__}\n"


def test_the_list_of_what_it_is_made_of_is_valid_and_names_what_is_shipped_and_installed() -> None:
    made = document()
    schemas = [
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", Resource.from_contents(schema(name)))
        for name in ("spdx", "jsf-0.82")
    ]
    validator = jsonschema.Draft7Validator(schema("bom-1.5"), registry=Registry().with_resources(schemas))
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(made)] == []
    named = {part["bom-ref"]: part["scope"] for part in made["components"]}
    assert named["pkg:npm/uplot@1.6.32"] == "required"
    assert f"pkg:pypi/temporalio@{version('temporalio')}" in made["dependencies"][0]["dependsOn"]
    assert set(made["dependencies"][0]["dependsOn"]) <= set(named)
    broken = {**made, "components": [{"name": "x"}]}
    assert not validator.is_valid(broken)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_completes_commands(shell: str) -> None:
    done = forked("--show-completion", shell, env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert "_COPILOT_COMPLETE" in done.stdout


def test_commands_are_completed() -> None:
    environment = {"_COPILOT_COMPLETE": "complete_bash", "COMP_WORDS": "copilot st", "COMP_CWORD": "1"}
    assert forked(env=environment).stdout.split() == ["start", "status"]
