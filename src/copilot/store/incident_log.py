"""What was done about incidents, in a state store: added once, never changed."""

from functools import partial
from typing import Any, Protocol

from whenever import Instant

from copilot.rules.incident_log import IncidentEntry
from copilot.store import sql
from copilot.store.connections import Connections
from copilot.store.rows import Connection, from_jsonb, row_id, to_column, to_jsonb, to_text

MOST_ENTRIES = 1_000
"""Of a range in one answer: the newest."""


class IncidentLogStore(Protocol):
    """What a state store does for the log of incidents. Methods raise StoreError."""

    async def save_incident_entry(self, cluster: str, entry: IncidentEntry) -> None:
        """Store an entry; one that is stored already (by its key) is unchanged."""

    async def incident_entries(self, cluster: str, start: Instant, end: Instant) -> list[IncidentEntry]:
        """The entries with start ≤ at ≤ end, oldest first; the newest MOST_ENTRIES of them."""


class StoredIncidentLog:
    """An IncidentLogStore in PostgreSQL or DSQL."""

    _db: Connections

    async def save_incident_entry(self, cluster: str, entry: IncidentEntry) -> None:
        row = (row_id("incident entry", cluster, *entry.key), to_text(cluster), to_column(entry.at), to_jsonb(entry))
        await self._db.transaction(partial(_insert, row))

    async def incident_entries(self, cluster: str, start: Instant, end: Instant) -> list[IncidentEntry]:
        given = (to_text(cluster), to_column(start), to_column(end), MOST_ENTRIES)
        rows = await self._db.rows(sql.INCIDENT_ENTRIES, *given)
        return [from_jsonb(IncidentEntry, row["entry"]) for row in reversed(rows)]


async def _insert(row: tuple[Any, ...], connection: Connection) -> None:
    await connection.execute(sql.KNOW_CLUSTER, row[1])
    await connection.execute(sql.INSERT_INCIDENT_ENTRY, *row)
