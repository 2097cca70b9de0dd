"""/changes: what changed in a watched cluster, as it was reported (POST) and observed."""

from collections import deque
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json
from starlette.responses import JSONResponse
from whenever import Instant

from copilot.api.bodies import JSON, MAX_BODY_BYTES, read_body
from copilot.api.caching import NOT_MODIFIED, body, respond
from copilot.api.caller import allowed
from copilot.api.deps import Deps
from copilot.api.errors import CALLER, ErrorBody, Problem
from copilot.api.history import from_store
from copilot.api.live import VerdictCache
from copilot.api.parameters import EndQuery, StartQuery, TimeParameter, chosen_cluster, known, time_range
from copilot.api.schemas import ChangeLine, change_line
from copilot.rules.signals.change import MAX_LINK, MAX_TEXT, TOUCHED, Change, Kind, Name
from copilot.settings.sources import valid_http_url

AHEAD_SEC = 60.0
OLDEST_DAYS = 90
A_MINUTE = 120
"""Reports accepted in a minute: a pipeline that runs wild does not fill the store."""
DEFAULT_HOURS = 24
MOST_LISTED = 500


def _as_text(value: Any) -> Any:
    """Epoch seconds may be a number."""
    return value if value is None else str(value)


class ReportedChange(BaseModel):
    """A change to report. `at`: when it was made, now by default. `cluster` is optional where there is only one. Name
    what it touches: the nearer to a problem, the higher it is shown."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    kind: Kind = "deploy"
    at: Annotated[TimeParameter | None, BeforeValidator(_as_text)] = None
    cluster: str | None = None
    who: Name = ""
    link: Annotated[str, Field(max_length=MAX_LINK)] = ""
    namespace: Name = ""
    task_queue: Name = ""
    deployment: Name = ""
    build: Name = ""
    service: Name = ""
    instance: Name = ""

    @field_validator("text")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("say what changed in one line")
        return " ".join(text.split())

    @field_validator("link")
    @classmethod
    def _web_page(cls, link: str) -> str:
        if link and not (valid_http_url(link) and link.isprintable()):
            raise ValueError("not an http:// or https:// URL")
        return link


class Changes(BaseModel):
    """The changes of a range, the newest first. `truncated`: there are older ones in it."""

    cluster: str
    start: Instant
    end: Instant
    changes: list[ChangeLine]
    truncated: bool
    degraded: bool
    degraded_because: str | None


BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": ReportedChange.model_json_schema()}}}
}
REFUSED: dict[int | str, dict[str, Any]] = {
    201: {"model": ChangeLine, "description": "Stored"},
    413: {"model": ErrorBody, "description": f"The body has more than {MAX_BODY_BYTES} bytes"},
    415: {"model": ErrorBody, "description": "The body is not application/json"},
    429: {"model": ErrorBody, "description": f"More than {A_MINUTE} changes in a minute"},
}


def routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """The routes over one cache."""
    router = APIRouter(tags=["changes"])
    reported: deque[float] = deque(maxlen=A_MINUTE)

    @router.post("/changes", response_model=ChangeLine, responses=REFUSED, openapi_extra=BODY)
    async def report(request: Request) -> Response:
        """Report a change. 201: it is stored; 200: it was stored already (the same text, time and names)."""
        change = _checked(await read_body(request, JSON), deps, caller=CALLER.get() or "")
        if len(reported) == A_MINUTE and deps.elapsed() - reported[0] < 60:
            message = f"{A_MINUTE} changes were reported within a minute: wait, or report fewer"
            raise Problem(429, "too_many_changes", message, headers={"retry-after": "60"})
        reported.append(deps.elapsed())
        new = await deps.store.save_changes([change])
        return JSONResponse(change_line(change).model_dump(mode="json"), status_code=201 if new else 200)

    @router.get("/changes", response_model=Changes, responses=NOT_MODIFIED)
    async def changes(
        request: Request,
        cluster: Annotated[str, Depends(chosen_cluster(deps.clusters))],
        start: StartQuery = None,
        end: EndQuery = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    ) -> Response:
        """The changes of a range (by default the last 24 hours), reported and observed, the newest first."""
        view = cache.view(cluster)
        first, last = time_range(start, end, view.now, default_hours=DEFAULT_HOURS)
        read = partial(deps.store.changes, cluster, first, last, limit + 1)
        found, problem = await from_store(view, read, list[Change]())
        answer = Changes(
            cluster=cluster,
            start=first,
            end=last,
            changes=[change_line(c) for c in found[:limit]],
            truncated=len(found) > limit,
            degraded=problem is not None,
            degraded_because=problem,
        )
        return respond(request, body(answer, start=first.format_iso(), end=last.format_iso()))

    @router.api_route("/changes", methods=["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"], include_in_schema=False)
    async def others() -> None:
        """A route of its own, because each of the two above knows only its own method."""
        raise Problem(405, "method_not_allowed", "Method Not Allowed", headers={"allow": "GET, POST"})

    return router


def _checked(given: bytes, deps: Deps, caller: str) -> Change:
    """The change without secrets. Problem: it is not valid, of another cluster, in the future, or too old."""
    try:
        said = ReportedChange.model_validate(from_json(given))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        raise Problem(422, "bad_change", first["msg"].removeprefix("Value error, "), field) from error
    except ValueError as error:
        raise Problem(422, "bad_change", f"the body is not valid JSON: {error}") from error
    own = allowed(deps.clusters)
    if said.cluster is None and len(own) != 1:
        raise Problem(422, "bad_change", f"cluster is required: {', '.join(own)}", "cluster")
    cluster, now = known(said.cluster or own[0], deps.clusters), deps.now()
    at = said.at or now
    if (at - now).total("seconds") > AHEAD_SEC:
        raise Problem(422, "bad_change", f"{at.format_iso()} is in the future: report a change when it is made", "at")
    if at < now.subtract(hours=24 * OLDEST_DAYS):
        raise Problem(422, "bad_change", f"{at.format_iso()} is more than {OLDEST_DAYS} days ago", "at")
    given_names = {name: getattr(said, name) for name in TOUCHED}
    change = Change(cluster=cluster, at=at, kind=said.kind, text=said.text, who=said.who or caller, link=said.link,
                    **given_names)  # fmt: skip
    return change.cleaned()
