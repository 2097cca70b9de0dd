"""Conditional GET: entity tags and 304, and bodies that are written once per verdict.

Tags are weak: they identify content, not bytes. Fields that change with the clock (`age_sec`, the bounds of a range)
are volatile: they are left out of the tag, and added to the body when it is sent.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from copilot.web.verdicts import VerdictView

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Unchanged since the If-None-Match tag"}}
_TAG = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object without its volatile fields, its tag, and the volatile fields."""

    content: bytes
    tag: str
    volatile: Mapping[str, object]


def body(content: BaseModel | bytes, tag_of: bytes | None = None, **volatile: object) -> Body:
    """The body of a model, or of JSON bytes; `volatile` fields are not in the content. `tag_of`: what the tag
    identifies, the content by default."""
    if isinstance(content, BaseModel):
        content = content.model_dump_json(exclude=set(volatile)).encode()
    digest = blake2b(content if tag_of is None else tag_of, digest_size=12).hexdigest()
    return Body(content, f'W/"{digest}"', volatile)


def respond(request: Request, answer: Body | BaseModel, **volatile: object) -> Response:
    """304 when the request's If-None-Match names the tag, else the body. `volatile` overrides the body's own."""
    if isinstance(answer, BaseModel):
        answer = body(answer)
    headers = {"etag": answer.tag, "cache-control": "private, no-cache"}
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or answer.tag.removeprefix("W/") in _TAG.findall(known):
        return Response(status_code=304, headers=headers)
    content = answer.content
    if fields := {**answer.volatile, **volatile}:
        content = to_json(fields)[:-1] + b"," + content[1:]
    return Response(content, media_type="application/json", headers=headers)


class BodyCache:
    """The last body written for each key. `elapsed` is a monotonic clock in seconds."""

    def __init__(self, elapsed: Callable[[], float], max_age_sec: float = float("inf")) -> None:
        self._elapsed = elapsed
        self._max_age_sec = max_age_sec
        self._entries: dict[object, tuple[VerdictView, float, Body]] = {}

    def find(self, key: object, view: VerdictView) -> Body | None:
        """The body, if the verdict is the same and it is not older than the maximum; else None."""
        written_for, at, kept = self._entries.get(key, (None, 0.0, None))
        fresh = written_for is not None and written_for.same_as(view) and self._elapsed() - at <= self._max_age_sec
        return kept if fresh else None

    def keep(self, key: object, view: VerdictView, new: Body) -> Body:
        """Replace the key's body, and return the new one."""
        self._entries[key] = (view, self._elapsed(), new)
        return new
