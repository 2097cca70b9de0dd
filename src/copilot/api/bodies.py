"""The bodies of requests that act: small JSON objects of programs, and forms of our own page."""

from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from copilot.api.errors import Problem

MAX_BODY_BYTES = 8_192
JSON = "application/json"
M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request, content_type: str) -> bytes:
    """The body. Problem: it is of another type (so no page of another origin can send JSON unasked), or too long."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != content_type:
        code = "not_json" if content_type == JSON else "not_a_form"
        raise Problem(415, code, f"send it as content-type: {content_type}")
    given = b""
    async for part in request.stream():
        given += part
        if len(given) > MAX_BODY_BYTES:
            raise Problem(413, "too_long", f"the body has more than {MAX_BODY_BYTES} bytes")
    return given


async def read_json(request: Request, model: type[M]) -> M:
    """The JSON body as the model; an empty one is an empty object. Problem: it is none, with the field it is about."""
    given = await read_body(request, JSON)
    try:
        return checked(model, from_json(given or b"{}"))
    except ValueError as error:
        raise Problem(422, "bad_body", f"the body is not valid JSON: {error}") from error


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, the empty ones left out. Problem: it is none."""
    given = await read_body(request, "application/x-www-form-urlencoded")
    return {name: value.strip() for name, value in parse_qsl(given.decode("utf-8", "replace")) if value.strip()}


def checked(model: type[M], given: object) -> M:
    """What was given as the model. Problem 422: it does not fit; one line, with the field."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        message = "is required" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        said = f"{field} {message}" if first["type"] == "missing" else message
        raise Problem(422, "bad_body", said, field) from error
