"""How a second terminal talks to a running demo: one JSON line each way over a unix socket."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from copilot.demo.load import Profile
from copilot.demo.watched import WatchedCluster
from copilot.demo.worker import WorkerTuning
from copilot.embedded.temporal import DynamicConfig
from copilot.errors import CopilotError, StartError

SLOWEST_DEED_SEC = 120.0


class Wish(BaseModel):
    """What is asked for. Clearing without a fault clears all; neither: only say which faults are on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: str | None = None
    clear: bool = False


class Answer(BaseModel):
    """Whether it was done, the reason or what was done, and the faults that are on now."""

    model_config = ConfigDict(frozen=True)

    done: bool
    text: str
    active: list[str]


@contextlib.asynccontextmanager
async def listening(socket: Path, grant: Callable[[Wish], Awaitable[Answer]]) -> AsyncIterator[None]:
    """Grant wishes that arrive at `socket` while the context is open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            try:
                answer = await grant(Wish.model_validate_json(line))
            except ValidationError as error:
                answer = Answer(done=False, text=f"not understood: {error.errors()[0]['msg']}", active=[])
            writer.write(answer.model_dump_json().encode() + b"\n")
            with contextlib.suppress(OSError):
                await writer.drain()
        finally:
            writer.close()

    # Only this user: nobody else may enter the folder's private parts, nor write to a socket made under this mask.
    mask = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(serve, socket)
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        server.close()


async def ask(socket: Path, wish: Wish) -> Answer:
    """Send a wish to a running demo and wait for the answer. StartError if it does not answer."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            writer.write(wish.model_dump_json().encode() + b"\n")
            line = await asyncio.wait_for(reader.readline(), SLOWEST_DEED_SEC)
            return Answer.model_validate_json(line)
        finally:
            writer.close()
    except (OSError, TimeoutError, ValidationError) as error:
        raise StartError(f"the demo at {socket} does not answer: {error!r}") from error


def refusal(error: CopilotError, active: list[str]) -> Answer:
    """The answer that says why not."""
    return Answer(done=False, text=str(error), active=active)


Deed = Callable[[WatchedCluster], Awaitable[None]]
Part = Literal["workers", "load", "server", "metrics"]

BURST_FACTOR = 5.0
BURST_SEC = 60.0
FAILING_SHARE = 0.6
FULL_WORKERS = WorkerTuning(slots=2, activity_sec=4.0)
FRONTEND_LIMIT: DynamicConfig = {"frontend.namespaceRPS": 12}
PERSISTENCE_LIMIT: DynamicConfig = {
    "history.persistenceMaxQPS": 60,
    "matching.persistenceMaxQPS": 15,
    "frontend.persistenceMaxQPS": 20,
}


class FaultError(CopilotError):
    """A fault could not be injected or cleared; the text says why."""


@dataclass(frozen=True)
class Fault:
    """A fault: what it does in words, which part of the cluster it takes (one fault a part), how it is injected and
    cleared. `lasts_sec`: it ends by itself after so long (0: at once)."""

    name: str
    what: str
    part: Part
    inject: Deed
    clear: Deed
    lasts_sec: float | None = None


async def _kill_workers(cluster: WatchedCluster) -> None:
    await cluster.kill_workers()


async def _start_workers(cluster: WatchedCluster) -> None:
    await cluster.release_workers()


async def _fill_slots(cluster: WatchedCluster) -> None:
    await cluster.kill_workers()
    await cluster.release_workers(FULL_WORKERS)


async def _free_slots(cluster: WatchedCluster) -> None:
    await cluster.kill_workers()
    await cluster.release_workers()


def _load(changed: Callable[[Profile], Profile]) -> Deed:
    async def deed(cluster: WatchedCluster) -> None:
        cluster.set_load(changed(cluster.usual.load))

    return deed


async def _freeze(cluster: WatchedCluster) -> None:
    cluster.freeze_server()


async def _thaw(cluster: WatchedCluster) -> None:
    cluster.thaw_server()


def _restart(limits: DynamicConfig | None = None, *, down_sec: float = 0.0) -> Deed:
    async def deed(cluster: WatchedCluster) -> None:
        await cluster.restart_server(limits, down_sec=down_sec)

    return deed


async def _nothing(_cluster: WatchedCluster) -> None:
    return


async def _lock(cluster: WatchedCluster) -> None:
    await cluster.lock_database()


async def _unlock(cluster: WatchedCluster) -> None:
    cluster.unlock_database()


async def _cut_metrics(cluster: WatchedCluster) -> None:
    await cluster.relay.cut()


async def _restore_metrics(cluster: WatchedCluster) -> None:
    await cluster.relay.restore()


