"""Each request has an id: in its answer, in an error's envelope, and in the log."""

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from copilot.errors import CopilotError
from copilot.web.page import render_error

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


problems_log = logging.getLogger(__name__)

CODES = {404: "not_found", 405: "method_not_allowed", 422: "bad_parameter", 501: "not_implemented"}


class ErrorDetail(BaseModel):
    """What went wrong: a code for programs, a sentence for people, the parameter it is about, if any, and the request's
    id, by which the problems_log is found."""

    code: str
    message: str
    field: str | None = None
    request_id: str | None = Field(default_factory=request_id_now)


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


class Problem(Exception):
    """Raised by a route; becomes the envelope."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        self.status = status
        self.detail = ErrorDetail(code=code, message=message, field=field)
        super().__init__(message)


def answer(status: int, detail: ErrorDetail) -> JSONResponse:
    """The envelope as a response."""
    return JSONResponse(ErrorBody(error=detail).model_dump(), status_code=status)


def install(app: FastAPI) -> None:
    """Make every error of `app` wear the envelope."""
    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        Problem: _problem,
        RequestValidationError: _invalid,
        HTTPException: _http,
        CopilotError: _refused,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(error.status, error.detail)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or None
    message = first["msg"].removeprefix("Value error, ")
    return answer(422, ErrorDetail(code="bad_parameter", message=message, field=field))


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = ErrorDetail(code=CODES.get(error.status_code, "http_error"), message=str(error.detail))
    response = answer(error.status_code, detail)
    response.headers.update(error.headers or {})
    return response


async def _refused(_: Request, error: Exception) -> Response:
    return answer(503, ErrorDetail(code="unavailable", message=str(error)))


class Unexpected:
    """ASGI middleware: what nobody expected to fail wears the envelope too, and the problems_log says what it was."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 500 if that fails."""
        begun = False

        async def told(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            problems_log.error(
                "%s %r failed (request %s)", scope["method"], scope["path"], REQUEST_ID.get(), exc_info=error
            )
            detail = ErrorDetail(
                code="internal_error", message="the Copilot failed to answer; its problems_log says why"
            )
            await answer(500, detail)(scope, receive, send)


TITLES = {
    404: "Not found",
    422: "This address cannot be used",
    500: "The Copilot failed to answer",
    503: "Not available now",
}
WHAT_TO_DO = {
    "unknown_cluster": "The start page shows the clusters there are.",
    "unknown_guide": "The findings and actions on the start page link to those there are.",
    "unknown_signal": "The start page shows the signals there are.",
    "not_found": "Nothing is served at this address. The start page leads to all there is.",
    "bad_parameter": "Mend the address, or begin at the start page.",
    "internal_error": "Load it again. If it fails again, look the request id up in the Copilot's log.",
}
OTHERWISE = "Load it again in a moment, or begin at the start page."


def prefers_html(accept: str) -> bool:
    """Whether an Accept header names HTML, and no JSON that is as welcome: browsers do, programs do not."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (p.strip().lower() for p in part.split(";"))
        said = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        weights[kind] = float(said) if said.replace(".", "", 1).isdecimal() else 0.0
    return weights.get("text/html", 0.0) > weights.get("application/json", 0.0)


class ReadableErrors:
    """ASGI middleware: the envelope of an error becomes a page with the same status and headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; put a page in the place of an error's envelope where a person asks."""
        readable = scope["type"] == "http" and prefers_html(Headers(scope=scope).get("accept", ""))
        if not readable or scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        begun: Message | None = None
        body = b""

        async def told(message: Message) -> None:
            nonlocal begun, body
            if message["type"] == "http.response.start" and _is_error(message):
                begun = message
            elif begun is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send_page(begun, body, send)

        await self._app(scope, receive, told)


def _is_error(message: Message) -> bool:
    return bool(message["status"] >= 400 and Headers(raw=message["headers"]).get("content-type") == "application/json")


async def _send_page(begun: Message, envelope: bytes, send: Send) -> None:
    error = ErrorBody.model_validate_json(envelope).error
    what_to_do = WHAT_TO_DO.get(error.code, OTHERWISE)
    status = begun["status"]
    title = TITLES.get(status) or HTTPStatus(status).phrase
    page = render_error(
        title, error.message, what_to_do, status=status, field=error.field, request_id=error.request_id
    ).encode()
    headers = MutableHeaders(raw=list(begun["headers"]))
    headers["content-type"] = "text/html; charset=utf-8"
    headers["content-length"] = str(len(page))
    await send({**begun, "headers": headers.raw})
    await send({"type": "http.response.body", "body": page})
