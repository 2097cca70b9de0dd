"""Answers that a reader may keep and ask about: ETag and 304, and gzip for who takes it.

Tags are weak: they stand for what is said, not for its bytes. What counts on by itself (`age_sec`) and the bounds of a
range that follows the clock are left out of them, and one tag serves all encodings.
"""

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response
from whenever import Instant

WORTH_PACKING = 4_096
PACKING = 4
"""Level: of JSON, higher ones save little and take long."""

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_TAKES_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?!;\s*q=0(?:\.0*)?\s*(?:,|$))(?:;|,|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Told:
    """A body without what counts on, and its tag."""

    body: bytes
    tag: str


def told(model: BaseModel, counting: frozenset[str] = frozenset()) -> Told:
    """The model in JSON without its fields `counting`."""
    body = model.model_dump_json(exclude=set(counting)).encode()
    return Told(body, tagged(body))


def tagged(body: bytes) -> str:
    """The tag of a body."""
    return f'W/"{blake2b(body, digest_size=12).hexdigest()}"'


def reply(request: Request, said: Told, counting: Mapping[str, bytes] | None = None) -> Response:
    """The answer: 304 to who has it, else the body with the fields `counting` (name → JSON) put in."""
    headers = {"etag": said.tag, "cache-control": "private, no-cache", "vary": "accept-encoding"}
    if _has(request.headers.get("if-none-match", ""), said.tag):
        return Response(status_code=304, headers=headers)
    body = said.body
    if counting:
        fields = b",".join(b'"%s":%s' % (name.encode(), value) for name, value in counting.items())
        body = b"{" + fields + b"," + body[1:]
    if len(body) >= WORTH_PACKING and _TAKES_GZIP.search(request.headers.get("accept-encoding", "")):
        body = gzip.compress(body, PACKING, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)


def of(request: Request, model: BaseModel) -> Response:
    """The answer of a model in which nothing counts on."""
    return reply(request, told(model))


def ranged(request: Request, said: Told, start: Instant, end: Instant) -> Response:
    """The answer about a range."""
    return reply(request, said, {"start": to_json(start.format_iso()), "end": to_json(end.format_iso())})


BOUNDS = frozenset({"start", "end"})
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is what If-None-Match names"}}


def _has(if_none_match: str, tag: str) -> bool:
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in _TAG.findall(if_none_match)
