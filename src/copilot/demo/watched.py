"""A loopback relay in front of a metrics page, so that the page can be cut off while its server lives."""

import asyncio
import contextlib
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from copilot.demo.load import Profile
from copilot.demo.worker import DEPLOYMENT, WorkerTuning
from copilot.demo.workflows import Job, OrderWorkflow
from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.supervisor import Child, Supervisor, http_answers, together
from copilot.embedded.temporal import DevServer, DynamicConfig
from copilot.errors import StartError

CHUNK = 1 << 18


class MetricsRelay:
    """Listens on `port` and hands bytes to and from `target_port`. Cut: connections are refused. `fail_every`: each
    n-th request is hung up on instead of answered (None: none)."""

    def __init__(self, port: int, target_port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}/metrics"
        self._port = port
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._requests = 0
        self.fail_every: int | None = None

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def restore(self) -> None:
        """Listen (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._relay, LOOPBACK, self._port)

    async def cut(self) -> None:
        """Listen no more, and drop what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for writer in list(self._open):
                writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        writers = {writer, target_writer}
        self._open |= writers
        ways = [
            asyncio.create_task(_copy(reader, target_writer, self._may_pass)),
            asyncio.create_task(_copy(target_reader, writer)),
        ]
        try:
            await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            for each in writers:
                each.transport.abort()
            self._open -= writers

    def _may_pass(self, data: bytes) -> bool:
        if not data.startswith(b"GET "):
            return True
        self._requests += 1
        return not self.fail_every or self._requests % self.fail_every != 0


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_pass: Callable[[bytes], bool] = lambda _data: True
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            if not may_pass(data):
                writer.transport.abort()
                return
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


FORGOTTEN = "forgotten"
KNOWN_WITHIN_SEC = 20.0


async def forget(address: str, workflows: int) -> None:
    """Start so many workflows on a task queue that nobody polls."""
    if not workflows:
        return
    client = await Client.connect(address)
    for number in range(workflows):
        await client.start_workflow(OrderWorkflow.run, Job(), id=f"forgotten-{number}", task_queue=FORGOTTEN)


async def set_current_build(address: str, build: str) -> None:
    """Make a build the current version of the demo's workers; StartError if the server does not."""
    client = await Client.connect(address)
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=DEPLOYMENT,
        build_id=build,
        ignore_missing_task_queues=True,
        allow_no_pollers=True,
    )
    end = asyncio.get_running_loop().time() + KNOWN_WITHIN_SEC
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
            return
        except RPCError as error:
            # The deployment is known soon after its first poll.
            waiting = error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
            if not waiting or asyncio.get_running_loop().time() > end:
                raise StartError(f"the worker version {build} could not be made current: {error}") from error
        await asyncio.sleep(0.5)


