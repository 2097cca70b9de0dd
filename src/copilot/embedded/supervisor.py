"""Small questions whether something answers yet. Each gives true or false; what cannot be reached is false."""

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
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from copilot.errors import CopilotError, StartError

Probe = Callable[[], Awaitable[bool]]

ASK_SEC = 2.0


def http_answers(url: str, *, containing: str = "") -> Probe:
    """A probe: does `url` answer 200, and does its body hold `containing`? It asks our own children on this machine and
    tells them nothing, so any certificate will do."""

    async def ask() -> bool:
        async with httpx.AsyncClient(timeout=ASK_SEC, trust_env=False, verify=False) as client:
            try:
                answer = await client.get(url)
            except httpx.HTTPError:
                return False
        return answer.status_code == httpx.codes.OK and containing in answer.text

    return ask


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


log = logging.getLogger(__name__)

EventKind = Literal["started", "died", "back", "held", "stopped", "fault"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a child, or was done to the cluster on purpose. `text` is a sentence for a person."""

    name: str
    kind: EventKind
    text: str


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a crashed child is started again: `first_sec`, doubled each time up to `most_sec`; from
    the beginning again once it has lived for `steady_sec`."""

    first_sec: float = 0.5
    most_sec: float = 30.0
    steady_sec: float = 30.0

    def delay(self, crashes: int) -> float:
        """Seconds to wait after so many crashes in a row before this one."""
        return min(self.most_sec, self.first_sec * 2.0 ** min(crashes, 30))


class Supervisor:
    """An async context manager; leaving it stops every child. For the main thread: the kernel ties a child's life to
    the thread that started it."""

    def __init__(self, logs: Path, on_event: Callable[[Event], None], backoff: Backoff | None = None) -> None:
        self._logs = logs
        self._tell = on_event
        self._backoff = backoff or Backoff()
        self._kept: dict[str, _Kept] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *children: Child) -> None:
        """Start the children at once, each kept running from then on; returns when all are ready.

        StartError, with the last lines of its log, as soon as one dies or is not ready in time."""
        await together(*(self._start(child) for child in children))

    async def run(self, child: Child) -> None:
        """Run a child that ends by itself; StartError with its last log lines if it fails or takes too long."""
        running = await spawn(child, self._logs)
        try:
            code = await asyncio.wait_for(running.ended(), child.ready_within)
        except TimeoutError:
            raise StartError(
                f"{child.name} was not done after {child.ready_within:g} s{running.last_words()}"
            ) from None
        finally:
            await running.kill()
        if code != 0:
            raise StartError(f"{child.name} failed ({described(code)}){running.last_words()}")

    async def hold(self, name: str, *, gently: bool = False) -> None:
        """Kill a child at once (SIGKILL), or `gently` as it is stopped, and keep it down until `release`."""
        kept = self._kept[name]
        await kept.abandon()
        await (kept.running.stop() if gently else kept.running.kill())
        self._tell(Event(name, "held", f"{name} is {'stopped' if gently else 'killed'} and held down"))

    async def release(self, name: str, changed: Child | None = None) -> None:
        """Start a held child again, as it was or as `changed`; returns when it is ready, else StartError."""
        await self._start(changed or self._kept[name].child)

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the child's process; StartError if it does not run."""
        running = self._kept[name].running
        if not running.alive:
            raise StartError(f"{name} does not run just now")
        os.kill(running.pid, number)

    def pids(self) -> dict[str, int]:
        """Process ids of the children that run now, by name."""
        return {name: kept.running.pid for name, kept in self._kept.items() if kept.running.alive}

    async def stop(self) -> None:
        """End every child, the highest stage first, those of one stage together. Safe to call twice."""
        all_kept = list(self._kept.values())
        await asyncio.gather(*(kept.abandon() for kept in all_kept))
        for stage in sorted({kept.child.stage for kept in all_kept}, reverse=True):
            await asyncio.gather(*(self._stop(kept) for kept in all_kept if kept.child.stage == stage))
        self._kept.clear()

    async def _start(self, child: Child) -> None:
        before = self._kept.get(child.name)
        if before is not None and before.running.alive:
            raise StartError(f"{child.name} runs already")
        kept = _Kept(child, await spawn(child, self._logs))
        self._kept[child.name] = kept
        try:
            await kept.running.ready()
        except StartError:
            await kept.running.kill()
            raise
        self._tell(Event(child.name, "started", f"{child.name} is ready (pid {kept.running.pid})"))
        kept.keeper = asyncio.create_task(self._keep(kept), name=f"keep {child.name}")

    async def _stop(self, kept: "_Kept") -> None:
        was_alive = kept.running.alive
        await kept.running.stop()
        if was_alive:
            self._tell(Event(kept.child.name, "stopped", f"{kept.child.name} is stopped"))

    async def _keep(self, kept: "_Kept") -> None:
        """Whatever goes wrong here is said and tried again: a child nobody keeps would be missed by nobody."""
        name, crashes = kept.child.name, 0
        ended: Running | None = None
        while True:
            try:
                await kept.running.ended()
                if kept.running is not ended and kept.running.age_sec >= self._backoff.steady_sec:
                    crashes = 0
                ended = kept.running
                await self._start_again(kept, self._backoff.delay(crashes))
            except Exception:
                log.exception("keeping %s running went wrong; it is tried again", name)
                await asyncio.sleep(self._backoff.delay(crashes))
            crashes += 1

    async def _start_again(self, kept: "_Kept", delay: float) -> None:
        name = kept.child.name
        code = await kept.running.ended()
        await kept.running.kill()
        why = f"{described(code)}{kept.running.last_words()}"
        self._note(Event(name, "died", f"{name} died, starting it again in {delay:g} s: {why}"))
        await asyncio.sleep(delay)
        try:
            kept.running = await spawn(kept.child, self._logs)
            await kept.running.ready()
        except StartError:
            # It died again or hangs: the next turn says so and waits longer.
            await kept.running.kill()
        else:
            self._note(Event(name, "back", f"{name} is back (pid {kept.running.pid})"))

    def _note(self, event: Event) -> None:
        """Tell it; that nobody can be told is no reason not to start a child again."""
        try:
            self._tell(event)
        except Exception:
            log.exception("this could not be told: %s", event.text)


@dataclass
class _Kept:
    child: Child
    running: Running
    keeper: asyncio.Task[None] | None = None

    async def abandon(self) -> None:
        """Take the keeper away, so that the child's end is nobody's concern."""
        if self.keeper is not None:
            self.keeper.cancel()
            await asyncio.wait([self.keeper])


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Do all at once; the first error of ours ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except* CopilotError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
