"""The real faults of the demo, one table, and the desk that injects and clears them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from copilot.core.errors import CopilotError
from copilot.local.load import Profile
from copilot.local.temporal_server import DynamicConfig
from copilot.local.watched import WatchedCluster
from copilot.local.worker_tuning import WorkerTuning

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
