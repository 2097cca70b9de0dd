"""Why verdicts are not being stored, asked of the Copilot's own Temporal.

A store that can be read but not written, its disk full say, gives whole answers: only the writes wait. Temporal tries
them again and again and keeps how the last try ended, in the loop's own write or in a backlog's.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.service import RPCError

from copilot.workflows.shared import STORE_BACKLOG, backlog_id, observe_id

ANSWER = timedelta(seconds=2)
AGAIN_SEC = 5.0
LONGEST = 200
WRITE = "store_signals_snapshot"


class Unsaved:
    """Asks at most every `again_sec` seconds a cluster; in between the last answer holds. `elapsed` is a clock that
    nobody sets (seconds)."""

    def __init__(
        self, client: Client, *, again_sec: float = AGAIN_SEC, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._again_sec = again_sec
        self._elapsed = elapsed
        self._known: dict[str, tuple[float, str | None]] = {}

    async def why(self, cluster: str) -> str | None:
        """A sentence; None when nothing is known to wait, or Temporal cannot be asked."""
        asked, answer = self._known.get(cluster, (-self._again_sec, None))
        if self._elapsed() - asked >= self._again_sec:
            try:
                async with asyncio.timeout(ANSWER.total_seconds()):
                    answer = await self._ask(cluster)
            except (RPCError, RuntimeError, TimeoutError):
                answer = None
            self._known[cluster] = self._elapsed(), answer
        return answer

    async def _ask(self, cluster: str) -> str | None:
        async for workflow_id in self._writers(cluster):
            found = await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=ANSWER)
            for activity in found.raw_description.pending_activities:
                if activity.activity_type.name == WRITE and activity.HasField("last_failure"):
                    return f"verdicts wait to be stored: {_in_words(activity.last_failure)}"
        return None

    async def _writers(self, cluster: str) -> AsyncIterator[str]:
        yield observe_id(cluster)
        backlogs = (
            f"WorkflowType = '{STORE_BACKLOG}' AND ExecutionStatus = 'Running'"
            f" AND WorkflowId STARTS_WITH '{backlog_id(cluster)}:'"
        )
        found = [e async for e in self._client.list_workflows(backlogs, limit=100, rpc_timeout=ANSWER)]
        if found:  # The others queue behind the first.
            yield min(found, key=lambda e: e.start_time).id


def _in_words(failure: Failure) -> str:
    if failure.HasField("timeout_failure_info"):
        return "a write did not end in time"
    first = (failure.message.splitlines() or ["a write failed"])[0]
    return first if len(first) <= LONGEST else f"{first[:LONGEST]}…"
