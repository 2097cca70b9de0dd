"""Each request has an id: in its answer, in an error's envelope, and in the log."""

import logging
import re
import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
CALLER: ContextVar[str | None] = ContextVar("caller", default=None)
"""Whose token was shown."""

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")

log = logging.getLogger("copilot.access")


def request_id_now() -> str | None:
    """The id of the request that is being answered; None where there is none."""
    return REQUEST_ID.get()


def request_facts(_workflow_id: str | None) -> Mapping[str, str]:
    """What a line of the API's log says of the request it was written for."""
    request_id = REQUEST_ID.get()
    return {} if request_id is None else {"request_id": request_id}


class RequestIds:
    """ASGI middleware: takes the caller's X-Request-Id where it is sane, else makes one. With `access_log` it logs each
    answer, as one line of key=value and as fields of the record."""

    def __init__(self, app: ASGIApp, *, access_log: bool = False) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _SANE.fullmatch(given) else secrets.token_hex(8)
        REQUEST_ID.set(request_id)
        CALLER.set(None)
        began, status = time.perf_counter(), 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, named)
        finally:
            if self._access_log:
                _log(scope, status, time.perf_counter() - began, request_id)


def _log(scope: Scope, status: int, took_sec: float, request_id: str) -> None:
    client = scope.get("client")
    raw = scope.get("raw_path")
    fields = {
        "method": scope["method"],
        "path": raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"]),
        "status": status,
        "ms": round(1000 * took_sec, 1),
        "client": client[0] if client else "-",
        "caller": CALLER.get() or "-",
        "request_id": request_id,
    }
    log.info(" ".join(f"{key}={value}" for key, value in fields.items()), extra=fields)
