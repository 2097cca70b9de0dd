"""The copilot.toml of an embedded Copilot that watches an embedded cluster."""

import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from whenever import Instant

from copilot.demo.faults import Answer, FaultDesk, Wish, listening, refusal
from copilot.demo.watched import WatchedCluster
from copilot.embedded.data_folder import RunningDemo, owned_folder
from copilot.embedded.ports import LOOPBACK, claim_port, free_ports
from copilot.embedded.postgres import Postgres
from copilot.embedded.processes import CopilotProcesses, start_own_servers
from copilot.embedded.supervisor import Event, Supervisor, together
from copilot.embedded.temporal import DevServer
from copilot.errors import CopilotError, StartError
from copilot.settings.clusters import ClusterSettings, WatchedTemporal


@dataclass(frozen=True)
class Watching:
    """How a cluster is watched. `logs`: the folder its server's log file is in."""

    cluster: str
    interval_sec: float
    task_queues: tuple[str, ...]
    logs: Path


def write_config(
    file: Path, watched: WatchedCluster, watching: Watching, own_server: DevServer, postgres: Postgres, api_port: int
) -> None:
    """Write the file, for its owner alone: the store's URL has a password in it."""
    file.touch(mode=0o600)
    quoted = json.dumps  # A JSON string of ASCII is a TOML string.
    endpoints = [(watched.relay.url, "server"), *((url, "worker") for url in watched.worker_urls)]
    lines = [
        "# Written by `copilot demo`; read `copilot up --help` for a configuration of your own.",
        "[temporal]",
        f"address = {quoted(own_server.address)}",
        "[store]",
        f"url = {quoted(postgres.url)}",
        "[api]",
        f"host = {quoted(LOOPBACK)}",
        f"port = {api_port}",
        "[[clusters]]",
        f"name = {quoted(watching.cluster)}",
        f"interval_sec = {watching.interval_sec:g}",
        "[clusters.temporal]",
        f"address = {quoted(watched.server.address)}",
        f"task_queues = {quoted(watching.task_queues)}",
        "[clusters.logs]",
        f"files = [{quoted(str(watching.logs / f'{watched.server.name}.log'))}]",
    ]
    for url, role in endpoints:
        lines += ["[[clusters.metrics]]", f"url = {quoted(url)}", f"role = {quoted(role)}"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


CLUSTER = "demo"
TASK_QUEUES = ("orders", "billing")
LONGEST_SOCKET_PATH = 100


@dataclass(frozen=True)
class DemoOptions:
    """What the person asked for. `port` 0: a free one. `with_copilot` False: only servers, workers and load.

    StartError if the interval is none the Copilot can be set to."""

    data_dir: Path | None = None
    port: int = 0
    interval_sec: float = 10.0
    with_copilot: bool = True

    def __post_init__(self) -> None:
        try:
            ClusterSettings(name=CLUSTER, interval_sec=self.interval_sec, temporal=WatchedTemporal())
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise StartError(f"--interval {self.interval_sec:g}s cannot be used: {reason}") from error


@dataclass(frozen=True)
class DemoStack:
    """A running demo: what it is made of, and the desk that breaks it."""

    described: RunningDemo
    desk: FaultDesk
    watched: WatchedCluster


@contextlib.asynccontextmanager
async def demo_stack(options: DemoOptions, on_event: Callable[[Event], None]) -> AsyncIterator[DemoStack]:
    """Start everything, and end everything on leaving. StartError says in one line what could not be started."""
    api_port = claim_port(options.port)
    with owned_folder(options.data_dir) as folder, _socket_in(folder) as socket:
        logs = folder / "logs"
        async with Supervisor(logs, on_event) as supervisor:
            watched = WatchedCluster(supervisor, folder)
            desk = FaultDesk(watched, lambda text: on_event(Event("fault", "fault", text)))
            own: list[tuple[DevServer, Postgres]] = []
            page, config = f"http://{LOOPBACK}:{api_port}", folder / "copilot.toml"

            async def copilot_half() -> None:
                servers = await start_own_servers(supervisor, folder, free_ports(4), throwaway=True)
                own.append(servers)
                watching = Watching(CLUSTER, options.interval_sec, TASK_QUEUES, logs)
                write_config(config, watched, watching, *servers, api_port)
                if options.with_copilot:
                    processes = CopilotProcesses(supervisor, config, page)
                    await processes.set_up_store()
                    await processes.start()

            try:
                await together(watched.start(), copilot_half())
                ((own_server, postgres),) = own
                described = RunningDemo(
                    pid=os.getpid(),
                    started_at=Instant.now().format_iso(),
                    data_dir=folder,
                    socket=socket,
                    page=page,
                    temporal=watched.server.address,
                    copilot_temporal=own_server.address,
                    metrics={
                        "server": watched.relay.url,
                        **dict(zip(watched.worker_ports, watched.worker_urls, strict=True)),
                    },
                    store=postgres.public_url,
                    config=config,
                    logs=logs,
                    children=supervisor.pids(),
                )

                async def grant(wish: Wish) -> Answer:
                    return await _grant(desk, wish)

                async with listening(socket, grant):
                    described.write()
                    try:
                        yield DemoStack(described, desk, watched)
                    finally:
                        described.remove()
            finally:
                await desk.close()
                await watched.close()


async def _grant(desk: FaultDesk, wish: Wish) -> Answer:
    try:
        if wish.fault is None:
            cleared = [await desk.clear(name) for name in desk.active] if wish.clear else []
            return Answer(done=True, text="; ".join(cleared) or "nothing to clear", active=desk.active)
        done = await (desk.clear(wish.fault) if wish.clear else desk.inject(wish.fault))
    except CopilotError as error:
        return refusal(error, desk.active)
    return Answer(done=True, text=done, active=desk.active)


@contextlib.contextmanager
def _socket_in(folder: Path) -> Iterator[Path]:
    """Where the demo listens: in its folder, or in a short temporary one where that path is too long for a socket."""
    socket = folder / "demo.socket"
    if len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH:
        yield socket
        return
    with tempfile.TemporaryDirectory(prefix="copilot-") as short:
        yield Path(short) / socket.name
