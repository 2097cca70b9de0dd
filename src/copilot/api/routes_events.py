"""/events: a cluster's verdict as server-sent events."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from copilot.api.deps import Deps
from copilot.api.errors import CALLER, ErrorBody, Problem
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


def routes(deps: Deps, cache: VerdictCache, max_streams: int, max_per_caller: int) -> APIRouter:
    """The route over one cache, for at most `max_streams` listeners, and `max_per_caller` of one token or address."""
    router = APIRouter(tags=["status"])
    listeners: Counter[str] = Counter()

    @router.get(PATH, response_class=StreamingResponse, responses=RESPONSES)
    async def events(
        request: Request,
        cluster: Annotated[str, Depends(chosen_cluster(deps.clusters))],
        last_event_id: Annotated[str | None, Header(description="The last id received, after a break")] = None,
    ) -> StreamingResponse:
        """One line of /clusters with `now`: an event `verdict` when there is something new, `heartbeat` every 5 s."""
        caller = CALLER.get() or (request.client.host if request.client else "")
        full = listeners.total() >= max_streams, listeners[caller] >= max_per_caller
        if any(full):
            limit, which = (max_streams, "") if full[0] else (max_per_caller, "_per_caller")
            message = f"{limit} event streams are open: poll /status, or raise max_event_streams{which} of [api]"
            raise Problem(503, "too_many_listeners", message, headers={"retry-after": str(RETRY_AFTER_SEC)})
        headers = {"x-accel-buffering": "no"}
        stream = _events(deps, cache, cluster, last_event_id)
        return Counted(stream, media_type="text/event-stream", headers=headers, place=counted(listeners, caller))

    return router


class Counted(StreamingResponse):
    """Holds its place among the listeners until it has ended: an abandoned generator ends much later."""

    def __init__(
        self, stream: AsyncIterator[str], media_type: str, headers: dict[str, str],
        place: AbstractAsyncContextManager[None],
    ) -> None:  # fmt: skip
        super().__init__(stream, media_type=media_type, headers=headers)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._place:
            await super().__call__(scope, receive, send)


@asynccontextmanager
async def counted(listeners: Counter[str], caller: str) -> AsyncIterator[None]:
    """Count the caller among the listeners."""
    listeners[caller] += 1
    try:
        yield
    finally:
        listeners[caller] -= 1
        if not listeners[caller]:
            del listeners[caller]


async def _events(deps: Deps, cache: VerdictCache, cluster: str, last_id: str | None) -> AsyncIterator[str]:
    sent = float("-inf")
    async with aclosing(cache.changes(cluster)) as changes:
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
