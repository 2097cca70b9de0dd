"""The cluster the demo watches: a Temporal dev server, two worker processes, load; and the handles to break it by."""

import asyncio
import signal
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

from copilot.core.errors import StartError
from copilot.local.child import Child
from copilot.local.load import Profile
from copilot.local.metrics_relay import MetricsRelay
from copilot.local.ports import LOOPBACK, free_ports
from copilot.local.probes import http_answers
from copilot.local.supervisor import Supervisor, together
from copilot.local.temporal_server import DevServer, DynamicConfig

SERVER = "watched-server"
LOAD = "load"
WORKERS = ("worker-1", "worker-2")
QUICK_BACKLOG_GAUGES: DynamicConfig = {"matching.backlogMetricsEmitInterval": "3s"}
STAGE_SERVER, STAGE_WORKERS, STAGE_LOAD = 0, 1, 2
LOCK_WITHIN_SEC = 20.0


@dataclass(frozen=True)
class WorkerTuning:
    """How the demo workers run: activities at once per task queue (None: their default), and seconds per activity."""

    slots: int | None = None
    activity_sec: float | None = None


class WatchedCluster:
    """The watched half of the demo, in `folder`. `dynamic_config`: what its server always runs with."""

    def __init__(
        self, supervisor: Supervisor, folder: Path, dynamic_config: DynamicConfig = QUICK_BACKLOG_GAUGES
    ) -> None:
        port, metrics, http, relay, *workers = free_ports(4 + len(WORKERS))
        self.server = DevServer(SERVER, folder / "watched.sqlite", port, metrics, http)
        self.relay = MetricsRelay(relay, metrics)
        self.worker_ports = dict(zip(WORKERS, workers, strict=True))
        self._supervisor = supervisor
        self._dynamic_config = dict(dynamic_config)
        self._profile_file = folder / "load.json"
        self._lock: sqlite3.Connection | None = None

    @property
    def worker_urls(self) -> list[str]:
        """The workers' metrics pages."""
        return [f"http://{LOOPBACK}:{port}/metrics" for port in self.worker_ports.values()]

    async def start(self) -> None:
        """Server first, then workers and load. StartError says what could not be started."""
        self.set_load(Profile())
        await self.relay.restore()
        await self._supervisor.start(self.server.child(self._dynamic_config, stage=STAGE_SERVER))
        await self._supervisor.start(*self._workers(WorkerTuning()), self._load())

    async def close(self) -> None:
        """Let go of what is not a process: the relay, the database lock."""
        self.unlock_database()
        await self.relay.cut()

    def set_load(self, profile: Profile) -> None:
        """From now on, load like this."""
        profile.write(self._profile_file)

    async def kill_workers(self) -> None:
        """SIGKILL both workers and hold them down."""
        for name in WORKERS:
            await self._supervisor.hold(name)

    async def release_workers(self, tuning: WorkerTuning | None = None) -> None:
        """Start both workers, held down before, and wait until they poll."""
        children = self._workers(tuning or WorkerTuning())
        await together(*(self._supervisor.release(child.name, child) for child in children))

    def freeze_server(self) -> None:
        """SIGSTOP."""
        self._supervisor.send_signal(SERVER, signal.SIGSTOP)

    def thaw_server(self) -> None:
        """SIGCONT."""
        self._supervisor.send_signal(SERVER, signal.SIGCONT)

    async def restart_server(self, extra: DynamicConfig | None = None, *, down_sec: float = 0.0) -> None:
        """SIGKILL, and `down_sec` later start again on the same database and ports, with `extra` dynamic config."""
        await self._supervisor.hold(SERVER)
        await asyncio.sleep(down_sec)
        changed = self.server.child({**self._dynamic_config, **(extra or {})}, stage=STAGE_SERVER)
        await self._supervisor.release(SERVER, changed)

    async def lock_database(self) -> None:
        """Take the database's write lock and keep it; StartError if it is not to be had."""
        connection = sqlite3.connect(
            self.server.database, timeout=LOCK_WITHIN_SEC, isolation_level=None, check_same_thread=False
        )
        try:
            await asyncio.to_thread(connection.execute, "BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            raise StartError(f"the server's database could not be locked: {error}") from error
        self._lock = connection

    def unlock_database(self) -> None:
        """Give the write lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _workers(self, tuning: WorkerTuning) -> list[Child]:
        options: tuple[str, ...] = ()
        if tuning.slots is not None:
            options += ("--slots", str(tuning.slots))
        if tuning.activity_sec is not None:
            options += ("--activity-sec", str(tuning.activity_sec))
        return [
            Child(
                name,
                (sys.executable, "-m", "copilot.local.demo_worker", "--address", self.server.address,
                 "--metrics-port", str(port), *options),
                ready=http_answers(f"http://{LOOPBACK}:{port}/metrics", containing="temporal_num_pollers"),
                stop_within=2.0,
                stage=STAGE_WORKERS,
            )
            for name, port in self.worker_ports.items()
        ]  # fmt: skip

    def _load(self) -> Child:
        argv = (
            sys.executable, "-m", "copilot.local.load", "--address", self.server.address,
            "--profile", str(self._profile_file),
        )  # fmt: skip
        return Child(LOAD, argv, stop_within=2.0, stage=STAGE_LOAD)
