"""The events of mutes in a state store: added once, never changed, pruned with the mute they belong to."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from whenever import Instant

from copilot.rules.mutes import Mute, MuteEvent, MuteLife, lives
from copilot.store import sql
from copilot.store.connections import Connections
from copilot.store.rows import Connection, from_jsonb, row_id, to_column, to_jsonb, to_text

ALERTMANAGER = "alertmanager"
"""The kind of inspection that holds the links to Alertmanager's own silences."""
MOST_EVENTS = 5_000
"""Of a cluster in one answer. What was held back is cut before anything else."""


class MuteStore(Protocol):
    """What a state store does for mutes. Methods raise StoreError."""

    async def save_mute_events(self, mute: Mute, events: Sequence[MuteEvent]) -> None:
        """Store events of a mute; what is stored already (by its key) is unchanged."""

    async def mutes(self, cluster: str, since: Instant) -> list[MuteLife]:
        """The mutes of a cluster that may end at or after `since`, the newest first."""


class StoredMutes:
    """A MuteStore in PostgreSQL or DSQL."""

    def __init__(self, connections: Connections) -> None:
        self._db = connections

    async def save_mute_events(self, mute: Mute, events: Sequence[MuteEvent]) -> None:
        cluster, until = to_text(mute.matcher.cluster), to_column(mute.until)
        rows = [
            (row_id("mute", *event.key), cluster, until, to_column(event.at), event.kind, to_jsonb(event))
            for event in events
        ]
        await self._db.transaction(partial(_insert, cluster, sorted(rows, key=lambda row: row[0])))

    async def mutes(self, cluster: str, since: Instant) -> list[MuteLife]:
        rows = await self._db.rows(sql.MUTE_EVENTS, to_text(cluster), to_column(since), MOST_EVENTS)
        return lives(from_jsonb(MuteEvent, row["event"]) for row in rows)


async def _insert(cluster: str, rows: list[tuple[Any, ...]], connection: Connection) -> None:
    await connection.execute(sql.KNOW_CLUSTER, cluster)
    await connection.executemany(sql.INSERT_MUTE_EVENT, rows)
