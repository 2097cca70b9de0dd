"""The database of a lab cluster: PostgreSQL with the server's schema, and a TCP proxy in front of it that breaks it."""

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import asyncpg

from copilot.demo.watched import CHUNK_BYTES, MetricsRelay
from copilot.embedded.ports import LOOPBACK
from copilot.embedded.postgres import Postgres, prepare
from copilot.embedded.supervisor import Child, Supervisor
from copilot.errors import StartError

POSTGRES = "postgres"
ROLE = "temporal"
STORES = {"temporal": "temporal", "temporal_visibility": "visibility"}
"""The server's databases, and the name of the schema of each."""
MAX_CONNECTIONS = 400
SCHEMA_WITHIN_SEC = 120.0
ENGINE = "postgres12"


class DatabaseProxy(MetricsRelay):
    """A TCP proxy in front of the database. `cut` refuses and drops connections until `restore`. `delay_sec`: how long
    all that passes is held back, in each direction."""

    def __init__(self, port: int, target_port: int) -> None:
        super().__init__(port, target_port)
        self.address = f"{LOOPBACK}:{port}"
        self.delay_sec = 0.0
        self._numbers = itertools.count()
        self._hang_every: int | None = None
        self._hung: set[asyncio.StreamWriter] = set()

    def hang(self, every: int) -> None:
        """From now on the database does not get what is sent on every n-th connection: the sender waits (1: on all)."""
        self._hang_every = every

    def release(self) -> None:
        """End delays and hanging. Connections that hung are dropped, as what was sent on them is lost."""
        self.delay_sec, self._hang_every = 0.0, None
        for writer in self._hung:
            writer.transport.abort()
        self._hung.clear()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool = False
    ) -> None:
        number = next(self._numbers) if requests else None
        try:
            while data := await reader.read(CHUNK_BYTES):
                if number is not None and self._hang_every and number % self._hang_every == 0:
                    self._hung.add(writer)
                    continue
                await asyncio.sleep(self.delay_sec)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()
        finally:
            self._hung.discard(writer)


class Database:
    """A PostgreSQL in `folder` for one lab cluster, behind a proxy. `sql_tool`: the server's own program that creates
    its schema."""

    def __init__(self, supervisor: Supervisor, folder: Path, sql_tool: Path, port: int, proxy_port: int) -> None:
        self.proxy = DatabaseProxy(proxy_port, port)
        self._supervisor, self._folder, self._sql_tool, self._port = supervisor, folder, sql_tool, port
        self._postgres: Postgres | None = None

    @property
    def password(self) -> str:
        """The password of the role that the server logs in with. StartError before `start`."""
        if self._postgres is None:
            raise StartError("the lab's database is not started yet")
        return self._postgres.password

    async def start(self) -> None:
        """Start PostgreSQL and the proxy, and create the databases with their schema. StartError says what failed."""
        self._postgres = postgres = await prepare(self._supervisor, self._folder, self._port, throwaway=True)
        child = postgres.child()
        argv = (*child.argv, "-c", f"max_connections={MAX_CONNECTIONS}")
        await self._supervisor.start(replace(child, name=POSTGRES, argv=argv, stage=-1))
        await self.proxy.restore()
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

    async def stop(self) -> None:
        """Stop PostgreSQL; clients are refused from now on."""
        await self._supervisor.take_down(POSTGRES, graceful=True)

    async def bring_up(self) -> None:
        """Start PostgreSQL again."""
        await self._supervisor.bring_up(POSTGRES)

    async def limit_connections(self, most: int = -1) -> None:
        """Allow the server so many connections in all and end those it has (-1: as many as it likes, and none is
        ended)."""
        limit = f"ALTER ROLE {ROLE} CONNECTION LIMIT {most}"
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
        await self._run(limit, *((end,) if most >= 0 else ()))

    async def _run(self, *statements: str) -> None:
        if self._postgres is None:
            raise StartError("the lab's database is not started yet")
        try:
            connection = await asyncpg.connect(self._postgres.url)
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()
        except (OSError, asyncpg.PostgresError) as error:
            raise StartError(f"the lab's database cannot be set up: {error}") from error
