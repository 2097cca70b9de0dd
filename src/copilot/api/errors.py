"""Errors and request ids: one JSON envelope for every error, a readable page of it for browsers, and for each request
an id that is in the response, in the envelope and in the log."""

import logging
import re
import secrets
import time
from collections.abc import Mapping
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
"""The name of the token that was presented."""

CODES = {404: "not_found", 405: "method_not_allowed", 422: "bad_parameter", 501: "not_implemented"}
TITLES = {
    404: "Not found",
    422: "Invalid address",
    500: "The Copilot could not answer",
    503: "Temporarily unavailable",
}
WHAT_TO_DO = {
    "unknown_cluster": "The start page lists the clusters.",
    "unknown_runbook": "The findings and actions on the start page link to the runbooks.",
    "unknown_signal": "The start page lists the signals.",
    "not_found": "There is nothing at this address. Go to the start page.",
    "bad_parameter": "Check the address, or go to the start page.",
    "internal_error": "Reload the page. If it fails again, search the Copilot's log for the request id.",
}
OTHERWISE = "Reload the page in a moment, or go to the start page."
_VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")

log = logging.getLogger(__name__)
access_log = logging.getLogger("copilot.access")


def request_id() -> str | None:
    """The id of the current request; None outside of requests."""
    return REQUEST_ID.get()


def request_facts(_workflow_id: str | None) -> Mapping[str, str]:
    """The fields that identify the current request in a log record; empty outside of requests."""
    current = REQUEST_ID.get()
    return {} if current is None else {"request_id": current}


class ErrorDetail(BaseModel):
    """What went wrong: a code for programs, a sentence for people, the parameter it is about, if any, and the id of the
    request, which the log has too."""

    code: str
    message: str
    field: str | None = None
    request_id: str | None = Field(default_factory=request_id)


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class Problem(HTTPException):
    """Raised by a route; becomes the envelope."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code
        self.field = field


def error_response(status: int, code: str, message: str, field: str | None = None) -> JSONResponse:
    """The envelope as a response."""
    detail = ErrorDetail(code=code, message=message, field=field)
    return JSONResponse(ErrorBody(error=detail).model_dump(), status_code=status)


def install(app: FastAPI) -> None:
    """Make every error of `app` use the envelope."""
    for kind in (HTTPException, RequestValidationError, CopilotError):
        app.add_exception_handler(kind, _envelope)


async def _envelope(_: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or None
        return error_response(422, "bad_parameter", first["msg"].removeprefix("Value error, "), field)
    if not isinstance(error, HTTPException):
        return error_response(503, "unavailable", str(error))
    code = error.code if isinstance(error, Problem) else CODES.get(error.status_code, "http_error")
    response = error_response(error.status_code, code, error.detail, getattr(error, "field", None))
    response.headers.update(error.headers or {})
    return response


class RequestIds:
    """ASGI middleware: gives each request an id, the caller's X-Request-Id if it is valid. With `access_log` it logs
    each response, as key=value text and as fields of the record."""

    def __init__(self, app: ASGIApp, *, access_log: bool = False) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        this_id = given if _VALID_ID.fullmatch(given) else secrets.token_hex(8)
        REQUEST_ID.set(this_id)
        CALLER.set(None)
        start, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = this_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            if self._access_log:
                _log_access(scope, status, time.perf_counter() - start)


def _log_access(scope: Scope, status: int, took_sec: float) -> None:
    client, raw = scope.get("client"), scope.get("raw_path")
    fields = {
        "method": scope["method"],
        "path": raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"]),
        "status": status,
        "ms": round(1000 * took_sec, 1),
        "client": client[0] if client else "-",
        "caller": CALLER.get() or "-",
        "request_id": request_id(),
    }
    text = " ".join(f"{key}={value}" for key, value in fields.items())
    access_log.info(text, extra={"event": "http.response", **fields})


class UnexpectedErrors:
    """ASGI middleware: an unexpected exception becomes a 500 envelope, and its traceback goes to the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 500 if that fails before anything was sent."""
        started = False

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting_start)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            log.error("%s %r failed", scope["method"], scope["path"], exc_info=error,
                      extra={"event": "http.failed", "request_id": request_id()})  # fmt: skip
            message = "the Copilot could not answer; see its log"
            await error_response(500, "internal_error", message)(scope, receive, send)


def prefers_html(accept: str) -> bool:
    """Whether an Accept header prefers HTML to JSON: browsers do, programs do not."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (p.strip().lower() for p in part.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        weights[kind] = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0
    return weights.get("text/html", 0.0) > weights.get("application/json", 0.0)


class ReadableErrors:
    """ASGI middleware: for a browser, the envelope of an error becomes a page with the same status and headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; replace an error's envelope by a page for a browser."""
        readable = scope["type"] == "http" and prefers_html(Headers(scope=scope).get("accept", ""))
        if not readable or scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def send_readable(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_envelope(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send_page(start, body, send)

        await self._app(scope, receive, send_readable)


def _is_envelope(start: Message) -> bool:
    return bool(start["status"] >= 400 and Headers(raw=start["headers"]).get("content-type") == "application/json")


async def _send_page(start: Message, envelope: bytes, send: Send) -> None:
    error, status = ErrorBody.model_validate_json(envelope).error, start["status"]
    title, what_to_do = TITLES.get(status) or HTTPStatus(status).phrase, WHAT_TO_DO.get(error.code, OTHERWISE)
    page = render_error(title, error.message, what_to_do, status=status, field=error.field, request_id=error.request_id)
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["content-type"] = "text/html; charset=utf-8"
    headers["content-length"] = str(len(page.encode()))
    await send({**start, "headers": headers.raw})
    await send({"type": "http.response.body", "body": page.encode()})
