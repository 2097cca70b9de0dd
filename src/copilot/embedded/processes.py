"""The Copilot's own half of an embedded stack: its Temporal, its PostgreSQL, and its processes."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from copilot.embedded.postgres import Postgres, prepare
from copilot.embedded.supervisor import Child, Supervisor, http_answers, together
from copilot.embedded.temporal import DevServer

OWN_SERVER = "copilot-server"
STAGE_SERVERS, STAGE_PROCESSES = 0, 1


class CopilotProcesses:
    """Runs `copilot worker`, `copilot api` and the one-time commands before them, all on one configuration file (None:
    the one in the working directory, if any). `environment` changes theirs; by default only the file speaks."""

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
        """Worker, API, and the watching workflows; needs the store's tables and the Copilot's own Temporal."""
        await together(
            self._supervisor.start(self._command("copilot-worker", "worker"), self._api()),
            self._supervisor.run(self._command("copilot-start", "start")),
        )

    def _api(self) -> Child:
        return self._command("copilot-api", "api", ready_url=f"{self._api_url}/healthz")

    def _command(self, name: str, *words: str, ready_url: str | None = None) -> Child:
        return Child(
            name,
            (sys.executable, "-m", "copilot", *words, *(("--config", str(self._config)) if self._config else ())),
            env=self._environment,
            ready=http_answers(ready_url) if ready_url else None,
            ready_within=60,
            stage=STAGE_PROCESSES,
        )


async def start_own_servers(
    supervisor: Supervisor, folder: Path, ports: Sequence[int], *, throwaway: bool
) -> tuple[DevServer, Postgres]:
    """Start the Copilot's Temporal (three ports) and PostgreSQL (one port) at once; returns when both are ready."""
    frontend, metrics, http, database = ports
    server = DevServer(OWN_SERVER, folder / "copilot.sqlite", frontend, metrics, http)
    postgres: list[Postgres] = []

    async def store() -> None:
        postgres.append(await prepare(supervisor, folder / "postgres", database, throwaway=throwaway))
        await supervisor.start(postgres[0].child(stage=STAGE_SERVERS))

    await together(supervisor.start(server.child({}, stage=STAGE_SERVERS)), store())
    return server, postgres[0]


def clean_environment() -> dict[str, str | None]:
    """Environment for our own processes: the configuration file alone speaks, and loopback needs no proxy."""
    foreign = dict.fromkeys(key for key in os.environ if key.startswith(("COPILOT_", "TEMPORAL_")))
    return {**foreign, "NO_PROXY": "127.0.0.1,localhost"}
