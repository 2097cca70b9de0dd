"""Runs the numbered SQL files: one statement a transaction, the version recorded when a file is through.

The files are written in Aurora DSQL's words (`CREATE INDEX ASYNC`, waited for in index_build.py); for PostgreSQL the
word ASYNC is left out. Every statement can run twice, so a run that was cut off is simply run again.
"""

import re
from dataclasses import dataclass
from importlib.resources import files

from whenever import Instant

from copilot.core.errors import StoreError
from copilot.core.store_address import Flavour
from copilot.store.codec import to_column
from copilot.store.connections import Connections
from copilot.store.index_build import build_index
from copilot.store.raw import Connection

VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL)
"""

CURRENT_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX ASYNC (?:IF NOT EXISTS )?(?P<name>\w+) ON")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: its statements in order."""

    version: int
    name: str
    statements: tuple[str, ...]


def migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    found = []
    for file in files("copilot.store.migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name):
            found.append(Migration(int(match[1]), match[2], statements(file.read_text(encoding="utf-8"))))
    return tuple(sorted(found, key=lambda m: m.version))


def statements(sql: str) -> tuple[str, ...]:
    """The statements of a file, without comments: each ends with a semicolon at the end of a line."""
    bare = re.sub(r"^\s*--.*$", "", sql, flags=re.MULTILINE)
    return tuple(s.strip() for s in re.split(r";\s*$", bare, flags=re.MULTILINE) if s.strip())


def in_words_of(flavour: Flavour, statement: str) -> str:
    """The statement as the database understands it."""
    if flavour == "dsql":
        return statement
    return re.sub(r"\A(CREATE (?:UNIQUE )?INDEX) ASYNC\b", r"\1", statement)


async def migrate(connections: Connections, now: Instant) -> int:
    """Bring the schema up to date and return its version. StoreError if it is newer than this program."""
    flavour = connections.address.flavour
    await connections.transaction(lambda c: c.execute(VERSIONS))
    known = migrations()
    at = await current_version(connections)
    newest = known[-1].version
    if at > newest:
        raise StoreError(f"the schema is at version {at}, this program knows only {newest}: upgrade the program")
    for migration in known:
        if migration.version > at:
            for statement in migration.statements:
                await _run(connections, flavour, statement)
            await _record(connections, migration, now)
    return newest


async def current_version(connections: Connections) -> int:
    """The schema's version; 0 before the first migration."""

    async def read(connection: Connection) -> int:
        return int(await connection.fetchval(CURRENT_VERSION))

    return await connections.transaction(read)


async def _run(connections: Connections, flavour: Flavour, statement: str) -> None:
    if flavour == "dsql" and (index := _INDEX.match(statement)):
        await build_index(connections, statement, index["name"])
    else:
        await connections.transaction(lambda c: c.execute(in_words_of(flavour, statement)))


async def _record(connections: Connections, migration: Migration, now: Instant) -> None:
    await connections.transaction(
        lambda c: c.execute(
            "INSERT INTO schema_version (version, name, applied_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            migration.version,
            migration.name,
            to_column(now),
        )
    )
