"""Errors: one JSON envelope for every error, a readable page of it for browsers. Both have the id of the request, which
is in the response's headers and in the log too."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from copilot.errors import CopilotError
from copilot.web.page import render

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request; None outside of requests."""
CALLER: ContextVar[str | None] = ContextVar("caller", default=None)
"""The name of the token that was presented."""

CODES = {404: "not_found", 405: "method_not_allowed", 422: "bad_parameter", 501: "not_implemented"}
TITLES = {404: "Not found", 422: "Invalid address", 500: "The Copilot could not answer", 503: "Temporarily unavailable"}
WHAT_TO_DO = {
    "unknown_cluster": "The start page lists the clusters.",
    "unknown_runbook": "The findings and actions on the start page link to the runbooks.",
    "unknown_signal": "The start page lists the signals.",
    "not_found": "There is nothing at this address. Go to the start page.",
    "bad_parameter": "Check the address, or go to the start page.",
    "internal_error": "Reload the page. If it fails again, search the Copilot's log for the request id.",
}
OTHERWISE = "Reload the page in a moment, or go to the start page."

log = logging.getLogger(__name__)


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
    request_id: str | None = Field(default_factory=REQUEST_ID.get)  # type: ignore[arg-type]


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


def error_response(scope: Scope, status: int, code: str, message: str, field: str | None = None) -> Response:
    """The envelope as a response; for a browser a page with the same status."""
    error = ErrorDetail(code=code, message=message, field=field)
    if not prefers_html(Headers(scope=scope).get("accept", "")):
        return JSONResponse(ErrorBody(error=error).model_dump(), status_code=status)
    title, what_to_do = TITLES.get(status) or HTTPStatus(status).phrase, WHAT_TO_DO.get(code, OTHERWISE)
    page = render("error.html", error=error, status=status, title=title, what_to_do=what_to_do)
    return HTMLResponse(page, status_code=status)


async def _answer(request: Request, error: Exception) -> Response:
    headers: Mapping[str, str] | None = None
    match error:
        case RequestValidationError():
            first = error.errors()[0]
            status, code, message = 422, "bad_parameter", first["msg"].removeprefix("Value error, ")
            field = ".".join(str(part) for part in first["loc"][1:]) or None
        case HTTPException():
            status, message, headers = error.status_code, error.detail, error.headers
            code, field = getattr(error, "code", CODES.get(status, "http_error")), getattr(error, "field", None)
        case _:
            status, code, message, field = 503, "unavailable", str(error), None
    response = error_response(request.scope, status, code, message, field)
    response.headers.update(headers or {})
    return response


HANDLERS: dict[Any, Any] = dict.fromkeys((HTTPException, RequestValidationError, CopilotError), _answer)
"""The app's handlers of the errors that it expects."""


def unexpected_errors(app: ASGIApp) -> ASGIApp:
    """ASGI middleware: an unexpected exception becomes a 500, and its traceback goes to the log. (Starlette's handler
    of all exceptions runs outside of all middleware, where its response would get no headers.)"""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, noting_start)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            log.error("%s %r failed", scope["method"], scope["path"], exc_info=error,
                      extra={"event": "http.failed", "request_id": REQUEST_ID.get()})  # fmt: skip
            message = "the Copilot could not answer; see its log"
            await error_response(scope, 500, "internal_error", message)(scope, receive, send)

    return serve


def prefers_html(accept: str) -> bool:
    """Whether an Accept header prefers HTML to JSON: browsers do, programs do not."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (p.strip().lower() for p in part.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        weights[kind] = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0
    return weights.get("text/html", 0.0) > weights.get("application/json", 0.0)
