"""The API's connections, bounded: a request must be complete in time, and there are only so many in all and of one
address.

A client that opens connections and asks for nothing (slowly, or half a request) would use up the descriptors of the
process and lock all others out. Where there are too many, the one that has waited longest for a request makes room.
"""

import asyncio
import ipaddress
import logging
import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SEC = 10.0
"""Within which a request must be complete, head and body."""
ACCEPTED_AT_ONCE = 16
"""Connections that are accepted before the limits are looked at."""
RESERVED = 100
"""Descriptors for what is no connection: the store, Temporal, logs."""
EXHAUSTED_EVERY_SEC = 60.0

log = logging.getLogger(__name__)


def descriptors() -> int:
    """How many files and sockets this process may have open (`ulimit -n`)."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@dataclass
class Connections:
    """The open connections: at most `most`, and `most_per_address` from one address but those of `proxies` (addresses
    and networks)."""

    most: int
    most_per_address: int
    proxies: Sequence[str] = ()
    request_sec: float = REQUEST_SEC
    _open: Counter[str] = field(default_factory=Counter)
    _waiting: dict["BoundedHttp", None] = field(default_factory=dict)
    _exhausted: float = float("-inf")

    def __post_init__(self) -> None:
        if (allowed := max(1, descriptors() - RESERVED)) < self.most:
            log.warning(
                "at most %d connections, not max_connections = %d: raise the limit of open files (`ulimit -n`, now %d)",
                allowed, self.most, descriptors(), extra={"event": "api.few_descriptors"},
            )  # fmt: skip
            self.most = allowed

    def admit(self, new: "BoundedHttp") -> bool:
        """Whether a new connection may stay. It may if another one makes room."""
        address = new.address
        if not self._is_proxy(address) and self._open[address] >= self.most_per_address:
            oldest = next((each for each in self._waiting if each.address == address), None)
        elif self._open.total() >= self.most:
            oldest = next(iter(self._waiting), None)
        else:
            self._open[address] += 1
            return True
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.transport.abort()
        self._open[address] += 1
        return True

    def leave(self, gone: "BoundedHttp") -> None:
        """A connection that was admitted has ended, or makes room for another."""
        if gone.admitted:
            gone.admitted = False
            self._waiting.pop(gone, None)
            self._open[gone.address] -= 1
            if not self._open[gone.address]:
                del self._open[gone.address]

    def wait(self, each: "BoundedHttp", *, waits: bool) -> None:
        """Whether this connection waits for a request."""
        self._waiting.pop(each, None)
        if waits and each.admitted:
            self._waiting[each] = None

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception handler of the event loop: one line a minute while no descriptor is free."""
        if "out of system resource" not in context.get("message", ""):
            loop.default_exception_handler(context)
        elif loop.time() - self._exhausted >= EXHAUSTED_EVERY_SEC:
            self._exhausted = loop.time()
            log.error(
                "no connection can be accepted (%s): raise the limit of open files (`ulimit -n`, now %d)",
                context.get("exception"), descriptors(), extra={"event": "api.no_descriptors"},
            )  # fmt: skip

    def _is_proxy(self, address: str) -> bool:
        try:
            return any(ipaddress.ip_address(address) in ipaddress.ip_network(proxy) for proxy in self.proxies)
        except ValueError:
            return False


class BoundedHttp(H11Protocol):
    """HTTP on one connection of `bounds`."""

    def __init__(self, *args: Any, bounds: Connections, **named: Any) -> None:
        super().__init__(*args, **named)
        self.address = ""
        self.admitted = False
        self._bounds = bounds
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Stay, or go at once."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self.admitted = self._bounds.admit(self)
        if not self.admitted:
            transport.abort()
        self._follow()

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        """The next request may come."""
        super().on_response_complete()
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        super().connection_lost(exc)
        self._follow()
        self._bounds.leave(self)

    def _follow(self) -> None:
        """Keep the deadline from when a request is awaited until all of it is there."""
        waits = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing()
        if waits == (self._deadline is not None):
            return
        self._bounds.wait(self, waits=waits)
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(self._bounds.request_sec, self.transport.close) if waits else None