STEADY = _load(lambda usual: usual)

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("workers-down", "both workers are killed and held down", "workers", _kill_workers, _start_workers),
        Fault(
            "slots-exhausted",
            "the workers get 2 activity slots a queue, and an activity takes 4 s",
            "workers",
            _fill_slots,
            _free_slots,
        ),
        Fault(
            "workflows-failing",
            "60 % of the short workflows fail by their own code",
            "load",
            _load(lambda usual: usual.model_copy(update={"failing_share": FAILING_SHARE})),
            STEADY,
        ),
        Fault(
            "burst",
            "five times the load, for a minute",
            "load",
            _load(lambda usual: usual.times(BURST_FACTOR)),
            STEADY,
            BURST_SEC,
        ),
        Fault("idle", "no workflow is started any more", "load", _load(lambda usual: usual.times(0)), STEADY),
        Fault("server-frozen", "the server is stopped by SIGSTOP", "server", _freeze, _thaw),
        Fault(
            "server-restart",
            "the server is killed and, 3 s later, started again on the same data",
            "server",
            _restart(down_sec=3.0),
            _nothing,
            0.0,
        ),
        Fault(
            "frontend-rate-limit",
            "the server is restarted with 12 requests a second for a namespace",
            "server",
            _restart(FRONTEND_LIMIT),
            _restart(),
        ),
        Fault(
            "persistence-rate-limit",
            "the server is restarted with a few dozen database requests a second",
            "server",
            _restart(PERSISTENCE_LIMIT),
            _restart(),
        ),
        Fault("database-locked", "somebody holds the write lock of the server's database", "server", _lock, _unlock),
        Fault(
            "metrics-cut",
            "the server's metrics page refuses connections, the server lives",
            "metrics",
            _cut_metrics,
            _restore_metrics,
        ),
    )
}


def fault_named(name: str) -> Fault:
    """The fault of that name; FaultError names those there are."""
    try:
        return FAULTS[name]
    except KeyError:
        raise FaultError(f"no fault is called {name!r}; there are {', '.join(FAULTS)}") from None


class FaultDesk:
    """Injects and clears faults, one at a time; knows which are on."""

    def __init__(self, cluster: WatchedCluster, tell: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._tell = tell
        self._active: dict[Part, Fault] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def active(self) -> list[str]:
        """Names of the faults that are on."""
        return [fault.name for fault in self._active.values()]

    async def inject(self, name: str) -> str:
        """Inject it; what was done, in words. FaultError if its part is broken already or it cannot be done."""
        fault = fault_named(name)
        async with self._one_at_a_time:
            if (other := self._active.get(fault.part)) is not None:
                state = "on already" if other is fault else f"not possible while {other.name} is on"
                raise FaultError(f"{name} is {state}: clear {other.name} first")
            await self._do(fault.inject, name)
            if fault.lasts_sec != 0:
                self._active[fault.part] = fault
            if fault.lasts_sec:
                self._endings[name] = asyncio.create_task(self._end_after(fault, fault.lasts_sec))
        return self._said(f"{name}: {fault.what}")

    async def clear(self, name: str) -> str:
        """Clear it; what was done, in words. FaultError if it is not on or cannot be cleared."""
        fault = fault_named(name)
        async with self._one_at_a_time:
            if self._active.get(fault.part) is not fault:
                raise FaultError(f"{name} is not on")
            if (ending := self._endings.pop(name, None)) is not None and ending is not asyncio.current_task():
                ending.cancel()
            await self._do(fault.clear, name)
            del self._active[fault.part]
        return self._said(f"{name} is cleared")

    async def close(self) -> None:
        """Forget the endings still to come."""
        for ending in self._endings.values():
            ending.cancel()
        self._endings.clear()

    async def _end_after(self, fault: Fault, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.clear(fault.name)

    def _said(self, text: str) -> str:
        self._tell(text)
        return text

    async def _do(self, deed: Deed, name: str) -> None:
        try:
            await deed(self._cluster)
        except CopilotError as error:
            raise FaultError(f"{name}: {error}") from error


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class PlanError(CopilotError):
    """A duration or a planned fault cannot be read; the text says how to write it."""


@dataclass(frozen=True)
class PlannedFault:
    """Inject `name` so many seconds after the first verdict; clear it at `until_sec` (None: leave it)."""

    name: str
    at_sec: float = 0.0
    until_sec: float | None = None


def seconds(text: str) -> float:
    """The seconds of `90s`, `1.5m`, `2h`, `500ms` or a bare number; PlanError otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise PlanError(f"{text!r} is no duration: write 90s, 1.5m or 2h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def planned_fault(text: str) -> PlannedFault:
    """Read NAME, NAME@60s or NAME@60s-120s; PlanError or FaultError otherwise."""
    name, _, times = text.partition("@")
    fault = fault_named(name)
    if not times:
        if text.endswith("@"):
            raise PlanError(f"{text!r} names no time: write {name}@60s or {name}@60s-120s")
        return PlannedFault(name)
    start, _, end = times.partition("-")
    planned = PlannedFault(name, seconds(start), seconds(end) if end else None)
    if planned.until_sec is not None and planned.until_sec <= planned.at_sec:
        raise PlanError(f"{text!r} ends before it begins")
    if planned.until_sec is not None and fault.lasts_sec is not None:
        raise PlanError(f"{name} ends by itself: write {name}@{start}")
    return planned
