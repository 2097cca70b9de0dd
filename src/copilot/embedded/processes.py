"""The Copilot's own services and processes."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from copilot.embedded.ports import free_ports
from copilot.embedded.postgres import Postgres, prepare
from copilot.embedded.supervisor import Child, Probe, Supervisor, http_responds, run_all
from copilot.embedded.temporal import DevServer

OWN_SERVER = "copilot-server"
STAGE_PROCESSES = 1
"""They stop before the servers they use."""


async def start_copilot(
    supervisor: Supervisor, config: Path | None, api_url: str, environment: Mapping[str, str | None] | None = None
) -> None:
    """Create the store's tables, then start the worker, the API and the loops on one configuration file (None: the one
    in the working directory, if any). `environment` changes theirs; by default only the file counts, and loopback needs
    no proxy."""
    foreign = (key for key in os.environ if key.startswith(("COPILOT_", "TEMPORAL_")))
    env = environment or {**dict.fromkeys(foreign), "NO_PROXY": "127.0.0.1,localhost"}

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
