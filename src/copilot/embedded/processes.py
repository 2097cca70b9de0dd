"""The Copilot's own services and processes, and how a command runs until a signal ends it."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from copilot.embedded.postgres import Postgres, prepare
from copilot.embedded.supervisor import Child, Probe, Supervisor, http_responds, run_all
from copilot.embedded.temporal import DevServer

OWN_SERVER = "copilot-server"
STAGE_SERVERS, STAGE_PROCESSES = 0, 1
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def start_copilot(
    supervisor: Supervisor, config: Path | None, api_url: str, environment: Mapping[str, str | None] | None = None
) -> None:
    """Create the store's tables, then start the worker, the API and the loops on one configuration file (None: the one
    in the working directory, if any). `environment` changes theirs; by default only the file counts."""

    def command(name: str, *words: str, ready: Probe | None = None) -> Child:
        argv = (sys.executable, "-m", "copilot", *words, *(("--config", str(config)) if config else ()))
        env = clean_environment() if environment is None else environment
        return Child(name, argv, env=env, ready=ready, ready_within=60, stage=STAGE_PROCESSES)

    await supervisor.run(command("setup-schema", "db", "setup-schema"))
    api = command("copilot-api", "api", ready=http_responds(f"{api_url}/healthz"))
    await run_all(
        supervisor.start(command("copilot-worker", "worker"), api), supervisor.run(command("copilot-start", "start"))
    )


async def start_own_services(
    supervisor: Supervisor, folder: Path, ports: Sequence[int], *, throwaway: bool
) -> tuple[DevServer, Postgres]:
    """Start the Copilot's Temporal (three ports) and PostgreSQL (one port) in parallel. Returns when both are ready."""
    frontend, metrics, http, database = ports
    server = DevServer(OWN_SERVER, folder / "copilot.sqlite", frontend, metrics, http)
    postgres: list[Postgres] = []

    async def store() -> None:
        postgres.append(await prepare(supervisor, folder / "postgres", database, throwaway=throwaway))
        await supervisor.start(postgres[0].child(stage=STAGE_SERVERS))

    await run_all(supervisor.start(server.child({}, stage=STAGE_SERVERS)), store())
    return server, postgres[0]


def clean_environment() -> dict[str, str | None]:
    """An environment for our own processes in which only the configuration file counts and loopback needs no proxy."""
    foreign = dict.fromkeys(key for key in os.environ if key.startswith(("COPILOT_", "TEMPORAL_")))
    return {**foreign, "NO_PROXY": "127.0.0.1,localhost"}


def run_until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, or until SIGINT, SIGTERM or SIGHUP cancels it. Further signals are ignored while it cleans
    up."""
    asyncio.run(_cancelled_by_signals(work))


async def _cancelled_by_signals(work: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    received: list[signal.Signals] = []

    def cancel(number: signal.Signals) -> None:
        if not received:
            received.append(number)
            task.cancel()

    for number in ENDING_SIGNALS:
        loop.add_signal_handler(number, cancel, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
