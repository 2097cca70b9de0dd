"""/events: a cluster's verdict as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse

from copilot.api.deps import Deps
from copilot.api.errors import ErrorBody, Problem
from copilot.api.live import VerdictCache
from copilot.api.parameters import chosen_cluster
from copilot.api.schemas import ClusterLine, verdict_body

PATH = "/events"
HEARTBEAT_SEC = 5.0
RETRY_MS = 2_000
RETRY_AFTER_SEC = 5

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "An endless stream of server-sent events", "content": {"text/event-stream": {}}},
    503: {"model": ErrorBody, "description": "Too many event streams are open"},
}


def routes(deps: Deps, cache: VerdictCache, max_streams: int) -> APIRouter:
    """The route over one cache, for at most `max_streams` listeners."""
    router = APIRouter(tags=["status"])
    free = asyncio.Semaphore(max_streams)

    @router.get(PATH, response_class=StreamingResponse, responses=RESPONSES)
    async def events(
        cluster: Annotated[str, Depends(chosen_cluster(deps.clusters))],
        last_event_id: Annotated[str | None, Header(description="The last id received, after a break")] = None,
    ) -> StreamingResponse:
        """One line of /clusters with `now`: an event `verdict` when there is something new, `heartbeat` every 5 s."""
        if free.locked():
            message = f"{max_streams} event streams are open: poll /status, or raise max_event_streams of [api]"
            raise Problem(503, "too_many_listeners", message, headers={"retry-after": str(RETRY_AFTER_SEC)})
        stream = _events(deps, cache, cluster, last_event_id, free)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    return router


async def _events(
    deps: Deps, cache: VerdictCache, cluster: str, last_id: str | None, free: asyncio.Semaphore
) -> AsyncIterator[str]:
    """Holds one of the `free` places while it is open."""
    sent = float("-inf")
    async with free, aclosing(cache.changes(cluster)) as changes:
        yield f"retry: {RETRY_MS}\n\n"
        async for view in changes:
            # The same for the same content, from any process.
            this_id = blake2b(repr(view.revision).encode(), digest_size=8).hexdigest()
            elapsed = deps.elapsed()
            new = this_id != last_id
            if new or elapsed - sent >= HEARTBEAT_SEC:
                last_id, sent = this_id, elapsed
                line = verdict_body(ClusterLine, view).model_dump(mode="json")
                data = json.dumps({**line, "now": view.now.format_iso()})
                yield f"id: {this_id}\nevent: {'verdict' if new else 'heartbeat'}\ndata: {data}\n\n"
