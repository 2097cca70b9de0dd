"""The activity that inspects executions: it reads Temporal's visibility and stores the answer, once a minute."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from temporalio import activity
from whenever import Instant

from copilot.errors import StoreError
from copilot.inspection.executions import Inspection
from copilot.inspection.workers import WorkersListed, merged
from copilot.loops import messages as m
from copilot.loops.activities.observe import read_document
from copilot.sources import Source, ThrottledLog
from copilot.sources.temporal.executions import ExecutionsReader
from copilot.sources.temporal.source import TemporalApiSource
from copilot.store.base import Store

log = logging.getLogger(__name__)
EXECUTIONS, WORKERS = "executions", "workers"
KEEP_WITHIN_SEC = 5.0


class WorkerKeeper:
    """Stores the workers whose heartbeats the evaluation's own source has listed, beside the evaluation: it never waits
    for this, and a store that is away costs nothing but a newer list. `clean` takes secrets out of names."""

    def __init__(self, sources: Mapping[str, Sequence[Source]], store: Store, clean: Callable[[str], str]) -> None:
        self._sources = {c: [s for s in of if isinstance(s, TemporalApiSource)] for c, of in sources.items()}
        self._store, self._clean = store, clean
        self._kept: dict[str, tuple[Instant, str]] = {}
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._log = ThrottledLog(log, "workers.not_stored")

    def after_read(self, cluster: str) -> None:
        """Store the cluster's workers if there is a newer list, in the background."""
        for source in self._sources.get(cluster, ()):
            busy = cluster in self._keeping and not self._keeping[cluster].done()
            listed, complete = (None, frozenset[str]()) if busy else source.workers(self._clean)
            if listed is not None and self._kept.get(cluster) != (listed.time, listed.problem):
                self._keeping[cluster] = asyncio.create_task(self._keep(listed, complete), name="store workers")

    async def _keep(self, listed: WorkersListed, complete: frozenset[str]) -> None:
        try:
            async with asyncio.timeout(KEEP_WITHIN_SEC):
                stored = await self._store.inspection(listed.cluster, WORKERS)
                before = read_document(WorkersListed, stored, "workers.incompatible")
                now = await asyncio.to_thread(merged, before, listed, complete)
                await self._store.save_inspection(listed.cluster, WORKERS, now.time, now.model_dump(mode="json"))
        except (StoreError, TimeoutError) as error:
            self._log.warning("the workers of cluster %s are not stored: %s", listed.cluster, str(error) or "timed out")
        else:
            self._kept[listed.cluster] = listed.time, listed.problem


@dataclass(frozen=True)
class InspectActivities:
    """Inspects the executions of each cluster that has a reader."""

    readers: Mapping[str, ExecutionsReader]
    store: Store

    @activity.defn
    async def inspect_executions(self, ask: m.ClusterNow) -> m.ExecutionsInspected:
        """Read what is due and store it with what was read before. What cannot be read keeps its last answer, with the
        reason: that is a result and no error."""
        reader = self.readers.get(ask.cluster)
        if reader is None:
            return m.ExecutionsInspected(watched=False)
        stored = await self.store.inspection(ask.cluster, EXECUTIONS)
        before = read_document(Inspection, stored, "inspection.incompatible")
        made = await reader.inspect(before, Instant.from_timestamp(ask.now))
        await self.store.save_inspection(ask.cluster, EXECUTIONS, made.time, made.model_dump(mode="json"))
        return m.ExecutionsInspected()
