"""What is broken on purpose: the Copilot's worker, API, PostgreSQL and Temporal as `copilot up` runs them, and a small
cluster to watch."""

import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from chaos.waiting import until
from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.postgres import Postgres, accepts_connections
from copilot.embedded.supervisor import Backoff, Event, Probe, Supervisor, http_responds, run_all
from copilot.embedded.temporal import DevServer, frontend_healthy
from copilot.embedded.up import OWN_SERVER, start_copilot, start_own_postgres, start_own_server

WORKER, API, STORE, SERVER = "copilot-worker", "copilot-api", "postgres", OWN_SERVER
VICTIMS = (WORKER, API, STORE, SERVER)
EVALUATING = (WORKER, SERVER)
"""Without these nothing is evaluated; without the others it is."""
WATCHED = "watched"
CLUSTER = "chaos"
INTERVAL_SEC = 2
DISK_MB = 384
WORKER_SAYS = "copilot worker is ready"


@dataclass(frozen=True)
class Stack:
    """The running stack. `disk` is where the store lives when that is a small disk of its own, else None."""

    supervisor: Supervisor
    server: DevServer
    postgres: Postgres
    page: str
    logs: Path
    disk: Path | None

    async def client(self) -> Client:
        """A client of the Copilot's own Temporal."""
        return await Client.connect(self.server.address, data_converter=pydantic_data_converter)

    def will_be_up(self, victim: str) -> Probe:
        """A probe to be made before a kill: is the victim back at its work?"""
        if victim == SERVER:
            return frontend_healthy(self.server.address)
        if victim == STORE:
            return accepts_connections(self.postgres.url)
        if victim == API:
            return http_responds(f"{self.page}/healthz")
        log = self.logs / f"{WORKER}.log"
        before = _said(log)

        async def worker() -> bool:
            return _said(log) > before

        return worker


@asynccontextmanager
async def stack(on_event: Callable[[Event], None], backoff: Backoff | None) -> AsyncIterator[Stack]:
    """Start it all, and end it all on leaving."""
    with tempfile.TemporaryDirectory(prefix="copilot-chaos-", ignore_cleanup_errors=True) as name:
        folder, logs = folders(name)
        with _small_disk(folder / "postgres") as disk:
            async with Supervisor(logs, on_event, backoff) as supervisor:
                watched = DevServer(WATCHED, folder / "watched.sqlite", *free_ports(3))
                await supervisor.start(watched.child({}))
                server, postgres = await run_all(
                    start_own_server(supervisor, folder), start_own_postgres(supervisor, folder)
                )
                (port,) = free_ports(1)
                config, page = folder / "copilot.toml", f"http://{LOOPBACK}:{port}"
                config.touch(mode=0o600)
                config.write_text(_configuration(watched, logs, server, postgres, port), encoding="utf-8")
                made = Stack(supervisor, server, postgres, page, logs, disk)
                ready = made.will_be_up(WORKER)
                await start_copilot(supervisor, config, page)
                await until(ready, f"{WORKER} to be ready")
                yield made


def folders(name: str) -> tuple[Path, Path]:
    """This folder, which other users may pass through, and one for logs in it."""
    folder = Path(name)
    folder.chmod(0o711)  # PostgreSQL, which runs as another user where we are root, passes through.
    (folder / "logs").mkdir()
    return folder, folder / "logs"


@contextmanager
def _small_disk(place: Path) -> Iterator[Path | None]:
    """A small disk in memory, mounted at `place`; None where we may not mount."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0711", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        done = False
    try:
        yield place if done else None
    finally:
        if done:
            subprocess.run(["umount", str(place)], check=False)


def _configuration(watched: DevServer, logs: Path, server: DevServer, postgres: Postgres, port: int) -> str:
    return f"""\
[temporal]
address = "{server.address}"
[store]
url = "{postgres.url}"
[api]
host = "{LOOPBACK}"
port = {port}
[[clusters]]
name = "{CLUSTER}"
interval_sec = {INTERVAL_SEC}
window_sec = 10
metrics = [{{ url = "{watched.metrics_url}", role = "server" }}]
[clusters.temporal]
address = "{watched.address}"
[clusters.logs]
files = ["{logs / WATCHED}.log"]
"""


def _said(log: Path) -> int:
    return log.read_text(encoding="utf-8", errors="replace").count(WORKER_SAYS) if log.exists() else 0
