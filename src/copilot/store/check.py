"""Finds out where the way to the store ends: name, TCP, TLS, authentication, database, schema; each in its turn.

Name and TCP are tried by themselves, the rest by one connection made as the store makes it; its error tells how far it
came, because a server speaks of the database only to whom it has let in.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import asyncpg

from copilot.diagnosis import Check, CheckStatus
from copilot.errors import StoreError
from copilot.settings.store_address import DsqlAddress, StoreAddress, store_address
from copilot.store.connections import (
    CONNECT_SEC,
    STATEMENT_SEC,
    CertificatesRefused,
    Connections,
    CredentialsRefused,
    connect_to,
    first_line,
)
from copilot.store.migrate import CURRENT_VERSION, current_version, migrations
from copilot.store.rows import Connection, RawConnection

STEPS = ("name resolution", "TCP", "TLS", "authentication", "database", "schema version")
NAME, TCP, TLS, AUTH, DATABASE, SCHEMA = STEPS

FIXES = {
    NAME: "mend the host in [store] url, or this machine's name servers",
    TCP: "start the database, mend host and port in [store] url, or open the way (security group, firewall)",
    TLS: "the certificate must name the host and be vouched for: see sslrootcert and sslmode in [store] url",
    AUTH: "mend user and password in [store] url",
    DATABASE: "create the database, grant CONNECT to the user, or mend the name in [store] url",
    SCHEMA: "run `copilot db setup-schema`",
}
DSQL_FIXES = FIXES | {
    AUTH: "the AWS identity needs dsql:DbConnectAdmin (user admin) or dsql:DbConnect on the cluster; a user other than "
    "admin also a role there (AWS IAM GRANT)",
}
NO_POSTGRES = (
    "nothing there answers as a PostgreSQL does: see whether the database hangs, and whether host and port in [store] "
    "url are its own"
)
VERIFIED = "encrypted, the certificate verified"
NO_CREDENTIALS = "give AWS credentials: a role, a profile in [store] url, or AWS_… variables"
NEWER = "upgrade this program: the schema was made by a newer one"


@dataclass(frozen=True, slots=True)
class Connected:
    """How far a store can be reached. `server` and `schema_version` are None where it was not reached."""

    place: str
    checks: tuple[Check, ...]
    server: str | None
    schema_version: int | None
    newest_version: int

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong."""
        return all(c.status is not CheckStatus.FAILED for c in self.checks)


async def check_connection(url: str) -> Connected:
    """Try the way to a store, step by step. StoreError only if the URL cannot be read or a program part is missing."""
    try:
        way = _Way(store_address(url))
    except ValueError as error:
        raise StoreError(f"the state store's address cannot be used: {error}") from error
    await way.walk()
    return Connected(way.address.place, way.checks(), way.server, way.version, migrations()[-1].version)


class _Seen(RawConnection):
    """A connection that tells its version of TLS; None: it is not encrypted."""

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        encryption = transport.get_extra_info("ssl_object")
        self.tls: str | None = None if encryption is None else encryption.version()


