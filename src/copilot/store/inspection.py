"""What stands in a database: for the command line, not for the loops."""

from dataclasses import dataclass

from copilot.core.errors import StoreError
from copilot.store.connections import Connections
from copilot.store.migrate import current_version, migrations
from copilot.store.raw import Connection

TABLES = """
SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind = 'r' ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A database that answered. `schema_version` 0: no tables yet; `newest_version` is what this program would make."""

    place: str
    server: str
    schema_version: int
    newest_version: int
    tables: dict[str, int]


async def inspect(url: str) -> Found:
    """Connect and look around; `tables` are ours with their number of rows. StoreError when it cannot be done."""
    connections = Connections(url, max_size=1)
    try:
        server, names = await connections.transaction(_look)
        tables = {name: await connections.transaction(lambda c, n=name: _rows(c, n)) for name in names}  # type: ignore[misc]
        version = await current_version(connections) if "schema_version" in tables else 0
        return Found(connections.place, server, version, migrations()[-1].version, tables)
    finally:
        await connections.close()


async def _look(connection: Connection) -> tuple[str, list[str]]:
    version = str(await connection.fetchval("SELECT version()"))
    return version.partition(" on ")[0], [row["name"] for row in await connection.fetch(TABLES)]


async def _rows(connection: Connection, table: str) -> int:
    if not table.replace("_", "").isalnum():
        raise StoreError(f"{table!r} is no table of ours")
    return int(await connection.fetchval(f'SELECT count(*) FROM "{table}"'))
