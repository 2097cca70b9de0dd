"""What the image will hold, as the Dockerfile makes it: the wheel built from only what it copies, installed in an
environment of its own, every entry point started from there. The dependencies are those of this environment."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from copilot.api.auth import new_token, token_hash
from copilot.embedded.ports import free_ports
from copilot.embedded.supervisor import Supervisor
from copilot.embedded.temporal import DevServer
from tests.deploy.dockerfile import DOCKERFILE, environment, stages, words_of

pytestmark = pytest.mark.servers
ROOT = DOCKERFILE.parents[2]
STAGES = stages(DOCKERFILE.read_text())
CLUSTERS = '[{"name": "production", "metrics": [{"url": "http://127.0.0.1:1/metrics", "role": "server"}]}]'


def install(folder: Path) -> Path:
    """The image's `copilot`, in `folder`."""
    source = folder / "src"
    build = [words.split() for key, words in STAGES["build"].instructions if key == "COPY"]
    for *sources, target in build:
        for name in sources:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place = source / target / (Path(name).name if target.endswith("/") else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place)
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=source)
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    _run([base, "-m", "venv", "--without-pip", folder / "venv"], cwd=source)
    packages = next((folder / "venv" / "lib").glob("python3.*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip: list[str | Path] = [base, "-m", "pip", "--python", folder / "venv/bin/python", "install"]
    wheel = next(folder.glob("*.whl"))
    _run([*pip, "--no-deps", "--no-index", "--force-reinstall", wheel], cwd=source)
    return folder / "venv" / "bin" / "copilot"


def _run(argv: Sequence[str | Path], cwd: Path) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=240, cwd=cwd)


@contextmanager
def running(program: Path, target: str, settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A container's process, once it says that it is ready; told to stop by SIGTERM, as an engine does."""
    command = STAGES[target].last("CMD")
    assert command is not None
    with subprocess.Popen(
        [program, *words_of(command)],
        env=settings,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline()]
            while " is ready: " not in said[-1]:
                assert said[-1], said
                said.append(process.stdout.readline())
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


async def test_the_wheel_alone_has_every_entry_point_and_its_health_check(tmp_path: Path) -> None:
    program = install(tmp_path)
    frontend, metrics, http, port = free_ports(4)
    token = new_token()
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        **environment(STAGES["worker"]),
        **environment(STAGES["api"]),
        "COPILOT_API__PORT": str(port),
        "COPILOT_API__TOKENS": json.dumps({"grafana": token_hash(token)}),
        "COPILOT_WORKER__ALIVE_FILE": str(tmp_path / "alive"),
        "COPILOT_STORE__URL": "postgresql://nobody@127.0.0.1:1/none",
        "COPILOT_TEMPORAL__ADDRESS": f"127.0.0.1:{frontend}",
        "COPILOT_CLUSTERS": CLUSTERS,
    }

    def answer(*words: str, by: Path = program) -> tuple[int, str]:
        done = subprocess.run([by, *words], env=settings, cwd="/", capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    where = "import copilot, copilot.sources.knowledge.runbooks as r; print(copilot.__file__, *r.files())"
    place, *runbooks = answer("-c", where, by=program.parent / "python")[1].split()
    assert Path(place).is_relative_to(tmp_path)
    assert set(runbooks) == {file.name for file in (ROOT / "docs/rag").glob("*.md")}
    with running(program, "api", settings):
        assert answer("alive", "api") == (0, "the api is alive\n")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as anybody:
            assert (await anybody.get("/status")).status_code == 401
            shown = {"Authorization": f"Bearer {token}"}
            assert (await anybody.get("/status", headers=shown)).status_code == 200
    async with Supervisor(tmp_path, lambda _: None) as supervisor:
        await supervisor.start(DevServer("own", tmp_path / "own.sqlite", frontend, metrics, http).child({}))
        with running(program, "worker", settings):
            assert answer("alive", "worker") == (0, "the worker is alive\n")
            command = STAGES["start"].last("CMD")
            assert command is not None
            code, said = answer(*words_of(command))
            assert code == 0
            assert all(line.endswith(" started") for line in said.splitlines())
