"""Runs child processes and keeps them running: start in stages, restart after a crash, stop without leftovers."""

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pwd import struct_passwd
from typing import Any, Literal, Self

import httpx

from copilot.errors import CopilotError, StartError

log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[bool]]
"""Whether something responds yet; False when it cannot be reached."""
EventKind = Literal["started", "died", "back", "down", "stopped", "fault"]

LAUNCHER = Path(__file__).with_name("launcher.py")
PROBE_TIMEOUT_SEC = 2.0
PROBE_INTERVAL_SEC = 0.05
LAST_LINES = 3
LAST_LINE_CHARS = 300
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


def http_responds(url: str, *, containing: str = "") -> Probe:
    """A probe: does `url` return 200 with a body that contains `containing`? It checks our own children on this machine
    and sends no secret, so it accepts any certificate."""

    async def probe() -> bool:
        async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_SEC, trust_env=False, verify=False) as client:
            try:
                response = await client.get(url)
            except httpx.HTTPError:
                return False
        return response.status_code == httpx.codes.OK and containing in response.text

    return probe


@dataclass(frozen=True)
class Child:
    """What to run. `argv[0]` is a path. `env` is added to ours; None removes a variable. `account`: the user to run as.
    `ready` is probed until it succeeds, for at most `ready_within` seconds (None: ready as soon as it runs). Stopping
    sends `stop_signal`, and SIGKILL after `stop_within` seconds; higher stages stop first."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str | None] = field(default_factory=dict)
    account: struct_passwd | None = None
    ready: Probe | None = None
    ready_within: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within: float = 5.0
    stage: int = 0


def exit_reason(code: int) -> str:
    """An exit code as text: `exit 1`, or `killed by SIGKILL`."""
    if code >= 0:
        return f"exit {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


@dataclass
class Running:
    """One run of a child, in its own session and process group."""

    child: Child
    process: asyncio.subprocess.Process
    log: Path
    log_start: int
    started: float = field(default_factory=time.monotonic)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.returncode is None

    async def ready(self) -> None:
        """Wait until the probe succeeds. StartError if the process ends first or the deadline passes."""
        if self.child.ready is None:
            return
        name, timeout = self.child.name, self.child.ready_within
        end = asyncio.create_task(self.process.wait())
        ready = asyncio.create_task(_until_true(self.child.ready))
        try:
            done, _ = await asyncio.wait([end, ready], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise StartError(f"{name} was not ready after {timeout:g} s{self.last_output()}")
            if ready not in done:
                raise StartError(f"{name} ended ({exit_reason(end.result())}) before it was ready{self.last_output()}")
            ready.result()
        finally:
            end.cancel()
            ready.cancel()

    def last_output(self) -> str:
        """The last lines of its log and the path of the log, as the end of a sentence."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self.log_start, self.log.stat().st_size - 4096))
                text = _COLORS.sub("", log.read().decode("utf-8", "replace"))
        except OSError as error:
            return f"; its log cannot be read ({error})"
        lines = [line.strip()[:LAST_LINE_CHARS] for line in text.splitlines() if line.strip()]
        return f"; last output: {' / '.join(lines[-LAST_LINES:]) or 'none'} (log: {self.log})"

    async def stop(self) -> None:
        """Send the stop signal, wait, and kill what is left of the process group."""
        if self.alive:
            self._signal_process(signal.SIGCONT)
            self._signal_process(self.child.stop_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), self.child.stop_within)
        await self.kill()

    async def kill(self) -> None:
        """Send SIGKILL to the whole process group and wait until the process is gone."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._signal_process(signal.SIGKILL)
        await self.process.wait()

    def _signal_process(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


async def spawn(child: Child, logs: Path) -> Running:
    """Start a child and append its output to `logs/NAME.log`. StartError if the program does not exist."""
    program = shutil.which(child.argv[0])
    if program is None:
        raise StartError(f"{child.name} cannot be started: {child.argv[0]} does not exist or is not executable")
    log = logs / f"{child.name}.log"
    uid, gid = (child.account.pw_uid, child.account.pw_gid) if child.account else (-1, -1)
    launcher = (sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(uid), str(gid))
    with log.open("ab") as output:
        log_start = output.tell()  # Before the child shares the file's offset and moves it.
        process = await asyncio.create_subprocess_exec(
            *launcher, program, *child.argv[1:], stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            env={key: value for key, value in {**os.environ, **child.env}.items() if value is not None},
            cwd="/" if child.account else None,
            start_new_session=True,
        )  # fmt: skip
        return Running(child, process, log, log_start)


async def _until_true(probe: Probe) -> None:
    while not await probe():  # noqa: ASYNC110 - another process becomes ready, it sets no event of ours
        await asyncio.sleep(PROBE_INTERVAL_SEC)


@dataclass(frozen=True)
class Event:
    """Something that happened to a child, or a fault that was injected or cleared; `text` describes it for a person."""

    name: str
    kind: EventKind
    text: str


@dataclass(frozen=True)
class Backoff:
    """Delay before a crashed child is restarted: `first_sec`, doubled with each crash up to `max_sec`. It resets once
    the child has run for `steady_sec`."""

    first_sec: float = 0.5
    max_sec: float = 30.0
    steady_sec: float = 30.0

    def delay(self, crashes: int) -> float:
        """Seconds to wait after `crashes` earlier crashes in a row."""
        return min(self.max_sec, self.first_sec * 2.0 ** min(crashes, 30))


class Supervisor:
    """An async context manager that runs children; leaving it stops them all. Use it in the main thread: the kernel
    ends a child with the thread that started it."""

    def __init__(self, logs: Path, on_event: Callable[[Event], None], backoff: Backoff | None = None) -> None:
        self._logs = logs
        self._on_event = on_event
        self._backoff = backoff or Backoff()
        self._children: dict[str, Running] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, *children: Child) -> None:
        """Start the children in parallel and keep them running. Returns when all are ready.

        StartError, with the last lines of the log, as soon as one ends or is not ready in time."""
        await run_all(*(self._start(child) for child in children))

    async def run(self, child: Child) -> None:
        """Run a one-time child to its end. StartError, with the last lines of its log, if it fails or hangs."""
        running = await spawn(child, self._logs)
        try:
            code = await asyncio.wait_for(running.process.wait(), child.ready_within)
        except TimeoutError:
            raise StartError(
                f"{child.name} did not end within {child.ready_within:g} s{running.last_output()}"
            ) from None
        finally:
            await running.kill()
        if code != 0:
            raise StartError(f"{child.name} failed ({exit_reason(code)}){running.last_output()}")

    async def take_down(self, name: str, *, graceful: bool = False) -> None:
        """Kill a child with SIGKILL, or stop it gracefully, and do not restart it until `bring_up` or `start`."""
        await self._unwatch(name)
        running = self._children[name]
        await (running.stop() if graceful else running.kill())
        self._on_event(Event(name, "down", f"{name} is {'stopped' if graceful else 'killed'} and stays down"))

    async def bring_up(self, name: str) -> None:
        """Start a child that was taken down. Returns when it is ready, else StartError."""
        await self._start(self._children[name].child)

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a child's process. StartError if it does not run."""
        running = self._children[name]
        if not running.alive:
            raise StartError(f"{name} does not run at the moment")
        os.kill(running.process.pid, number)

    def pids(self) -> dict[str, int]:
        """Process ids of the running children by name."""
        return {name: running.process.pid for name, running in self._children.items() if running.alive}

    async def stop(self) -> None:
        """Stop every child, the highest stage first, those of one stage in parallel. Safe to call twice."""
        await asyncio.gather(*map(self._unwatch, self._children))
        children = list(self._children.values())
        for stage in sorted({each.child.stage for each in children}, reverse=True):
            await asyncio.gather(*(self._stop(each) for each in children if each.child.stage == stage))
        self._children.clear()

    async def _start(self, child: Child) -> None:
        name, before = child.name, self._children.get(child.name)
        if before is not None and before.alive:
            raise StartError(f"{name} already runs")
        self._children[name] = running = await spawn(child, self._logs)
        try:
            await running.ready()
        except StartError:
            await running.kill()
            raise
        self._on_event(Event(name, "started", f"{name} is ready (pid {running.process.pid})"))
        self._watchers[name] = asyncio.create_task(self._watch(name), name=f"watch {name}")

    async def _stop(self, running: Running) -> None:
        name, was_alive = running.child.name, running.alive
        await running.stop()
        if was_alive:
            self._on_event(Event(name, "stopped", f"{name} is stopped"))

    async def _unwatch(self, name: str) -> None:
        """Stop watching the child, so that its end is not reported and it is not restarted."""
        if (watcher := self._watchers.pop(name, None)) is not None:
            watcher.cancel()
            await asyncio.wait([watcher])

    async def _watch(self, name: str) -> None:
        """Restart the child whenever it ends. Any error here is logged and retried: a child must never go unwatched."""
        crashes, ended = 0, None
        while True:
            try:
                running = self._children[name]
                code = await running.process.wait()
                if running is not ended and time.monotonic() - running.started >= self._backoff.steady_sec:
                    crashes = 0
                ended = running
                await self._restart(running, code, self._backoff.delay(crashes))
            except Exception:
                log.exception("could not restart %s; retrying", name, extra={"event": "supervisor.restart_failed"})
                await asyncio.sleep(self._backoff.delay(crashes))
            crashes += 1

    async def _restart(self, running: Running, code: int, delay: float) -> None:
        name = running.child.name
        await running.kill()
        why = f"{exit_reason(code)}{running.last_output()}"
        self._report(Event(name, "died", f"{name} died, restarting in {delay:g} s: {why}"))
        await asyncio.sleep(delay)
        try:
            self._children[name] = running = await spawn(running.child, self._logs)
            await running.ready()
        except StartError:
            # It died again or hangs: the next turn reports it and waits longer.
            await running.kill()
        else:
            self._report(Event(name, "back", f"{name} is back (pid {running.process.pid})"))

    def _report(self, event: Event) -> None:
        """Report an event; an error in doing so must not keep a child from being restarted."""
        try:
            self._on_event(event)
        except Exception:
            log.exception("could not report: %s", event.text, extra={"event": "supervisor.report_failed"})


async def run_all(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all in parallel; returns what they return. The first CopilotError cancels the others and is raised
    unchanged."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
        return [task.result() for task in tasks]
    except* CopilotError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
