"""`copilot db`: which step of a connection to the store fails, and what the database holds.

The steps are name resolution, TCP, TLS, authentication, database and schema. The first two are tried separately, the
rest by one connection as the store makes it: its error tells how far it came.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

import asyncpg

from copilot.diagnosis import Check, CheckStatus
from copilot.errors import StoreError
from copilot.settings.store_address import DsqlAddress, StoreAddress
from copilot.store import connections
from copilot.store.migrate import CURRENT_VERSION, current_version, migrations
from copilot.store.rows import RawConnection

STEPS = ("name resolution", "TCP", "TLS", "authentication", "database", "schema version")
NAME, TCP, TLS, AUTH, DATABASE, SCHEMA = STEPS

FIXES = {
    NAME: "fix the host in [store] url, or DNS on this machine",
    TCP: "start the database, fix host and port in [store] url, or allow the connection (security group, firewall)",
    TLS: "the certificate must name the host and be trusted: see sslrootcert and sslmode in [store] url",
    AUTH: "fix user and password in [store] url",
    DATABASE: "create the database, grant CONNECT to the user, or fix the name in [store] url",
    SCHEMA: "run `copilot db setup-schema`",
}
DSQL_FIXES = FIXES | {
    AUTH: "the AWS identity needs dsql:DbConnectAdmin (user admin) or dsql:DbConnect on the cluster; a user other than "
    "admin also a role there (AWS IAM GRANT)"
}
NO_POSTGRES = "no PostgreSQL answers there: check whether the database hangs, and host and port in [store] url"
NO_CREDENTIALS = "provide AWS credentials: a role, a profile in [store] url, or AWS_… variables"
NEWER = "upgrade this program: a newer one made the schema"


class _TlsConnection(RawConnection):
    """A connection that knows its version of TLS; None: it is not encrypted."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        encryption = transport.get_extra_info("ssl_object")
        self.tls: str | None = None if encryption is None else encryption.version()


