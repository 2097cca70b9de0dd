"""One envelope for every error: {"error": {"code", "message", "field"}}."""

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from copilot.core.errors import CopilotError

log = logging.getLogger(__name__)

CODES = {404: "not_found", 405: "method_not_allowed", 422: "bad_parameter", 501: "not_implemented"}


class ErrorDetail(BaseModel):
    """What went wrong: a code for programs, a sentence for people, and the parameter it is about, if any."""

    code: str
    message: str
    field: str | None = None


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
        Exception: _unexpected,
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


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(500, ErrorDetail(code="internal_error", message="the Copilot failed to answer; its log says why"))
