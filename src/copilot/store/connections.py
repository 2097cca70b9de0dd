"""Connections to PostgreSQL and Aurora DSQL: a pool, retries of transactions, and a span for each statement."""

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from operator import methodcaller
from typing import Any, TypeVar

import asyncpg
from asyncpg.connection import LoggedQuery

from copilot.errors import StoreError
from copilot.settings.store_address import DsqlAddress, StoreAddress, store_address
from copilot.store import sql
from copilot.store.rows import Connection, Pool, RawConnection
from copilot.telemetry.spans import tracing

T = TypeVar("T")

RETRIED = frozenset({"40001", "40P01", "OC000", "OC001"})
CREATED_CONCURRENTLY = frozenset({"42P07", "42710", "23505"})
# DSQL accepts 100 new connections a second; PostgreSQL has max_connections.
FULL = frozenset({"53300", "53400"})
ATTEMPTS = 10
ATTEMPTS_AFTER_LOSS = 3
FIRST_PAUSE_SEC = 0.02
MAX_PAUSE_SEC = 1.0
RECYCLE_AFTER_SEC = 50 * 60.0
CONNECT_SEC = 5.0
STATEMENT_SEC = 15.0

# InternalClientError: the server closed the connection in the middle of a statement.
_LOST = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
)
ERRORS = (*_LOST, asyncpg.PostgresError, OSError, TimeoutError)
"""What asyncpg and sockets raise."""
# Another process changed the schema: statements must be prepared again.
_STALE = asyncpg.InvalidCachedStatementError

Connect = Callable[..., Awaitable[RawConnection]]


class CredentialsRefused(StoreError):
    """AWS credentials cannot be found, or give no token."""


class CertificatesRefused(StoreError):
    """The trusted certificates cannot be read."""


def connect_to(address: StoreAddress) -> Connect:
    """A function that connects, with the keywords of asyncpg.connect (timeout, connection_class, …).

    It raises what asyncpg and sockets raise; StoreError for credentials and certificates."""
    if isinstance(address, DsqlAddress):
        return _dsql(address)

    async def connect(**keywords: Any) -> RawConnection:
        try:
            return await asyncpg.connect(address.url, **keywords)
        except (FileNotFoundError, ssl.SSLError) as error:
            if address.hosts and getattr(error, "library", "X509") == "X509":
                raise _unreadable(error) from error
            raise
        except asyncpg.ClientConfigurationError as error:
            raise _unreadable(error) from error

    return connect


def _dsql(address: DsqlAddress) -> Connect:
    try:
        from botocore.exceptions import BotoCoreError
        from dsql_core.connection_utils import ConnectionUtilities
    except ImportError as error:
        raise StoreError(
            "dsql:// needs AWS's connector: install it with `pip install 'temporal-sre-copilot[aws]'`"
        ) from error
    properties = {"host": address.host, "port": address.port, "user": address.user, "region": address.region}
    if address.profile is not None:
        properties["profile"] = address.profile

    async def connect(**keywords: Any) -> RawConnection:
        try:
            context = ssl.create_default_context(cafile=address.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unreadable(error) from error
        try:
            login = await asyncio.to_thread(
                ConnectionUtilities.parse_properties_and_set_token, None, properties, "asyncpg"
            )
        except BotoCoreError as error:
            raise CredentialsRefused(f"cannot create an IAM token for {address.place}: {error}") from error
        return await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=login["password"],
            database=address.database,
            ssl=context,
            server_settings={"application_name": login["application_name"]},
            **keywords,
        )

    return connect


def _unreadable(error: Exception) -> CertificatesRefused:
    return CertificatesRefused(f"the certificates to trust cannot be read: {error}")


def _attempts(error: Exception) -> int:
    """The number of attempts at a transaction that failed with this error."""
    if isinstance(error, ConnectionRefusedError):
        return 1
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in RETRIED | CREATED_CONCURRENTLY:
        return ATTEMPTS
    transient = isinstance(error, (*_LOST, _STALE)) or getattr(error, "sqlstate", None) in FULL
    return ATTEMPTS_AFTER_LOSS if transient else 1


class _PooledConnection(RawConnection):
    """A connection with the time it was made at, by the clock of its Connections."""

    connected_at: float = 0.0


