"""Spans of a trace, wherever there is something to trace. Nothing happens, and nothing is imported, until a process has
begun to trace (tracing.py)."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import httpx

Value: TypeAlias = str | int | float | bool
Kind = Literal["internal", "client", "server"]


class Span(Protocol):
    """A span that is under way."""

    def set(self, name: str, value: Value) -> None:
        """Say something more of it."""

    def rename(self, name: str) -> None:
        """Call it by another name."""


class Tracing(Protocol):
    """Whoever makes spans."""

    def span(
        self, name: str, attributes: Mapping[str, Value], kind: Kind, carrier: Mapping[str, str] | None
    ) -> contextlib.AbstractContextManager[Span]:
        """A span until the end of the block. `carrier` None: within the span around it; else within the one these
        headers name, if any."""

    def ended(self, name: str, attributes: Mapping[str, Value], seconds: float, error: str | None) -> None:
        """A span that has just ended, within the one around it; none where there is none."""


class _Nothing:
    def set(self, *_: object) -> None:
        return None

    rename = set


class _Process:
    tracing: Tracing | None = None


_NOTHING = _Nothing()
ROOT: Mapping[str, str] = {}
"""The carrier of a span that begins a trace."""


def trace_with(tracing: Tracing | None) -> None:
    """All of this process is traced from now on; None: not any more."""
    _Process.tracing = tracing


def tracing() -> Tracing | None:
    """Whoever makes this process' spans; None where it is not traced."""
    return _Process.tracing


@contextlib.contextmanager
def span(
    name: str, attributes: Mapping[str, Value], kind: Kind = "internal", carrier: Mapping[str, str] | None = None
) -> Iterator[Span]:
    """Trace the block, if this process is traced. `carrier` as in Tracing."""
    if _Process.tracing is None:
        yield _NOTHING
        return
    with _Process.tracing.span(name, attributes, kind, carrier) as begun:
        yield begun


class SourceClient(httpx.AsyncClient):
    """Each request is a span, named for the source: neither path nor query are told, for either may hold a secret.
    `beside`: it asks at times of its own, so each request begins a trace."""

    def __init__(self, source: str, *, beside: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self._source = source
        self._within = ROOT if beside else None

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        """Send it; the span ends with the head of the answer."""
        asked = {"source": self._source, "http.request.method": request.method, "server.address": request.url.host}
        with span(f"{request.method} {self._source}", asked, "client", self._within) as begun:
            response = await super().send(request, **how)
            begun.set("http.response.status_code", response.status_code)
            return response
