"""The Copilot's own services and processes, and how a command runs until a signal ends it."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from copilot.embedded.postgres import Postgres, prepare
from copilot.embedded.supervisor import Child, Supervisor, http_responds, run_all
from copilot.embedded.temporal import DevServer

OWN_SERVER = "copilot-server"
STAGE_SERVERS, STAGE_PROCESSES = 0, 1
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CopilotProcesses:
    """Runs `copilot worker`, `copilot api` and the one-time commands before them on one configuration file (None: the
    one in the working directory, if any). `environment` changes theirs; by default only the file counts."""

    def __init__(
        self,
        supervisor: Supervisor,
        config: Path | None,
        api_url: str,
        *,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._config = config
        self._api_url = api_url
        self._environment = clean_environment() if environment is None else environment

    async def set_up_store(self) -> None:
        """Create the tables."""
        await self._supervisor.run(self._command("setup-schema", "db", "setup-schema"))

    async def start(self) -> None:
        """Start the worker, the API and the loops. Needs the store's tables and the Copilot's own Temporal."""
        api = self._command("copilot-api", "api", ready_url=f"{self._api_url}/healthz")
        await run_all(
            self._supervisor.start(self._command("copilot-worker", "worker"), api),
            self._supervisor.run(self._command("copilot-start", "start")),
        )

    def _command(self, name: str, *words: str, ready_url: str | None = None) -> Child:
        return Child(
            name,
            (sys.executable, "-m", "copilot", *words, *(("--config", str(self._config)) if self._config else ())),
            env=self._environment,
            ready=http_responds(ready_url) if ready_url else None,
            ready_within=60,
            stage=STAGE_PROCESSES,
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
