"""The cluster that the demo and the lab watch: a real Temporal server, workers and load, with methods that break it."""

import asyncio
import contextlib
import signal
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from copilot.demo.load import REQUEST_TIMEOUT, Profile
from copilot.demo.worker import DEPLOYMENT, WorkerTuning
from copilot.demo.workflows import Job, OrderWorkflow
from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.supervisor import Child, Supervisor, http_responds
from copilot.embedded.temporal import DevServer, DynamicConfig
from copilot.errors import StartError

SERVER = "watched-server"
LOAD = "load"
WORKERS = ("worker-1", "worker-2")
ABANDONED_QUEUE = "forgotten"
"""A task queue that no worker polls."""
FAST_BACKLOG_GAUGES: DynamicConfig = {"matching.backlogMetricsEmitInterval": "3s"}
STAGE_WORKERS, STAGE_LOAD = 1, 2
LOCK_TIMEOUT_SEC = 20.0
DEPLOYMENT_TIMEOUT_SEC = 60.0
NOT_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.RESOURCE_EXHAUSTED,
           RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)  # fmt: skip
CHUNK_BYTES = 1 << 18


class MetricsRelay:
    """A TCP relay in front of a metrics page, to cut the page off while its server runs. It listens on `port` and
    relays to `target_port`. Cut: connections are refused. `fail_every`: drop every n-th request (None: none)."""

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

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def restore(self) -> None:
        """Start listening."""
        if self._server is None:
            self._server = await asyncio.start_server(self._relay, LOOPBACK, self._port)

    async def cut(self) -> None:
        """Stop listening and drop open connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for writer in list(self._open):
                writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = {writer}
        try:
            target_reader, target_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
            writers.add(target_writer)
            self._open |= writers
            await asyncio.gather(self._copy(reader, target_writer, requests=True), self._copy(target_reader, writer))
        except OSError:
            return
        finally:
            for each in writers:
                each.transport.abort()
            self._open -= writers

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if requests and data.startswith(b"GET "):
                    self._requests += 1
                    if self.fail_every and self._requests % self.fail_every == 0:
                        writer.transport.abort()
                        return
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


@dataclass(frozen=True)
class Baseline:
    """A watched cluster without faults: the server's dynamic config, the load, and the workers. `abandoned`: workflows
    started before the workers, on a task queue that is never polled."""

    dynamic_config: DynamicConfig = field(default_factory=lambda: FAST_BACKLOG_GAUGES)
    load: Profile = field(default_factory=Profile)
    workers: Mapping[str, WorkerTuning] = field(default_factory=lambda: dict.fromkeys(WORKERS, WorkerTuning()))
    abandoned: int = 0


class WatchedCluster:
    """A Temporal server, two workers and a load, in `folder`. Its methods inject and clear faults. `binary`: the
    `temporal` program to run, instead of the one that is installed. `ui`: with Temporal's UI."""

    def __init__(
        self, supervisor: Supervisor, folder: Path, baseline: Baseline | None = None, binary: Path | None = None,
        *, ui: bool = False,
    ) -> None:  # fmt: skip
        port, metrics, http, relay, ui_port, *workers = free_ports(5 + len(WORKERS))
        file = folder / "watched.sqlite"
        shown = ui_port if ui else None
        self.server = DevServer(SERVER, file, port, metrics, http, log_level="info", binary=binary, ui_port=shown)
        self.relay = MetricsRelay(relay, metrics)
        self._worker_ports = dict(zip(WORKERS, workers, strict=True))
        self._supervisor = supervisor
        self.baseline = baseline or Baseline()
        self._profile_file = folder / "load.json"
        self._outage_file = folder / "third-party-is-down"
        self._lock: sqlite3.Connection | None = None

    @property
    def server_urls(self) -> tuple[str, ...]:
        """The server's metrics pages."""
        return (self.relay.url,)

    @property
    def worker_urls(self) -> dict[str, str]:
        """The workers' metrics pages by name."""
        return {name: f"http://{LOOPBACK}:{port}/metrics" for name, port in self._worker_ports.items()}

    async def start(self) -> None:
        """Start the server, then workers and load. StartError names what cannot be started."""
        await self.change_load()
        await self.relay.restore()
        await self.start_server()
        for number in range(self.baseline.abandoned):
            client, name = await Client.connect(self.server.address), f"forgotten-{number}"
            await client.start_workflow(OrderWorkflow.run, Job(), id=name, task_queue=ABANDONED_QUEUE)
        await self._supervisor.start(*(self._worker(name, self.baseline.workers[name]) for name in WORKERS))
        builds = [tuning.build for tuning in self.baseline.workers.values() if tuning.build is not None]
        if builds:
            await self.set_current_build(builds[0])
        load = (sys.executable, "-m", "copilot.demo.load", self.server.address, str(self._profile_file))
        await self._supervisor.start(Child(LOAD, load, stop_within=2.0, stage=STAGE_LOAD))

    async def close(self) -> None:
        """Release what is not a process: the relay and the database lock."""
        await self.unlock_database()
        await self.relay.cut()

    async def set_load(self, profile: Profile) -> None:
        """Run this load from now on."""
        profile.write(self._profile_file)

    async def change_load(self, factor: float = 1.0, **fields: float) -> None:
        """Run the baseline load from now on, scaled by `factor`, with these fields of its profile changed."""
        await self.set_load(self.baseline.load.times(factor).model_copy(update=fields))

    async def kill_workers(self, *names: str) -> None:
        """Kill these workers, or all, with SIGKILL, and keep them down."""
        for name in names or WORKERS:
            await self._supervisor.take_down(name)

    async def start_workers(self, tuning: WorkerTuning | None = None, *names: str) -> None:
        """Start these workers, or all, after they were killed, and wait until they poll; without a tuning, as in the
        baseline."""
        children = [self._worker(name, tuning or self.baseline.workers[name]) for name in names or WORKERS]
        await self._supervisor.start(*children)

    async def deploy_workers(self, tuning: WorkerTuning | None = None, *names: str) -> None:
        """Restart these workers, or all, gracefully and one after the other, as a rolling deploy does."""
        for name in names or WORKERS:
            await self._supervisor.take_down(name, graceful=True)
            await self.start_workers(tuning, name)

    async def set_current_build(self, build: str) -> None:
        """Send new work to workers of this build, whether there are any or not. StartError if the server refuses."""
        client = await Client.connect(self.server.address)
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=client.namespace, deployment_name=DEPLOYMENT, build_id=build, ignore_missing_task_queues=True,
            allow_no_pollers=True,
        )  # fmt: skip
        end = asyncio.get_running_loop().time() + DEPLOYMENT_TIMEOUT_SEC
        while True:
            try:
                await client.workflow_service.set_worker_deployment_current_version(request, timeout=REQUEST_TIMEOUT)
                return
            except RPCError as error:
                # The server knows the deployment only some time after its first poll, and takes few requests about it.
                if error.status not in NOT_YET or asyncio.get_running_loop().time() > end:
                    raise StartError(f"worker version {build} cannot be made current: {error}") from error
            await asyncio.sleep(2.0)

    async def server_version(self) -> str:
        """The server's version, as it reports it."""
        client = await Client.connect(self.server.address)
        return (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version

    async def break_third_party(self) -> None:
        """Take down what the activities of special workflows depend on."""
        self._outage_file.touch()

    async def restore_third_party(self) -> None:
        """Bring it back."""
        self._outage_file.unlink(missing_ok=True)

    async def fail_reads(self, every: int | None) -> None:
        """Drop every n-th read of the server's metrics page; None: none."""
        self.relay.fail_every = every

    async def freeze_server(self) -> None:
        """Send the server SIGSTOP."""
        self._supervisor.send_signal(SERVER, signal.SIGSTOP)

    async def thaw_server(self) -> None:
        """Send the server SIGCONT."""
        self._supervisor.send_signal(SERVER, signal.SIGCONT)

    async def kill_server(self) -> None:
        """Kill the server with SIGKILL, and keep it down."""
        await self._supervisor.take_down(SERVER)

    async def start_server(self, extra: DynamicConfig | None = None) -> None:
        """Start the killed server on the same database and ports, with `extra` dynamic config."""
        await self._supervisor.start(self.server.child({**self.baseline.dynamic_config, **(extra or {})}))

    async def restart_server(self, extra: DynamicConfig | None = None, *, down_sec: float = 0.0) -> None:
        """Kill the server and start it `down_sec` seconds later, with `extra` dynamic config."""
        await self.kill_server()
        await asyncio.sleep(down_sec)
        await self.start_server(extra)

    async def lock_database(self) -> None:
        """Take the database's write lock and keep it. StartError if it cannot be taken."""
        file = self.server.database
        connection = sqlite3.connect(file, LOCK_TIMEOUT_SEC, isolation_level=None, check_same_thread=False)
        try:
            await asyncio.to_thread(connection.execute, "BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            raise StartError(f"the server's database cannot be locked: {error}") from error
        self._lock = connection

    async def unlock_database(self) -> None:
        """Release the write lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _worker(self, name: str, tuning: WorkerTuning) -> Child:
        argv = (
            sys.executable, "-m", "copilot.demo.worker", self.server.address, str(self._worker_ports[name]),
            tuning.model_dump_json(exclude_defaults=True), str(self._outage_file),
        )  # fmt: skip
        polls = http_responds(self.worker_urls[name], containing="temporal_num_pollers")
        return Child(name, argv, ready=polls, stop_within=2.0, stage=STAGE_WORKERS)
