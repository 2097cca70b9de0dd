"""The activity that inspects executions: it reads Temporal's visibility and stores the answer, once a minute."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from temporalio import activity
from whenever import Instant

from copilot.inspection.executions import Inspection
from copilot.loops import messages as m
from copilot.loops.activities.observe import read_document
from copilot.sources.temporal.executions import ExecutionsReader
from copilot.store.base import Store

log = logging.getLogger(__name__)
EXECUTIONS = "executions"


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
