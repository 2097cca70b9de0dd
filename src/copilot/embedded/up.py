"""`copilot up`: the worker, the API and, where the configuration names none, an embedded Temporal and PostgreSQL."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from copilot.embedded.data_folder import locked
from copilot.embedded.ports import claim_port, free_ports
from copilot.embedded.postgres import Postgres, prepare
from copilot.embedded.services import LOCK, EmbeddedServices, published
from copilot.embedded.supervisor import Child, Event, Probe, Supervisor, http_responds, run_all
from copilot.embedded.temporal import DevServer
from copilot.errors import SettingsError
from copilot.settings.load import Settings

OWN_SERVER = "copilot-server"
STAGE_PROCESSES = 1
"""The Copilot's processes stop before the servers they use."""


@dataclass(frozen=True)
class Up:
    """A running `copilot up`: its page, its data folder, and a description of its Temporal and its store."""

    page: str
    data_dir: Path
    temporal: str
    store: str


async def run_up(
    settings: Settings, config: Path | None, folder: Path, on_event: Callable[[Event], None],
    on_running: Callable[[Up], None],
) -> None:  # fmt: skip
    """Start everything, report it to `on_running`, and run until cancelled. SettingsError or StartError says in one
    line what is wrong."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    with locked(folder, LOCK, "`copilot up`"):  # first: a second one should hear of the first, not of its port
        port = claim_port(settings.api.port, option="[api] port")
        async with Supervisor(folder / "logs", on_event) as supervisor:
            services = await _start_services(settings, supervisor, folder)
            page = f"{settings.api.scheme}://{settings.api.host_here}:{port}"
            addresses = {"COPILOT_TEMPORAL__ADDRESS": services.temporal, "COPILOT_STORE__URL": services.store}
            given = {name: address for name, address in addresses.items() if address}
            await start_copilot(supervisor, config, page, {"COPILOT_API__PORT": str(port), **given})
            embedded = f"embedded, in {folder}"
            running = Up(
                page=page,
                data_dir=folder,
                temporal=f"{services.temporal} ({embedded})" if services.temporal else settings.temporal.address,
                store=embedded if services.store else "your own",
            )
            with published(folder, services):
                on_running(running)
                await asyncio.Event().wait()


async def _start_services(settings: Settings, supervisor: Supervisor, folder: Path) -> EmbeddedServices:
    """Start the services that the configuration does not name, in parallel."""

    async def temporal() -> str | None:
        return None if settings.temporal.given else (await start_own_server(supervisor, folder)).address

    async def store() -> str | None:
        return (await start_own_postgres(supervisor, folder)).url if settings.store.url is None else None

    address, url = await run_all(temporal(), store())
    return EmbeddedServices(temporal=address, store=url)


async def start_copilot(
    supervisor: Supervisor, config: Path | None, api_url: str, environment: Mapping[str, str | None] | None = None
) -> None:
    """Create the store's tables, then start the worker, the API and the loops on one configuration file (None: the one
    in the working directory, if any). `environment` changes theirs; by default only the file counts, and loopback needs
    no proxy."""
    foreign = (key for key in os.environ if key.startswith(("COPILOT_", "TEMPORAL_")))
    env = dict(environment or {**dict.fromkeys(foreign), "NO_PROXY": "127.0.0.1,localhost"})
    env["COPILOT_WORKER__START_LOOPS"] = "true"  # Temporal may lose its database, and someone may end a loop.

    def command(name: str, *words: str, ready: Probe | None = None) -> Child:
        argv = (sys.executable, "-m", "copilot", *words, *(("--config", str(config)) if config else ()))
        return Child(name, argv, env=env, ready=ready, ready_within=60, stage=STAGE_PROCESSES)

    await supervisor.run(command("setup-schema", "db", "setup-schema"))
    api = command("copilot-api", "api", ready=http_responds(f"{api_url}/healthz"))
    await run_all(
        supervisor.start(command("copilot-worker", "worker"), api), supervisor.run(command("copilot-start", "start"))
    )


async def start_own_server(supervisor: Supervisor, folder: Path) -> DevServer:
    """Start the Copilot's Temporal. Returns when it is ready."""
    server = DevServer(OWN_SERVER, folder / "copilot.sqlite", *free_ports(3))
    await supervisor.start(server.child({}))
    return server


async def start_own_postgres(supervisor: Supervisor, folder: Path, *, throwaway: bool = False) -> Postgres:
    """Start the Copilot's PostgreSQL. Returns when it is ready."""
    postgres = await prepare(supervisor, folder / "postgres", free_ports(1)[0], throwaway=throwaway)
    await supervisor.start(postgres.child())
    return postgres
