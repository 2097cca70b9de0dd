"""Faults: the table, the controller that injects and clears them, and the socket through which `copilot fault` does."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from copilot.demo.load import Profile
from copilot.demo.watched import WORKERS, Baseline, WatchedCluster
from copilot.demo.worker import WorkerTuning
from copilot.embedded.temporal import DynamicConfig
from copilot.errors import CopilotError, StartError
from copilot.settings.sources import Section

Action = Callable[[WatchedCluster], Awaitable[None]]
"""Something done to the watched cluster."""
Part = Literal["workers", "load", "server", "metrics"]

REPLY_TIMEOUT_SEC = 120.0
BURST_FACTOR = 5.0
BURST_SEC = 60.0
FAILING_SHARE = 0.6
SPECIAL_SHARE = 0.03
BUILD = "b41"
BASELINE = Baseline(load=Profile(special_share=0.3), workers=dict.fromkeys(WORKERS, WorkerTuning(build=BUILD)))
"""What the demo watches: workers of one build; the bug of another is in code that three of ten orders run."""
BAD_BUILD = WorkerTuning(build="b42", bug=True)
FRONTEND_LIMIT: DynamicConfig = {"frontend.namespaceRPS": 12}
PERSISTENCE_LIMIT: DynamicConfig = {
    "history.persistenceMaxQPS": 60,
    "matching.persistenceMaxQPS": 15,
    "frontend.persistenceMaxQPS": 20,
}


class FaultError(CopilotError):
    """A fault cannot be injected or cleared; the text says why."""


@dataclass(frozen=True)
class Fault:
    """One fault: a description, the part of the cluster it breaks (one fault a part at a time), how to inject and how
    to clear it. `lasts_sec`: it ends by itself after this many seconds (0: at once); None: it lasts until cleared."""

    name: str
    what: str
    part: Part
    inject: Action
    clear: Action
    lasts_sec: float | None = None


async def nothing(_cluster: WatchedCluster) -> None:
    """Leave the cluster alone."""


async def replace_workers(cluster: WatchedCluster, **tuning: float) -> None:
    """Kill all workers and start them as in the baseline, but for this tuning."""
    await cluster.kill_workers()
    await cluster.start_workers(cluster.baseline.workers[WORKERS[0]].model_copy(update=tuning))


async def deploy_badly(cluster: WatchedCluster) -> None:
    """One worker gets a new build whose workflow code fails, and that build becomes the current one."""
    await cluster.deploy_workers(BAD_BUILD, WORKERS[1])
    await cluster.set_current_build(str(BAD_BUILD.build))


async def route_back(cluster: WatchedCluster) -> None:
    """The previous build becomes current again, and the worker gets it back."""
    await cluster.set_current_build(BUILD)
    await cluster.deploy_workers(None, WORKERS[1])


async def stick_workflow_tasks(cluster: WatchedCluster) -> None:
    """Run a release whose workflow code raises for some of the orders: their workflow tasks fail and are retried."""
    await replace_workers(cluster, bug=True)
    await cluster.change_load(special_share=SPECIAL_SHARE)


async def free_workflow_tasks(cluster: WatchedCluster) -> None:
    """Run the workers without the bug again: their next attempt frees the executions."""
    await cluster.change_load()
    await replace_workers(cluster)


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("workers-down", "both workers are killed and stay down", "workers",
              WatchedCluster.kill_workers, WatchedCluster.start_workers),
        Fault("slots-exhausted", "the workers get 2 activity slots a queue, and an activity takes 4 s", "workers",
              lambda c: replace_workers(c, slots=2, activity_sec=4.0), replace_workers),
        Fault("stuck-workflow-tasks", "a release's workflow code raises for 3 % of the orders, which hang in retries",
              "workers", stick_workflow_tasks, free_workflow_tasks),
        Fault("bad-deploy", "a new build of the workers becomes current, and its code fails 3 of 10 orders", "workers",
              deploy_badly, route_back),
        Fault("workflows-failing", "60 % of the short workflows fail in their own code", "load",
              lambda c: c.change_load(failing_share=FAILING_SHARE), WatchedCluster.change_load),
        Fault("burst", "five times the load, for a minute", "load",
              lambda c: c.change_load(BURST_FACTOR), WatchedCluster.change_load, BURST_SEC),
        Fault("idle", "no new workflows are started", "load", lambda c: c.change_load(0), WatchedCluster.change_load),
        Fault("server-frozen", "the server is stopped with SIGSTOP", "server",
              WatchedCluster.freeze_server, WatchedCluster.thaw_server),
        Fault("server-restart", "the server is killed and, 3 s later, started again on the same data", "server",
              lambda c: c.restart_server(down_sec=3.0), nothing, 0.0),
        Fault("frontend-rate-limit", "the server is restarted with a limit of 12 requests/s for a namespace", "server",
              lambda c: c.restart_server(FRONTEND_LIMIT), WatchedCluster.restart_server),
        Fault("persistence-rate-limit", "the server is restarted with a limit of a few dozen database requests/s",
              "server", lambda c: c.restart_server(PERSISTENCE_LIMIT), WatchedCluster.restart_server),
        Fault("database-locked", "another process holds the write lock of the server's database", "server",
              WatchedCluster.lock_database, WatchedCluster.unlock_database),
        Fault("metrics-cut", "the server's metrics page refuses connections; the server itself is fine", "metrics",
              lambda c: c.relay.cut(), lambda c: c.relay.restore()),
    )
}  # fmt: skip


def fault_named(name: str) -> Fault:
    """The fault of that name. FaultError lists the names there are."""
    if name not in FAULTS:
        raise FaultError(f"there is no fault {name!r}; choose one of {', '.join(FAULTS)}")
    return FAULTS[name]


@dataclass(frozen=True)
class PlannedFault:
    """Inject fault `name` `at_sec` seconds after the first verdict and clear it at `until_sec` (None: do not clear)."""

    name: str
    at_sec: float = 0.0
    until_sec: float | None = None


class FaultRequest(Section):
    """What a second terminal asks for: inject or clear `fault`, or clear all; without both, only list active faults."""

    fault: str | None = None
    clear: bool = False


class FaultReply(Section):
    """Whether the request succeeded, what was done or why not, and the faults that are active now."""

    done: bool
    text: str
    active: list[str]


class FaultController:
    """Injects and clears faults, one at a time, and knows which are active. `notify` gets a line for each."""

    def __init__(self, cluster: WatchedCluster, notify: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._notify = notify
        self._active: dict[Part, Fault] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    @property
    def active(self) -> list[str]:
        """Names of the active faults."""
        return [fault.name for fault in self._active.values()]

    async def inject(self, name: str) -> str:
        """Inject a fault and describe it. FaultError if its part is already broken, or if injecting fails."""
        fault = fault_named(name)
        async with self._lock:
            if (other := self._active.get(fault.part)) is not None:
                state = "already active" if other is fault else f"not possible while {other.name} is active"
                raise FaultError(f"{name} is {state}: clear {other.name} first")
            await self._run(fault.inject, name)
            if fault.lasts_sec != 0:
                self._active[fault.part] = fault
            if fault.lasts_sec:
                self._endings[name] = asyncio.create_task(self._clear_after(fault, fault.lasts_sec))
        return self._report(f"{name}: {fault.what}")

    async def clear(self, name: str) -> str:
        """Clear a fault and say so. FaultError if it is not active, or if clearing fails."""
        fault = fault_named(name)
        async with self._lock:
            if self._active.get(fault.part) is not fault:
                raise FaultError(f"{name} is not active")
            if (ending := self._endings.pop(name, None)) is not None and ending is not asyncio.current_task():
                ending.cancel()
            await self._run(fault.clear, name)
            del self._active[fault.part]
        return self._report(f"{name} is cleared")

    async def handle(self, request: FaultRequest) -> FaultReply:
        """Do what a second terminal asks for."""
        try:
            if request.fault is not None and not request.clear:
                done = [await self.inject(request.fault)]
            else:
                names = [request.fault] if request.fault is not None else self.active if request.clear else []
                done = [await self.clear(name) for name in names]
        except CopilotError as error:
            return FaultReply(done=False, text=str(error), active=self.active)
        return FaultReply(done=True, text="; ".join(done) or "no fault is active", active=self.active)

    async def close(self) -> None:
        """Cancel the pending automatic endings."""
        for ending in self._endings.values():
            ending.cancel()

    async def _clear_after(self, fault: Fault, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.clear(fault.name)

    def _report(self, text: str) -> str:
        self._notify(text)
        return text

    async def _run(self, action: Action, name: str) -> None:
        try:
            await action(self._cluster)
        except CopilotError as error:
            raise FaultError(f"{name}: {error}") from error


@contextlib.asynccontextmanager
async def serving_requests(
    socket: Path, handle: Callable[[FaultRequest], Awaitable[FaultReply]]
) -> AsyncIterator[None]:
    """Answer fault requests on a unix socket while the context is open: one JSON line each way."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            try:
                reply = await handle(FaultRequest.model_validate_json(await reader.readline()))
            except ValidationError as error:
                reply = FaultReply(done=False, text=f"invalid request: {error.errors()[0]['msg']}", active=[])
            writer.write(reply.model_dump_json().encode() + b"\n")
            await writer.drain()

    # The socket is for this user alone: no other may write to a file made under this mask.
    mask = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(serve, socket)
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        server.close()


async def send_request(socket: Path, request: FaultRequest) -> FaultReply:
    """Send a request to a running demo and wait for the reply. StartError if the demo does not reply."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
        with contextlib.closing(writer):
            writer.write(request.model_dump_json().encode() + b"\n")
            return FaultReply.model_validate_json(await asyncio.wait_for(reader.readline(), REPLY_TIMEOUT_SEC))
    except (OSError, TimeoutError, ValidationError) as error:
        raise StartError(f"the demo at {socket} does not reply: {error!r}") from error