async def server_version(address: str) -> str:
    """The version the server says it has."""
    client = await Client.connect(address)
    return (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version


SERVER = "watched-server"
LOAD = "load"
WORKERS = ("worker-1", "worker-2")
QUICK_BACKLOG_GAUGES: DynamicConfig = {"matching.backlogMetricsEmitInterval": "3s"}
STAGE_SERVER, STAGE_WORKERS, STAGE_LOAD = 0, 1, 2
LOCK_WITHIN_SEC = 20.0


@dataclass(frozen=True)
class Usual:
    """How a watched cluster is when nothing is wrong: what its server always runs with, its load, and its workers.
    `forgotten`: workflows started before the workers, on a task queue nobody ever polls."""

    dynamic_config: DynamicConfig = field(default_factory=lambda: QUICK_BACKLOG_GAUGES)
    load: Profile = field(default_factory=Profile)
    workers: Mapping[str, WorkerTuning] = field(default_factory=lambda: dict.fromkeys(WORKERS, WorkerTuning()))
    forgotten: int = 0


class WatchedCluster:
    """The watched half of the demo, in `folder`."""

    def __init__(self, supervisor: Supervisor, folder: Path, usual: Usual | None = None) -> None:
        port, metrics, http, relay, *workers = free_ports(4 + len(WORKERS))
        self.server = DevServer(SERVER, folder / "watched.sqlite", port, metrics, http, log_level="info")
        self.relay = MetricsRelay(relay, metrics)
        self.worker_ports = dict(zip(WORKERS, workers, strict=True))
        self._supervisor = supervisor
        self.usual = usual or Usual()
        self._profile_file = folder / "load.json"
        self._outage_file = folder / "third-party-is-down"
        self._lock: sqlite3.Connection | None = None

    @property
    def worker_urls(self) -> list[str]:
        """The workers' metrics pages."""
        return [f"http://{LOOPBACK}:{port}/metrics" for port in self.worker_ports.values()]

    async def start(self) -> None:
        """Server first, then workers and load. StartError says what could not be started."""
        self.set_load(self.usual.load)
        await self.relay.restore()
        await self._supervisor.start(self.server.child(self.usual.dynamic_config, stage=STAGE_SERVER))
        await forget(self.server.address, self.usual.forgotten)
        await self._supervisor.start(*(self._worker(name, self.usual.workers[name]) for name in WORKERS))
        builds = [tuning.build for tuning in self.usual.workers.values() if tuning.build is not None]
        if builds:
            await self.set_current_build(builds[0])
        await self._supervisor.start(self._load())

    async def close(self) -> None:
        """Let go of what is not a process: the relay, the database lock."""
        self.unlock_database()
        await self.relay.cut()

    def set_load(self, profile: Profile) -> None:
        """From now on, load like this."""
        profile.write(self._profile_file)

    async def kill_workers(self, *names: str) -> None:
        """SIGKILL these workers, or all, and hold them down."""
        for name in names or WORKERS:
            await self._supervisor.hold(name)

    async def release_workers(self, tuning: WorkerTuning | None = None, *names: str) -> None:
        """Start these workers, or all, held down before, and wait until they poll; as usual unless tuned."""
        children = [self._worker(name, tuning or self.usual.workers[name]) for name in names or WORKERS]
        await together(*(self._supervisor.release(child.name, child) for child in children))

    async def deploy_workers(self, tuning: WorkerTuning | None = None, *names: str) -> None:
        """Stop these workers, or all, one after the other as a deploy does, each started before the next is stopped."""
        for name in names or WORKERS:
            await self._supervisor.hold(name, gently=True)
            await self.release_workers(tuning, name)

    async def set_current_build(self, build: str) -> None:
        """From now on, new work is for workers of this build, whether there are any or not."""
        await set_current_build(self.server.address, build)

    def break_third_party(self) -> None:
        """From now on, what special workflows depend on is down."""
        self._outage_file.touch()

    def mend_third_party(self) -> None:
        """It is back."""
        self._outage_file.unlink(missing_ok=True)

    def freeze_server(self) -> None:
        """SIGSTOP."""
        self._supervisor.send_signal(SERVER, signal.SIGSTOP)

    def thaw_server(self) -> None:
        """SIGCONT."""
        self._supervisor.send_signal(SERVER, signal.SIGCONT)

    async def kill_server(self) -> None:
        """SIGKILL, and hold it down."""
        await self._supervisor.hold(SERVER)

    async def release_server(self, extra: DynamicConfig | None = None) -> None:
        """Start the server, held down before, on the same database and ports, with `extra` dynamic config."""
        changed = self.server.child({**self.usual.dynamic_config, **(extra or {})}, stage=STAGE_SERVER)
        await self._supervisor.release(SERVER, changed)

    async def restart_server(self, extra: DynamicConfig | None = None, *, down_sec: float = 0.0) -> None:
        """SIGKILL, and `down_sec` later start again on the same database and ports, with `extra` dynamic config."""
        await self.kill_server()
        await asyncio.sleep(down_sec)
        await self.release_server(extra)

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

    def _worker(self, name: str, tuning: WorkerTuning) -> Child:
        port = self.worker_ports[name]
        return Child(
            name,
            (sys.executable, "-m", "copilot.demo.worker", "--address", self.server.address,
             "--metrics-port", str(port), "--tuning", tuning.model_dump_json(exclude_defaults=True),
             "--outage", str(self._outage_file)),
            ready=http_answers(f"http://{LOOPBACK}:{port}/metrics", containing="temporal_num_pollers"),
            stop_within=2.0,
            stage=STAGE_WORKERS,
        )  # fmt: skip

    def _load(self) -> Child:
        argv = (
            sys.executable, "-m", "copilot.demo.load", "--address", self.server.address,
            "--profile", str(self._profile_file),
        )  # fmt: skip
        return Child(LOAD, argv, stop_within=2.0, stage=STAGE_LOAD)