class Connections:
    """A pool that connects when it is first used and recycles its connections. `clock`: monotonic seconds."""

    def __init__(
        self,
        url: str,
        *,
        max_size: int = 8,
        recycle_after_sec: float = RECYCLE_AFTER_SEC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = parse_address(url)
        self._connect = connect_to(self.address)
        self._max_size = max_size
        self._recycle_after_sec = recycle_after_sec
        self._clock = clock
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction with snapshot isolation; retry all of it after a conflict. Raises StoreError."""

        async def inside(connection: Connection) -> T:
            transaction = connection.transaction(isolation="repeatable_read")
            await transaction.start()
            try:
                result = await work(connection)
            except (*_LOST, TimeoutError):
                raise
            except Exception:
                await transaction.rollback()
                raise
            await transaction.commit()
            return result

        return await self.outside_transaction(inside)

    async def outside_transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` without a transaction; retry all of it after a conflict. Raises StoreError."""
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._acquired() as connection:
                    return await work(connection)
            except ERRORS as error:
                if attempt >= _attempts(error):
                    raise self._refused(error) from error
            await asyncio.sleep(min(MAX_PAUSE_SEC, FIRST_PAUSE_SEC * 2**attempt) * random.random())

    # One statement in a transaction of its own. Each raises StoreError.

    async def execute(self, statement: str, *args: Any) -> str:
        """Its status."""
        return await self.transaction(lambda c: c.execute(statement, *args))

    async def value(self, statement: str, *args: Any) -> Any:
        """The first column of its first row; None without a row."""
        return await self.transaction(lambda c: c.fetchval(statement, *args))

    async def row(self, statement: str, *args: Any) -> asyncpg.Record | None:
        """Its first row, if any."""
        return await self.transaction(lambda c: c.fetchrow(statement, *args))

    async def rows(self, statement: str, *args: Any) -> list[asyncpg.Record]:
        """All its rows."""
        return await self.transaction(lambda c: c.fetch(statement, *args))

    async def close(self) -> None:
        """Close all connections, without waiting for a database that does not answer."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), timeout=CONNECT_SEC)
            except ERRORS:
                pool.terminate()

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        pool = await self._open()
        connection = await pool.acquire(timeout=2 * CONNECT_SEC)
        try:
            while self._clock() - getattr(connection, "connected_at", 0.0) > self._recycle_after_sec:
                with contextlib.suppress(*ERRORS):
                    await connection.close(timeout=CONNECT_SEC)
                await pool.release(connection)
                connection = await pool.acquire(timeout=2 * CONNECT_SEC)
            yield connection
        except (*_LOST, TimeoutError, asyncio.CancelledError):
            # Its transaction ends with it: a rollback would wait for a database that may hang.
            connection.terminate()
            raise
        finally:
            await pool.release(connection)

    async def _open(self) -> Pool:
        async with self._opening:
            if self._pool is None:
                connect: Any = self._new_connection  # the stubs require every parameter of asyncpg.connect
                reset: Any = methodcaller("execute", "RESET ALL")
                self._pool = await asyncpg.create_pool(
                    connect=connect,
                    min_size=0,
                    max_size=self._max_size,
                    max_inactive_connection_lifetime=min(300.0, self._recycle_after_sec),
                    timeout=CONNECT_SEC,
                    command_timeout=STATEMENT_SEC,
                    connection_class=_PooledConnection,
                    reset=reset,
                )
            return self._pool

    async def _new_connection(self, _: str | None, /, **keywords: Any) -> RawConnection:
        connection = await self._connect(**keywords)
        if isinstance(connection, _PooledConnection):
            connection.connected_at = self._clock()
        if tracing() is not None:
            connection.add_query_logger(_trace)
        return connection

    def _refused(self, error: Exception) -> StoreError:
        if isinstance(error, asyncpg.UndefinedTableError):
            missing = f"the state store at {self.address.place} has no such table ({first_line(error)})"
            return StoreError(f"{missing}: run `copilot db setup-schema`")
        return StoreError(f"the state store at {self.address.place} cannot be used: {first_line(error)}")


def first_line(error: Exception) -> str:
    """The error in one line."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, asyncpg.DiskFullError):
        return "its disk is full"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    return (str(error) or type(error).__name__).splitlines()[0]


def parse_address(url: str) -> StoreAddress:
    """The parsed URL of a store. StoreError: it is invalid."""
    try:
        return store_address(url)
    except ValueError as error:
        raise StoreError(f"invalid URL of the state store: {error}") from error


def _trace(query: LoggedQuery) -> None:
    """A span for a statement by its name in sql.py, without values."""
    traced, name = tracing(), sql.NAMES.get(query.query)
    if traced is None or name is None:
        return
    error = None if query.exception is None else type(query.exception).__name__
    traced.ended(f"store {name}", {"db.system.name": "postgresql", "db.operation.name": name}, query.elapsed, error)
