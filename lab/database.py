"""The database of a lab cluster: PostgreSQL with the server's schema, behind a TCP proxy that breaks it."""

import sys
from dataclasses import replace
from pathlib import Path

import asyncpg

from copilot.embedded.ports import LOOPBACK
from copilot.embedded.postgres import accepts_connections, prepare
from copilot.embedded.supervisor import Child, Supervisor
from copilot.errors import StartError
from lab.proxy import Mode

POSTGRES, PROXY = "postgres", "database-proxy"
ROLE = "temporal"
STORES = {"temporal": "temporal", "temporal_visibility": "visibility"}
"""The server's databases, and the name of the schema of each."""
MAX_CONNECTIONS = 400
SCHEMA_WITHIN_SEC = 120.0
ENGINE = "postgres12"
"""Its driver waits for a query on a hanging connection; that of postgres12_pgx gives the connection up."""


class Database:
    """A PostgreSQL in `folder` for one lab cluster, behind a proxy. `sql_tool`: the server's own program that creates
    its schema."""

    def __init__(self, supervisor: Supervisor, folder: Path, sql_tool: Path, port: int, proxy_port: int) -> None:
        self.address = f"{LOOPBACK}:{proxy_port}"
        self._supervisor, self._folder, self._sql_tool = supervisor, folder, sql_tool
        self._port, self._proxy_port, self._mode = port, proxy_port, folder / "proxy.json"
        self.password = self._url = ""  # Those of the server's role and of the owner, from `start` on.

    async def start(self) -> None:
        """Start PostgreSQL and the proxy, and create the databases with their schema. StartError says what failed."""
        postgres = await prepare(self._supervisor, self._folder, self._port, throwaway=True)
        self.password, self._url = postgres.password, postgres.url
        child = postgres.child()
        argv = (*child.argv, "-c", f"max_connections={MAX_CONNECTIONS}")
        await self._supervisor.start(replace(child, name=POSTGRES, argv=argv, stage=-1))
        await self.disturb(Mode())
        proxy = (sys.executable, "-m", "lab.proxy", str(self._proxy_port), str(self._port), str(self._mode))
        through = accepts_connections(replace(postgres, port=self._proxy_port).url)
        await self._supervisor.start(Child(PROXY, proxy, ready=through, stage=-1))
        await self._run(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.password}'",
                        *(f"CREATE DATABASE {name} OWNER {ROLE}" for name in STORES))  # fmt: skip
        for name, schema in STORES.items():
            steps = (("setup-schema", "-v", "0.0"), ("update-schema", "--schema-name", f"postgresql/v12/{schema}"))
            for step in steps:
                await self._supervisor.run(self._tool(name, *step))

    def _tool(self, database: str, *words: str) -> Child:
        login = ("--ep", LOOPBACK, "-p", str(self._port), "-u", ROLE, "--pl", ENGINE, "--db", database)
        return Child("schema", (str(self._sql_tool), *login, *words), env={"SQL_PASSWORD": self.password},
                     ready_within=SCHEMA_WITHIN_SEC)  # fmt: skip

    async def disturb(self, mode: Mode) -> None:
        """Let the proxy work in this mode."""
        mode.write(self._mode)

    async def limit_connections(self, most: int = -1) -> None:
        """Allow the server so many connections in all and end those it has (-1: as many as it likes, and none is
        ended)."""
        limit = f"ALTER ROLE {ROLE} CONNECTION LIMIT {most}"
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
        await self._run(limit, *((end,) if most >= 0 else ()))

    async def _run(self, *statements: str) -> None:
        try:
            connection = await asyncpg.connect(self._url)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()
        except (OSError, asyncpg.PostgresError) as error:
            raise StartError(f"the lab's database cannot be set up: {error}") from error
