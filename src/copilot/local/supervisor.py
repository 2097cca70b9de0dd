"""Keeps child processes running: starts them, waits until they are ready, restarts what crashes, ends them all.

No child outlives us: on a deliberate stop each gets its stop signal and, after a deadline, SIGKILL with its whole
process group; and on Linux the kernel kills each when we die in whatever way (launcher.py).
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from copilot.core.errors import CopilotError, StartError
from copilot.local.child import Child, Running, described, spawn

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
