"""One child process: what to run, and a run of it."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from copilot.core.errors import StartError
from copilot.local.probes import Probe

LAUNCHER = Path(__file__).with_name("launcher.py")
PROBE_EVERY_SEC = 0.05
LAST_LINES = 3
LAST_LINE_CHARS = 300
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Account:
    """A user to run a child as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Child:
    """What to run. `argv[0]` is a path. `ready` is asked until true, for at most `ready_within` seconds (None: ready
    as soon as it runs). `env` is added to ours, None takes a variable away. Stopping sends `stop_signal`, and SIGKILL
    after `stop_within` seconds; higher stages first."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str | None] = field(default_factory=dict)
    account: Account | None = None
    ready: Probe | None = None
    ready_within: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within: float = 5.0
    stage: int = 0


def described(code: int) -> str:
    """An exit code in words: `exit 1`, or `killed by SIGKILL`."""
    if code >= 0:
        return f"exit {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class Running:
    """A run of a child, in a session and process group of its own."""

    def __init__(self, child: Child, process: asyncio.subprocess.Process, log: Path, log_start: int) -> None:
        self._child = child
        self._process = process
        self._log = log
        self._log_start = log_start
        self._born = time.monotonic()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    @property
    def age_sec(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._born

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await self._process.wait()

    async def ready(self) -> None:
        """Wait until its probe says yes. StartError if it dies first or the deadline passes."""
        if self._child.ready is None:
            return
        end = asyncio.create_task(self._process.wait())
        answers = asyncio.create_task(_until_true(self._child.ready))
        try:
            await asyncio.wait([end, answers], timeout=self._child.ready_within, return_when=asyncio.FIRST_COMPLETED)
            if answers.done():
                answers.result()
            elif end.done():
                raise StartError(
                    f"{self._child.name} ended ({described(end.result())}) before it was ready{self.last_words()}"
                )
            else:
                raise StartError(
                    f"{self._child.name} was not ready after {self._child.ready_within:g} s{self.last_words()}"
                )
        finally:
            end.cancel()
            answers.cancel()

    def last_words(self) -> str:
        """The last lines it wrote, as the end of a sentence; says where the whole log is."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(self._log_start, self._log.stat().st_size - 4096))
                text = _COLOURS.sub("", log.read().decode("utf-8", "replace"))
        except OSError as error:
            return f"; what it said cannot be read ({error})"
        lines = [line.strip()[:LAST_LINE_CHARS] for line in text.splitlines() if line.strip()]
        said = " / ".join(lines[-LAST_LINES:]) or "nothing"
        return f"; it said: {said} (log: {self._log})"

    async def stop(self) -> None:
        """Ask it to end, insist after a while, and sweep what is left of its group."""
        if self.alive:
            self._signal_process(signal.SIGCONT)
            self._signal_process(self._child.stop_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self._child.stop_within)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to its whole group; returns when the process is gone."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._signal_process(signal.SIGKILL)
        await self._process.wait()

    def _signal_process(self, number: signal.Signals) -> None:
        if self.alive:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                return


async def spawn(child: Child, logs: Path) -> Running:
    """Start it, its output appended to `logs/NAME.log`. StartError if the program is not there."""
    program = shutil.which(child.argv[0])
    if program is None:
        raise StartError(f"{child.name} cannot be started: {child.argv[0]} is not there or not executable")
    log = logs / f"{child.name}.log"
    account = child.account or Account(-1, -1)
    launcher = (sys.executable, "-I", "-S", str(LAUNCHER))
    identity = (str(os.getpid()), str(account.uid), str(account.gid))
    with log.open("ab") as output:
        began = output.tell()  # Before the child shares the file's offset and moves it.
        process = await asyncio.create_subprocess_exec(
            *launcher,
            *identity,
            program,
            *child.argv[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={key: value for key, value in {**os.environ, **child.env}.items() if value is not None},
            cwd="/" if child.account else None,
            start_new_session=True,
        )
        return Running(child, process, log, began)


async def _until_true(probe: Probe) -> None:
    while not await probe():  # noqa: ASYNC110 - another process becomes ready, it sets no event of ours
        await asyncio.sleep(PROBE_EVERY_SEC)
