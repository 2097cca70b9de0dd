"""Runs `copilot` commands as processes that begin with its modules loaded: one process loads them and forks for each
command. It saves most of a second for each, and all else is as when a person runs the command."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _loaded() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    atexit.register(_end, process)
    return process


def _end(process: "subprocess.Popen[str]") -> None:
    process.communicate()


def forked(
    *words: str, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """What `copilot WORDS` run in a folder, with these additions to the environment, says and exits with."""
    process = _loaded()
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.TemporaryDirectory() as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        order = {"words": words, "folder": str(folder or Path.cwd()), "env": {**os.environ, **(env or {})}}
        process.stdin.write(json.dumps({**order, "out": str(out), "err": str(err)}) + "\n")
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess(words, code, out.read_text("utf-8"), err.read_text("utf-8"))


def assert_refused(done: "subprocess.CompletedProcess[str]", why: str) -> None:
    """What cannot be done is one line on stderr, and exit code 2."""
    assert (done.returncode, done.stdout) == (2, ""), done
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("copilot: ")


def _serve() -> None:
    # What the commands would load when they run.
    import copilot.bootstrap
    import copilot.cli.main
    import copilot.demo.run
    import copilot.doctor

    for command in copilot.cli.main.COMMANDS:
        copilot.cli.main.load(command)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            _become(json.loads(line))
            copilot.cli.main.run()
            return
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(order: dict[str, Any]) -> None:
    """Take the place of a process that was started for this command."""
    for number, name, mode in ((0, os.devnull, "r"), (1, order["out"], "w"), (2, order["err"], "w")):
        with Path(name).open(mode, encoding="utf-8") as file:
            os.dup2(file.fileno(), number)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["copilot", *order["words"]]


if __name__ == "__main__":
    _serve()
