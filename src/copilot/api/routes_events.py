"""/events: the live copy of a cluster as server-sent events."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from copilot.api import errors as problems
from copilot.api import schemas as wire
from copilot.api.deps import Deps
from copilot.api.live import LiveCopies, Said
from copilot.api.parameters import chosen_cluster

PATH = "/events"
HEARTBEAT_SEC = 5.0
RETRY_MS = 2_000
TRY_AGAIN_SEC = 5

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events without end", "content": {"text/event-stream": {}}},
    503: {"model": problems.ErrorBody, "description": "Too many listen already"},
}


class Listeners:
    """How many listen now, and how many may."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = 0


def routes(deps: Deps, live: LiveCopies, max_streams: int) -> APIRouter:
    """The route, over one set of copies, for `max_streams` listeners at once."""
    router = APIRouter(tags=["status"])
    listeners = Listeners(max_streams)

    @router.get(PATH, response_class=StreamingResponse, responses=RESPONSES)
    async def events(
        cluster: Annotated[str, Depends(chosen_cluster(deps.clusters))],
        last_event_id: Annotated[str | None, Header(description="The id last heard, after a break")] = None,
    ) -> StreamingResponse:
        """The verdict in one line, as it changes: `verdict` when there is something new, `heard` every few seconds so
        that the reader knows we are there. Both bear a line of /clusters, and `now`."""
        return _Stream(_events(deps, live, cluster, last_event_id), listeners)

    return router


class _Stream(StreamingResponse):
    """An event stream that is refused when too many listen already."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[str], listeners: Listeners) -> None:
        super().__init__(content, headers={"x-accel-buffering": "no"})
        self._listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._listeners.now >= self._listeners.most:
            message = (
                f"{self._listeners.most} listen to events already: ask /status, or raise max_event_streams of [api]"
            )
            refused = problems.answer(503, problems.ErrorDetail(code="too_many_listeners", message=message))
            refused.headers["retry-after"] = str(TRY_AGAIN_SEC)
            await refused(scope, receive, send)
            return
        self._listeners.now += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listeners.now -= 1


async def _events(deps: Deps, live: LiveCopies, cluster: str, last_id: str | None) -> AsyncIterator[str]:
    told = float("-inf")
    yield f"retry: {RETRY_MS}\n\n"
    async with aclosing(live.changes(cluster)) as changes:
        async for said in changes:
            this_id, elapsed = _id(said), deps.elapsed()
            new = this_id != last_id
            if new or elapsed - told >= HEARTBEAT_SEC:
                last_id, told = this_id, elapsed
                yield f"id: {this_id}\nevent: {'verdict' if new else 'heard'}\ndata: {_data(said)}\n\n"


def _id(said: Said) -> str:
    """The same for the same thing said, by whichever process."""
    return blake2b(repr(said.revision).encode(), digest_size=8).hexdigest()


def _data(said: Said) -> str:
    line = wire.cluster_line(said).model_dump(mode="json")
    return json.dumps({**line, "now": said.now.format_iso()})
