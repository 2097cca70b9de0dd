"""The Temporal and the store that a running `copilot up` brought, for commands in other terminals."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from copilot.bootstrap import temporal_given
from copilot.embedded.data_folder import is_locked, locked
from copilot.embedded.ports import claim_port, free_ports
from copilot.embedded.postgres import prepare
from copilot.embedded.processes import OWN_SERVER, STAGE_SERVERS, CopilotProcesses
from copilot.embedded.supervisor import Event, Supervisor, together
from copilot.embedded.temporal import DevServer
from copilot.errors import SettingsError
from copilot.settings.load import Settings

LOCK = "up.lock"
BROUGHT = "up.json"


class Brought(BaseModel):
    """Their addresses; None: not brought, the configuration names one."""

    model_config = ConfigDict(frozen=True)

    temporal: str | None
    store: str | None


def default_folder() -> Path:
    """Where data are kept unless the settings say otherwise: the user's data folder."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "temporal-sre-copilot"


@contextlib.contextmanager
def described(folder: Path, brought: Brought) -> Iterator[None]:
    """Say it in the data folder as long as it runs, to its owner alone: the store's URL has a password in it."""
    file = folder / BROUGHT
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(brought.model_dump_json())
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def with_brought(settings: Settings) -> Settings:
    """The settings, with what a `copilot up` that runs in their data folder brought where they name none."""
    folder = settings.data_dir or default_folder()
    if not is_locked(folder, LOCK):
        return settings
    try:
        brought = Brought.model_validate_json((folder / BROUGHT).read_bytes())
    except (OSError, ValidationError):
        return settings
    update: dict[str, BaseModel] = {}
    if brought.temporal and not temporal_given(settings):
        update["temporal"] = settings.temporal.model_copy(update={"address": brought.temporal})
    if brought.store and settings.store.url is None:
        update["store"] = settings.store.model_copy(update={"url": brought.store})
    return settings.model_copy(update=update)


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
