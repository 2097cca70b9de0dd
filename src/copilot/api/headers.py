"""Security headers for every response (the page runs and loads nothing from other origins), and HEAD."""

from collections.abc import Mapping, Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors "
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


def security_headers(frame_ancestors: Sequence[str] = ()) -> dict[str, str]:
    """The headers. `frame_ancestors` are the origins that may embed the page; none by default."""
    headers = HEADERS | {"content-security-policy": CONTENT_POLICY + (" ".join(frame_ancestors) or "'none'")}
    if not frame_ancestors:
        headers["x-frame-options"] = "DENY"
    return headers


class SecurityHeaders:
    """ASGI middleware: adds `headers`, and `cache-control: no-store` unless the response has its own."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)


class HeadAsGet:
    """ASGI middleware: answers HEAD with the headers of GET, except on `endless` paths."""

    def __init__(self, app: ASGIApp, endless: frozenset[str]) -> None:
        self._app = app
        self._endless = endless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as GET, and drop the body."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"] in self._endless:
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({"type": "http.response.body", "body": b""})

        await self._app({**scope, "method": "GET"}, receive, bodiless)