class Connected:
    """How far a connection gets. `server` and `schema_version` are None where that step was not reached."""

    def __init__(self, address: StoreAddress) -> None:
        self.place = address.place
        self.server: str | None = None
        self.schema_version: int | None = None
        self.newest_version = migrations()[-1].version
        self._address = address
        self._connect = connections.connect_to(address)
        self._checks: dict[str, Check] = {}
        self._fixes = DSQL_FIXES if isinstance(address, DsqlAddress) else FIXES

    @property
    def checks(self) -> tuple[Check, ...]:
        """All steps in order; those after a failed one are skipped."""
        untried = Check(name="", status=CheckStatus.SKIPPED, found="not tried")
        return tuple(self._checks.get(s, untried.model_copy(update={"name": s})) for s in STEPS)

    @property
    def fine(self) -> bool:
        """Whether no step failed."""
        return all(c.status is not CheckStatus.FAILED for c in self._checks.values())

    async def run(self) -> None:
        """Run one step after the other, until one fails."""
        if not self._address.hosts:
            for step in (NAME, TCP):
                self._add(step, CheckStatus.SKIPPED, "a local socket")
        elif not (await self._resolve() and await self._tcp()):
            return
        if (connection := await self._session()) is None:
            return
        try:
            await self._database(connection)
        finally:
            connection.terminate()

    def _add(self, step: str, status: CheckStatus, found: str, fix: str | None = None) -> None:
        if fix is None:
            fix = self._fixes[step] if status is CheckStatus.FAILED else ""
        self._checks[step] = Check(name=step, status=status, found=found, fix=fix)

    def _fail(self, step: str, error: Exception | str) -> None:
        """The step failed; earlier steps without a check passed."""
        if step in (AUTH, DATABASE) and TLS not in self._checks:
            if self._address.verified:
                self._add(TLS, CheckStatus.OK, "encrypted, the certificate verified")
            else:
                self._add(TLS, CheckStatus.SKIPPED, "not required: sslmode=verify-full requires it")
        if step == DATABASE and AUTH not in self._checks:
            self._add(AUTH, CheckStatus.OK, "accepted")
        self._add(step, CheckStatus.FAILED, error if isinstance(error, str) else connections.first_line(error))

    async def _resolve(self) -> bool:
        loop = asyncio.get_running_loop()
        found, unknown = [], []
        for host, port in self._address.hosts:
            try:
                known = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (socket.gaierror, UnicodeError) as error:
                unknown.append(f"{host} is not known ({getattr(error, 'strerror', None) or error})")
            else:
                found.append(f"{host} is {', '.join(dict.fromkeys(str(k[4][0]) for k in known))}")
        if found:
            self._add(NAME, CheckStatus.OK, "; ".join(found + unknown))
        else:
            self._fail(NAME, "; ".join(unknown))
        return bool(found)

    async def _tcp(self) -> bool:
        failures = []
        for host, port in self._address.hosts:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), connections.CONNECT_SEC)
            except TimeoutError:
                failures.append(f"port {port} of {host} did not answer within {connections.CONNECT_SEC:g} s")
            except OSError as error:
                failures.append(f"port {port} of {host}: {connections.first_line(error)}")
            else:
                writer.transport.abort()
                self._add(TCP, CheckStatus.OK, f"port {port} of {host} answers")
                return True
        self._fail(TCP, "; ".join(failures))
        return False

    async def _session(self) -> RawConnection | None:
        within = connections.CONNECT_SEC
        try:
            return await self._connect(timeout=within, command_timeout=within, connection_class=_TlsConnection)
        except connections.CredentialsRefused as error:
            self._add(TLS, CheckStatus.SKIPPED, "not tried")
            self._add(AUTH, CheckStatus.FAILED, str(error), NO_CREDENTIALS)
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError) as error:
            self._fail(AUTH, error)
        except asyncpg.PostgresError as error:
            self._fail(DATABASE, error)
        except TimeoutError:
            silent = f"no answer within {connections.CONNECT_SEC:g} s after the connection was made"
            self._add(TLS, CheckStatus.FAILED, silent, NO_POSTGRES)
        except (connections.CertificatesRefused, OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self._fail(TLS, error)
        return None

    async def _database(self, connection: RawConnection) -> None:
        if not isinstance(connection, _TlsConnection) or connection.tls is None:
            self._add(TLS, CheckStatus.SKIPPED, "not encrypted: sslmode=verify-full requires it")
        else:
            verified = "verified" if self._address.verified else "not verified"
            self._add(TLS, CheckStatus.OK, f"{connection.tls}, the certificate {verified}")
        try:
            self.server = str(await connection.fetchval("SELECT version()")).partition(" on ")[0]
            user = await connection.fetchval("SELECT current_user")
            database = await connection.fetchval("SELECT current_database()")
        except connections.ERRORS as error:
            self._fail(DATABASE, error)
            return
        self._add(AUTH, CheckStatus.OK, f"as {user}")
        self._add(DATABASE, CheckStatus.OK, f"{database}, {self.server}")
        try:
            self.schema_version = int(await connection.fetchval(CURRENT_VERSION))
        except asyncpg.UndefinedTableError:
            self.schema_version = 0
        except connections.ERRORS as error:
            self._fail(SCHEMA, error)
            return
        version, newest = self.schema_version, self.newest_version
        if version == newest:
            self._add(SCHEMA, CheckStatus.OK, f"{version}, up to date")
        elif version > newest:
            self._add(SCHEMA, CheckStatus.FAILED, f"{version}, this program knows only {newest}", NEWER)
        else:
            self._fail(SCHEMA, f"{version}, this program has {newest}" if version else "there are no tables yet")


async def check_connection(url: str) -> Connected:
    """Try to connect to a store, step by step. StoreError: the URL is invalid, or an extra is not installed."""
    found = Connected(connections.parse_address(url))
    await found.run()
    return found


TABLES = """
SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind = 'r' ORDER BY c.relname
"""
ESTIMATE = """
SELECT c.reltuples::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname = $1
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A database. `schema_version` 0: no tables yet; `newest_version`: what this program would create. `tables`: rows
    by table; those in `estimated` were too large to be counted in time."""

    place: str
    server: str
    schema_version: int
    newest_version: int
    tables: dict[str, int]
    estimated: frozenset[str] = frozenset()


async def inspect(url: str, count_within_sec: float = connections.STATEMENT_SEC) -> Found:
    """What the database holds. The rows of a table that cannot be counted within `count_within_sec` are estimated: DSQL
    does not finish counting a large one. StoreError: it cannot be reached."""
    database = connections.Connections(url, max_size=1)
    try:
        server = str(await database.value("SELECT version()")).partition(" on ")[0]
        names = [row["name"] for row in await database.rows(TABLES)]
        tables, estimated = {}, set()
        for name in names:
            tables[name], exact = await _rows(database, name, count_within_sec)
            if not exact:
                estimated.add(name)
        version = await current_version(database) if "schema_version" in tables else 0
        newest = migrations()[-1].version
        return Found(database.address.place, server, version, newest, tables, frozenset(estimated))
    finally:
        await database.close()


async def _rows(database: connections.Connections, table: str, within_sec: float) -> tuple[int, bool]:
    """The number of rows, and whether it was counted."""
    if not table.replace("_", "").isalnum():
        raise StoreError(f"{table!r} is not a table of the store")
    count = f'SELECT count(*) FROM "{table}"'
    try:
        return int(await database.transaction(lambda c: c.fetchval(count, timeout=within_sec))), True
    except StoreError as error:
        if not isinstance(error.__cause__, TimeoutError):
            raise
    return max(0, int(await database.value(ESTIMATE, table))), False
