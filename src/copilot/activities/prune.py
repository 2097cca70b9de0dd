"""The activity of the pruning loop."""

import logging
from collections.abc import Callable

from temporalio import activity
from whenever import Instant

from copilot.activities.prune_messages import PruneStore, StorePruned
from copilot.store.base import Store

log = logging.getLogger(__name__)

DAY_SEC = 86_400.0


class PruneActivities:
    """Deletes what is older than `retention_days`, by the settings of this worker."""

    def __init__(self, store: Store, retention_days: float, now: Callable[[], Instant] = Instant.now) -> None:
        self._store = store
        self._retention_sec = retention_days * DAY_SEC
        self._now = now

    @activity.defn
    async def prune_store(self, ask: PruneStore) -> StorePruned:
        """Delete in the store's own small transactions, with a heartbeat after each; begun again it goes on. Both
        clocks, the loop's and this machine's, must say that a row is old: a wrong one alone deletes nothing."""
        now = min(Instant.from_timestamp(ask.now), self._now())
        before = now.subtract(seconds=self._retention_sec)
        deleted = 0

        def told(_: str, rows: int) -> None:
            nonlocal deleted
            deleted += rows
            activity.heartbeat(deleted)

        await self._store.prune(before, told=told, cluster=ask.cluster)
        if deleted:
            log.info("%s: %d rows from before %s are deleted", ask.cluster, deleted, before.format_iso())
        return StorePruned(deleted=deleted, before=before.timestamp())
