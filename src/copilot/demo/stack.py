"""Everything that `copilot demo` starts: the watched cluster, the Copilot's own services, and the Copilot itself."""

import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from whenever import Instant

from copilot.demo.faults import BASELINE, FaultController, serving_requests
from copilot.demo.watched import WatchedCluster
from copilot.embedded.data_folder import RunningDemo, owned_folder
from copilot.embedded.ports import LOOPBACK, claim_port
from copilot.embedded.postgres import Postgres
from copilot.embedded.supervisor import Event, Supervisor, run_all
from copilot.embedded.temporal import DevServer
from copilot.embedded.up import start_copilot, start_own_postgres, start_own_server
from copilot.errors import StartError
from copilot.settings.clusters import ClusterSettings, WatchedTemporal

CLUSTER = "demo"
TASK_QUEUES = ("orders", "billing")
MAX_SOCKET_PATH = 100


@dataclass(frozen=True)
class DemoOptions:
    """The options of `copilot demo`. `port` 0: any free port. StartError if the interval is out of range."""

    data_dir: Path | None = None
    port: int = 0
    interval_sec: float = 10.0

    def __post_init__(self) -> None:
        try:
            ClusterSettings(name=CLUSTER, interval_sec=self.interval_sec, temporal=WatchedTemporal())
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise StartError(f"--interval {self.interval_sec:g}s cannot be used: {reason}") from error


@contextlib.asynccontextmanager
async def demo_stack(
    options: DemoOptions, on_event: Callable[[Event], None]
) -> AsyncIterator[tuple[RunningDemo, FaultController]]:
    """Start everything, and stop everything on exit. StartError says in one line what cannot be started."""
    api_port = claim_port(options.port)
    with owned_folder(options.data_dir) as folder, _socket_in(folder) as socket:
        logs, config, page = folder / "logs", folder / "copilot.toml", f"http://{LOOPBACK}:{api_port}"
        async with Supervisor(logs, on_event) as supervisor:
            watched = WatchedCluster(supervisor, folder, BASELINE, ui=True)
            faults = FaultController(watched, lambda text: on_event(Event("fault", "fault", text)))

            async def start_own() -> tuple[DevServer, Postgres]:
                store = start_own_postgres(supervisor, folder, throwaway=True)
                own_server, postgres = await run_all(start_own_server(supervisor, folder), store)
                # For its owner alone: the store's URL contains a password.
                config.touch(mode=0o600)
                config.write_text(_config(watched, options, logs, own_server, postgres, api_port), encoding="utf-8")
                await start_copilot(supervisor, config, page)
                return own_server, postgres

            try:
                _, (own_server, postgres) = await run_all(watched.start(), start_own())
                demo = RunningDemo(
                    pid=os.getpid(), started_at=Instant.now().format_iso(), children=supervisor.pids(),
                    data_dir=folder, config=config, logs=logs, socket=socket, page=page, store=postgres.public_url,
                    temporal=watched.server.address, copilot_temporal=own_server.address,
                    metrics={"server": watched.relay.url, **watched.worker_urls},
                )  # fmt: skip
                async with serving_requests(socket, faults.handle):
                    demo.write()
                    try:
                        yield demo, faults
                    finally:
                        demo.remove()
            finally:
                await faults.close()
                await watched.close()


def _config(
    watched: WatchedCluster, options: DemoOptions, logs: Path, own_server: DevServer, postgres: Postgres, api_port: int
) -> str:
    """The demo's copilot.toml."""
    quoted = json.dumps  # A JSON string of ASCII is a TOML string.
    endpoints = [(watched.relay.url, "server"), *((url, "worker") for url in watched.worker_urls.values())]
    metrics = "\n".join(f'[[clusters.metrics]]\nurl = "{url}"\nrole = "{role}"' for url, role in endpoints)
    return f"""\
# Written by `copilot demo`; `copilot up --help` shows a configuration of your own.
[temporal]
address = "{own_server.address}"
[store]
url = {quoted(postgres.url)}
[api]
host = "{LOOPBACK}"
port = {api_port}
[[clusters]]
name = "{CLUSTER}"
interval_sec = {options.interval_sec:g}
[clusters.temporal]
address = "{watched.server.address}"
ui_url = "{watched.server.ui_url}"
task_queues = {quoted(TASK_QUEUES)}
[clusters.logs]
files = [{quoted(str(logs / f"{watched.server.name}.log"))}]
{metrics}
"""


@contextlib.contextmanager
def _socket_in(folder: Path) -> Iterator[Path]:
    """The demo's socket: in its folder, or in a short temporary one where that path is too long for a socket."""
    socket = folder / "demo.socket"
    if len(os.fsencode(socket)) <= MAX_SOCKET_PATH:
        yield socket
        return
    with tempfile.TemporaryDirectory(prefix="copilot-") as short:
        yield Path(short) / socket.name
