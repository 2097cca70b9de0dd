"""A span for each statement of the store, by the name it has in sql.py; values are never told."""

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from asyncpg.connection import LoggedQuery

from copilot.errors import StoreError
from copilot.settings.store_address import DsqlAddress, StoreAddress, store_address
from copilot.store import sql
from copilot.store.rows import Connection, Pool, RawConnection
from copilot.telemetry.spans import tracing


def trace_statements(connection: RawConnection) -> None:
    """Trace what is sent over this connection, where this process is traced."""
    if tracing() is not None:
        connection.add_query_logger(_told)


def _told(query: LoggedQuery) -> None:
    traced = tracing()
    if traced is None:
        return
    name = NAMES.get(query.query)
    if name is None:
        return
    error = None if query.exception is None else type(query.exception).__name__
    traced.ended(f"store {name}", {"db.system.name": "postgresql", "db.operation.name": name}, query.elapsed, error)


def _named(statements: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in statements.items():
        if not name.isupper() or name.startswith("_"):
            continue
        if isinstance(value, str):
            yield value, name
        elif isinstance(value, dict):
            yield from ((text, f"{name} {table}") for table, text in value.items())


NAMES = {**dict(_named(vars(sql))), "COMMIT;": "COMMIT"}


Connect = Callable[..., Awaitable[RawConnection]]


class CredentialsRefused(StoreError):
    """AWS credentials cannot be found, or no token can be made of them."""


class CertificatesRefused(StoreError):
    """The certificates to trust cannot be read."""


def connect_to(address: StoreAddress) -> Connect:
    """A function that makes connections, with asyncpg.connect's keywords (timeout, connection_class, …).

    It raises what asyncpg and the sockets raise, and StoreError for what stands before them."""
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
    asked = {"host": address.host, "port": address.port, "user": address.user, "region": address.region}
    if address.profile is not None:
        asked["profile"] = address.profile

    async def connect(**keywords: Any) -> RawConnection:
        context = _verifying(address.ca_file)
        try:
            made = await asyncio.to_thread(ConnectionUtilities.parse_properties_and_set_token, None, asked, "asyncpg")
        except BotoCoreError as error:
            raise CredentialsRefused(f"no IAM token can be made for {address.place}: {error}") from error
        return await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=made["password"],
            database=address.database,
            ssl=context,
            server_settings={"application_name": made["application_name"]},
            **keywords,
        )

    return connect


def _verifying(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> CertificatesRefused:
    return CertificatesRefused(f"the certificates to trust cannot be read: {error}")


T = TypeVar("T")

RETRIED = frozenset({"40001", "40P01", "OC000", "OC001"})
MADE_BY_ANOTHER = frozenset({"42P07", "42710", "23505"})
# DSQL takes 100 new connections a second; PostgreSQL has a number of places.
FULL = frozenset({"53300", "53400"})
ATTEMPTS = 10
ATTEMPTS_AFTER_LOSS = 3
FIRST_PAUSE_SEC = 0.02
LONGEST_PAUSE_SEC = 1.0
RECYCLE_AFTER_SEC = 50 * 60.0
CONNECT_SEC = 5.0
STATEMENT_SEC = 15.0

# InternalClientError: the server's good-bye arrived in the middle of a statement.
_LOST = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
)
# Another process changed the schema: what was prepared must be prepared anew.
_STALE = asyncpg.InvalidCachedStatementError


def _attempts(error: Exception) -> int:
    """How often in all a transaction is tried that ended like this."""
    if isinstance(error, ConnectionRefusedError):
        return 1
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in RETRIED | MADE_BY_ANOTHER:
        return ATTEMPTS
    passing = isinstance(error, (*_LOST, _STALE)) or getattr(error, "sqlstate", None) in FULL
    return ATTEMPTS_AFTER_LOSS if passing else 1


class _Dated(RawConnection):
    """A connection that knows when it was made, by its Connections' clock."""

    born: float = 0.0


async def _reset(connection: RawConnection) -> None:
    await connection.execute("RESET ALL")


class Connections:
    """A pool that connects when it is first needed and recycles its connections. `clock` gives monotonic seconds."""

    def __init__(
        self,
        url: str,
        *,
        max_size: int = 8,
        recycle_after_sec: float = RECYCLE_AFTER_SEC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = _address(url)
        self._connect = connect_to(self._address)
        self._max_size = max_size
        self._recycle_after_sec = recycle_after_sec
        self._clock = clock
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    @property
    def place(self) -> str:
        """Where the database is, without credentials."""
        return self._address.place

    @property
    def address(self) -> StoreAddress:
        """What the URL says."""
        return self._address

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in one snapshot-isolated transaction, again from the start after a conflict. Raises StoreError."""

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

        return await self.plainly(inside)

    async def plainly(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` outside of any transaction of ours, again from the start after a conflict. Raises StoreError."""
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._acquired() as connection:
                    return await work(connection)
            except (*_LOST, asyncpg.PostgresError, OSError, TimeoutError) as error:
                if attempt >= _attempts(error):
                    raise self._refused(error) from error
            await asyncio.sleep(min(LONGEST_PAUSE_SEC, FIRST_PAUSE_SEC * 2**attempt) * random.random())

    async def close(self) -> None:
        """Close all connections, without waiting for a database that is gone."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), timeout=CONNECT_SEC)
            except (*_LOST, asyncpg.PostgresError, OSError, TimeoutError):
                pool.terminate()

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        pool = await self._open()
        connection = await pool.acquire(timeout=2 * CONNECT_SEC)
        try:
            while self._clock() - getattr(connection, "born", 0.0) > self._recycle_after_sec:
                with contextlib.suppress(*_LOST, asyncpg.PostgresError, OSError, TimeoutError):
                    await connection.close(timeout=CONNECT_SEC)
                await pool.release(connection)
                connection = await pool.acquire(timeout=2 * CONNECT_SEC)
            yield connection
        except (*_LOST, TimeoutError, asyncio.CancelledError):
            # It goes with its transaction: a rollback would wait for a database that may hang.
            connection.terminate()
            raise
        finally:
            await pool.release(connection)

    async def _open(self) -> Pool:
        async with self._opening:
            if self._pool is None:
                made: Any = self._made  # the stubs want each of asyncpg.connect's parameters spelled out
                self._pool = await asyncpg.create_pool(
                    connect=made,
                    min_size=0,
                    max_size=self._max_size,
                    max_inactive_connection_lifetime=min(300.0, self._recycle_after_sec),
                    timeout=CONNECT_SEC,
                    command_timeout=STATEMENT_SEC,
                    connection_class=_Dated,
                    reset=_reset,
                )
            return self._pool

    async def _made(self, _: str | None, /, **keywords: Any) -> RawConnection:
        connection = await self._connect(**keywords)
        if isinstance(connection, _Dated):
            connection.born = self._clock()
        trace_statements(connection)
        return connection

    def _refused(self, error: Exception) -> StoreError:
        if isinstance(error, asyncpg.UndefinedTableError):
            lacks = f"the state store at {self.place} lacks a table ({first_line(error)})"
            return StoreError(f"{lacks}: run `copilot db setup-schema`")
        return StoreError(f"the state store at {self.place} cannot be used: {first_line(error)}")


def first_line(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, asyncpg.DiskFullError):
        return "its disk is full"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    return (str(error) or type(error).__name__).splitlines()[0]


def _address(url: str) -> StoreAddress:
    try:
        return store_address(url)
    except ValueError as error:
        raise StoreError(f"the state store's address cannot be used: {error}") from error
