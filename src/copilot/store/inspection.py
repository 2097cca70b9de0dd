"""What stands in a database: for the command line, not for the loops."""

from dataclasses import dataclass

from copilot.core.errors import StoreError
from copilot.store.connections import STATEMENT_SEC, Connections
from copilot.store.migrate import current_version, migrations
from copilot.store.raw import Connection

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
