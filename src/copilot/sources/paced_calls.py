"""Calls to a Temporal frontend, never more than so many a second, and what its refusals mean."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode

CALLS_PER_SEC = 10.0
AT_ONCE = 10
CALL_SEC = 3.0

T = TypeVar("T", bound=Message)
_CODES = {
    RPCStatusCode.DEADLINE_EXCEEDED: (MissingCode.TIMEOUT, "no answer in time"),
    RPCStatusCode.CANCELLED: (MissingCode.TIMEOUT, "no answer in time"),
    RPCStatusCode.PERMISSION_DENIED: (MissingCode.FORBIDDEN, "permission denied"),
    RPCStatusCode.UNAUTHENTICATED: (MissingCode.FORBIDDEN, "not authenticated"),
    RPCStatusCode.NOT_FOUND: (MissingCode.ABSENT, "not found"),
    RPCStatusCode.UNIMPLEMENTED: (MissingCode.ABSENT, "this server does not know the call"),
    RPCStatusCode.RESOURCE_EXHAUSTED: (MissingCode.DROPPED, "refused by a rate limit of the cluster"),
}


class PacedCalls:
    """Read-only calls whose beginnings lie at least 1 / `per_sec` seconds apart, `at_once` of them at a time. `made`
    counts them."""

    def __init__(
        self, client: Client, *, per_sec: float = CALLS_PER_SEC, at_once: int = AT_ONCE, timeout_sec: float = CALL_SEC
    ) -> None:
        self.service = client.workflow_service
        self.per_sec = per_sec
        self.made = 0
        self._timeout = timedelta(seconds=timeout_sec)
        self._slots = asyncio.Semaphore(at_once)
        self._gate = asyncio.Lock()
        self._next = 0.0

    async def ask(self, call: Callable[..., Awaitable[T]], request: Message, asked: str) -> T:
        """The answer. Raises SourceError, which names what was `asked`."""
        try:
            return await self.call(call, request)
        except RPCError as error:
            raise source_error(error, asked) from error

    async def call(self, call: Callable[..., Awaitable[T]], request: Message) -> T:
        """The answer, as `ask` has it. Raises RPCError, or SourceError when there is no connection."""
        async with self._slots:
            await self.turn()
            try:
                return await call(request, timeout=self._timeout)
            except RuntimeError as error:
                raise SourceError(MissingCode.TARGET_DOWN, connect_failure(error)) from error

    async def pages(self, call: Callable[..., Awaitable[Any]], request: Any, asked: str, most: int = 3) -> list[Any]:
        """The first `most` pages of a list. Raises SourceError."""
        found = [await self.ask(call, request, asked)]
        while found[-1].next_page_token and len(found) < most:
            request.next_page_token = found[-1].next_page_token
            found.append(await self.ask(call, request, asked))
        return found

    async def turn(self) -> None:
        """Wait until one more call may be made."""
        loop = asyncio.get_running_loop()
        async with self._gate:
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            self._next = loop.time() + 1.0 / self.per_sec
            self.made += 1


def source_error(error: RPCError, asked: str) -> SourceError:
    """Our error of a gRPC one, in one line."""
    code, detail = _CODES.get(error.status, (MissingCode.TARGET_DOWN, " ".join(error.message.split())[:160]))
    return SourceError(code, detail, asked=asked)


def connect_failure(error: RuntimeError) -> str:
    """Why no connection came about, in few words."""
    text = str(error)
    for known in ("Connection refused", "dns error", "certificate", "timed out"):
        if known.lower() in text.lower():
            return known.lower()
    return "cannot connect: " + " ".join(text.split())[:160]
