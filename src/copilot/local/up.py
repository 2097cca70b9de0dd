"""`copilot up`: the Copilot on copilot.toml, with a Temporal and a PostgreSQL of its own where none are given."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from copilot.bootstrap import temporal_given
from copilot.core.errors import SettingsError
from copilot.local.brought import LOCK, Brought, described
from copilot.local.copilot_processes import OWN_SERVER, STAGE_SERVERS, CopilotProcesses
from copilot.local.data_folder import locked
from copilot.local.ports import claim_port, free_ports
from copilot.local.postgres import prepare
from copilot.local.supervisor import Event, Supervisor, together
from copilot.local.temporal_server import DevServer
from copilot.settings import Settings

EMBEDDED = "embedded, in {}"


@dataclass(frozen=True)
class Up:
    """What runs: where the page is, where the data are, and whose Temporal and store are used."""

    page: str
    data_dir: Path
    temporal: str
    store: str


@contextlib.asynccontextmanager
async def everything_up(
    settings: Settings, config: Path | None, folder: Path, on_event: Callable[[Event], None]
) -> AsyncIterator[Up]:
    """Start everything, and end everything on leaving. SettingsError or StartError says in one line what is wrong."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    port = claim_port(settings.api.port, option="[api] port")
    with locked(folder, LOCK, "`copilot up`"):
        async with Supervisor(folder / "logs", on_event) as supervisor:
            environment: dict[str, str | None] = {"COPILOT_API__PORT": str(port)}
            temporal, store = settings.temporal.address, "your own"

            async def own_temporal() -> None:
                frontend, metrics, http = free_ports(3)
                server = DevServer(OWN_SERVER, folder / "copilot.sqlite", frontend, metrics, http)
                await supervisor.start(server.child({}, stage=STAGE_SERVERS))
                environment["COPILOT_TEMPORAL__ADDRESS"] = server.address

            async def own_store() -> None:
                postgres = await prepare(supervisor, folder / "postgres", free_ports(1)[0])
                await supervisor.start(postgres.child(stage=STAGE_SERVERS))
                environment["COPILOT_STORE__URL"] = postgres.url

            wanted = []
            if not temporal_given(settings):
                wanted.append(own_temporal())
            if settings.store.url is None:
                wanted.append(own_store())
                store = EMBEDDED.format(folder)
            if wanted:
                await together(*wanted)
            if address := environment.get("COPILOT_TEMPORAL__ADDRESS"):
                temporal = f"{address} ({EMBEDDED.format(folder)})"
            page = f"{settings.api.scheme}://{settings.api.host_here}:{port}"
            processes = CopilotProcesses(supervisor, config, page, environment=environment)
            await processes.set_up_store()
            await processes.start()
            brought = Brought(
                temporal=environment.get("COPILOT_TEMPORAL__ADDRESS"), store=environment.get("COPILOT_STORE__URL")
            )
            with described(folder, brought):
                yield Up(page=page, data_dir=folder, temporal=temporal, store=store)


async def run_up(
    settings: Settings,
    config: Path | None,
    folder: Path,
    on_event: Callable[[Event], None],
    on_running: Callable[[Up], None],
) -> None:
    """Run until cancelled."""
    async with everything_up(settings, config, folder, on_event) as running:
        on_running(running)
        await asyncio.Event().wait()
