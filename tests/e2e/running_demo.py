"""A demo that runs as a person would start it, its lines as they come, and a second terminal."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

Line = dict[str, Any]
INTERVAL_SEC, WINDOW_SEC = 5.0, 30.0
# Requirements §3.3, and the seconds a fault takes to be injected and a line to be printed.
STRESSED_WITHIN = WINDOW_SEC + 2 * INTERVAL_SEC
CRITICAL_WITHIN = WINDOW_SEC + max(60.0, 3 * INTERVAL_SEC) + 5
PRINTED_WITHIN = 40.0
HAPPY_WITHIN = 270.0


def told(line: Line) -> tuple[Any, ...]:
    """The verdict in a line, for a failing test to show."""
    return tuple(line[key] for key in ("time", "health_state", "top_factor", "fired_gates"))


class Demo:
    """The demo's process, and every line it printed so far."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self.process, self.folder = process, folder
        self.lines: list[Line] = []
        self._coming: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self._coming.put(text)
        self._coming.put(None)

    def next(self, within: float = 90.0) -> Line:
        """The next evaluation."""
        text = self._coming.get(timeout=within)
        assert text is not None, f"the demo ended: {self.said()}"
        line: Line = json.loads(text)
        self.lines.append(line)
        return line

    def until(self, true: Callable[[Line], bool], within: float) -> list[Line]:
        """The evaluations up to the first for which it is true; AssertionError if it does not come in time."""
        end, seen = time.monotonic() + within, list[Line]()
        while time.monotonic() < end:
            seen.append(self.next())
            if true(seen[-1]):
                return seen
        raise AssertionError(f"not within {within:g} s: {[told(line) for line in seen]}")

    def until_state(self, state: str, within: float) -> list[Line]:
        return self.until(lambda line: bool(line["health_state"] == state), within)

    def copilot(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command in the second terminal."""
        argv = [sys.executable, "-m", "copilot", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def ends_on_ctrl_c(self) -> None:
        """Ctrl-C ends every process; the exit code is 0."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        assert len(family) >= 9
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0
        assert psutil.wait_procs(family, timeout=60)[1] == []

    def child(self, command: str) -> psutil.Process:
        """The process of ours that runs `copilot COMMAND`."""
        found = [
            p
            for p in psutil.Process(self.process.pid).children(recursive=True)
            if p.cmdline()[1:4] == ["-m", "copilot", command]
        ]
        assert len(found) == 1, found
        return found[0]

    def close(self) -> None:
        """Stop reading a demo that has ended."""
        self._reader.join(timeout=5)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def said(self) -> str:
        return (self.folder / "stderr.txt").read_text(encoding="utf-8")


@contextmanager
def running_demo(folder: Path, *, own_folder: bool = False) -> Iterator[Demo]:
    """A demo in `folder`, or in a folder of its own choice; whatever is left of it at the end is killed."""
    words = f"-m copilot demo --json --interval {INTERVAL_SEC:g}s".split()
    argv = [sys.executable, *words, *(() if own_folder else ("--data-dir", str(folder)))]
    with (folder / "stderr.txt").open("w", encoding="utf-8") as told:
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=told, text=True, env={**os.environ, "NO_COLOR": "1"}
        )
    family: list[psutil.Process] = []
    demo = Demo(process, folder)
    try:
        yield demo
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        for left in psutil.wait_procs(family, timeout=5)[1]:
            left.kill()
        demo.close()