class _Way:
    def __init__(self, address: StoreAddress) -> None:
        self.address = address
        self.server: str | None = None
        self.version: int | None = None
        self._connect = connect_to(address)
        self._found: dict[str, Check] = {}
        self._fixes = DSQL_FIXES if isinstance(address, DsqlAddress) else FIXES

    def checks(self) -> tuple[Check, ...]:
        """All steps; those that could not be tried are skipped."""
        untried = {s: Check(name=s, status=CheckStatus.SKIPPED, found="not tried") for s in STEPS}
        return tuple((untried | self._found).values())

    async def walk(self) -> None:
        """Try one step after the other as far as it goes."""
        if not self.address.hosts:
            for step in (NAME, TCP):
                self._say(step, CheckStatus.SKIPPED, "a local socket")
        elif not (await self._names() and await self._tcp()):
            return
        if (connection := await self._session()) is None:
            return
        try:
            await self._look(connection)
        finally:
            connection.terminate()

    def _say(self, step: str, status: CheckStatus, found: str, fix: str | None = None) -> None:
        if fix is None:
            fix = self._fixes[step] if status is CheckStatus.FAILED else ""
        self._found[step] = Check(name=step, status=status, found=found, fix=fix)

    def _failed(self, step: str, error: Exception | str) -> None:
        """The step failed, and those before it that nothing was said of went well."""
        if step in (AUTH, DATABASE) and TLS not in self._found:
            if self.address.verified:
                self._say(TLS, CheckStatus.OK, VERIFIED)
            else:
                self._say(TLS, CheckStatus.SKIPPED, "not asked for: sslmode=verify-full does")
        if step == DATABASE and AUTH not in self._found:
            self._say(AUTH, CheckStatus.OK, "accepted")
        self._say(step, CheckStatus.FAILED, error if isinstance(error, str) else first_line(error))

    async def _names(self) -> bool:
        loop = asyncio.get_running_loop()
        found, wrong = [], []
        for host, port in self.address.hosts:
            try:
                known = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (socket.gaierror, UnicodeError) as error:
                wrong.append(f"{host} is not known ({getattr(error, 'strerror', None) or error})")
            else:
                found.append(f"{host} is {', '.join(dict.fromkeys(str(k[4][0]) for k in known))}")
        if found:
            self._say(NAME, CheckStatus.OK, "; ".join(found + wrong))
        else:
            self._failed(NAME, "; ".join(wrong))
        return bool(found)

    async def _tcp(self) -> bool:
        wrong = []
        for host, port in self.address.hosts:
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_SEC)
            except TimeoutError:
                wrong.append(f"port {port} of {host} did not answer within {CONNECT_SEC:g} s")
            except OSError as error:
                wrong.append(f"port {port} of {host}: {first_line(error)}")
            else:
                writer.transport.abort()
                self._say(TCP, CheckStatus.OK, f"port {port} of {host} answers")
                return True
        self._failed(TCP, "; ".join(wrong))
        return False

    async def _session(self) -> RawConnection | None:
        try:
            return await self._connect(timeout=CONNECT_SEC, command_timeout=CONNECT_SEC, connection_class=_Seen)
        except CredentialsRefused as error:
            self._say(TLS, CheckStatus.SKIPPED, "not tried")
            self._say(AUTH, CheckStatus.FAILED, str(error), NO_CREDENTIALS)
        except (CertificatesRefused, ssl.SSLError) as error:
            self._failed(TLS, error)
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError) as error:
            self._failed(AUTH, error)
        except asyncpg.PostgresError as error:
            self._failed(DATABASE, error)
        except TimeoutError:
            silent = f"nobody answered within {CONNECT_SEC:g} s after the connection was made"
            self._say(TLS, CheckStatus.FAILED, silent, NO_POSTGRES)
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self._failed(TLS, error)
        return None

    async def _look(self, connection: RawConnection) -> None:
        try:
            self._say(TLS, *self._encryption(connection))
            self.server = str(await connection.fetchval("SELECT version()")).partition(" on ")[0]
            who = await connection.fetchval("SELECT current_user")
            where = await connection.fetchval("SELECT current_database()")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            self._failed(DATABASE, error)
            return
        self._say(AUTH, CheckStatus.OK, f"as {who}")
        self._say(DATABASE, CheckStatus.OK, f"{where}, {self.server}")
        try:
            self.version = int(await connection.fetchval(CURRENT_VERSION))
        except asyncpg.UndefinedTableError:
            self.version = 0
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            self._failed(SCHEMA, error)
            return
        self._schema(self.version, migrations()[-1].version)

    def _encryption(self, connection: RawConnection) -> tuple[CheckStatus, str]:
        if not isinstance(connection, _Seen) or connection.tls is None:
            return CheckStatus.SKIPPED, "not encrypted: sslmode=verify-full asks for it"
        verified = "verified" if self.address.verified else "not verified"
        return CheckStatus.OK, f"{connection.tls}, the certificate {verified}"

    def _schema(self, version: int, newest: int) -> None:
        if version == newest:
            self._say(SCHEMA, CheckStatus.OK, f"{version}, up to date")
        elif version > newest:
            self._say(SCHEMA, CheckStatus.FAILED, f"{version}, this program knows only {newest}", NEWER)
        else:
            found = f"{version}, this program has {newest}" if version else "there are no tables yet"
            self._say(SCHEMA, CheckStatus.FAILED, found)


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
    """A database that answered. `schema_version` 0: no tables yet; `newest_version` is what this program would make.
    `tables` in `estimated` were too large to be counted in time."""

    place: str
    server: str
    schema_version: int
    newest_version: int
    tables: dict[str, int]
    estimated: frozenset[str] = frozenset()


async def inspect(url: str, count_within_sec: float = STATEMENT_SEC) -> Found:
    """Connect and look around. A table whose rows are not counted in `count_within_sec` is estimated: DSQL does not
    finish counting a large one. StoreError when it cannot be done."""
    connections = Connections(url, max_size=1)
    try:
        server, names = await connections.transaction(_look)
        tables, estimated = {}, set()
        for name in names:
            tables[name], exact = await _rows(connections, name, count_within_sec)
            if not exact:
                estimated.add(name)
        version = await current_version(connections) if "schema_version" in tables else 0
        newest = migrations()[-1].version
        return Found(connections.place, server, version, newest, tables, frozenset(estimated))
    finally:
        await connections.close()


async def _look(connection: Connection) -> tuple[str, list[str]]:
    version = str(await connection.fetchval("SELECT version()"))
    return version.partition(" on ")[0], [row["name"] for row in await connection.fetch(TABLES)]


async def _rows(connections: Connections, table: str, within_sec: float) -> tuple[int, bool]:
    """The number of rows, and whether it was counted."""
    if not table.replace("_", "").isalnum():
        raise StoreError(f"{table!r} is no table of ours")
    count = f'SELECT count(*) FROM "{table}"'
    try:
        return int(await connections.transaction(lambda c: c.fetchval(count, timeout=within_sec))), True
    except StoreError as error:
        if not isinstance(error.__cause__, TimeoutError):
            raise
    return max(0, int(await connections.transaction(lambda c: c.fetchval(ESTIMATE, table)))), False
