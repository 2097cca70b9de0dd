"""The HTTP client of our sources."""

from typing import Any

import httpx

from copilot.telemetry.spans import ROOT, span


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
