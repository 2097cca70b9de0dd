"""One envelope for every error: {"error": {"code", "message", "field", "request_id"}}."""

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from copilot.api.request_ids import REQUEST_ID, request_id_now
from copilot.core.errors import CopilotError

log = logging.getLogger(__name__)

CODES = {404: "not_found", 405: "method_not_allowed", 422: "bad_parameter", 501: "not_implemented"}


class ErrorDetail(BaseModel):
    """What went wrong: a code for programs, a sentence for people, the parameter it is about, if any, and the request's
    id, by which the log is found."""

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
    """ASGI middleware: what nobody expected to fail wears the envelope too, and the log says what it was."""

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
            log.error("%s %r failed (request %s)", scope["method"], scope["path"], REQUEST_ID.get(), exc_info=error)
            detail = ErrorDetail(code="internal_error", message="the Copilot failed to answer; its log says why")
            await answer(500, detail)(scope, receive, send)
