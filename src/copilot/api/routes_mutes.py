"""/silences and /acks: what is muted and what it held back, and to acknowledge, silence and plan maintenance."""

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse
from whenever import Instant

from copilot.api.bodies import checked, read_form, read_json
from copilot.api.caching import NOT_MODIFIED, body, respond
from copilot.api.caller import allowed
from copilot.api.deps import Deps
from copilot.api.errors import CALLER, ErrorBody, Problem
from copilot.api.history import from_store
from copilot.api.live import VerdictCache
from copilot.api.parameters import TimeParameter, chosen_cluster, known
from copilot.explain.mutes import ended_words
from copilot.redaction.redactor import redacted, redacted_name
from copilot.rules.model import ReportedState
from copilot.rules.mutes import (
    MAX_DAYS,
    MAX_TEXT,
    Kind,
    Matcher,
    Mute,
    MuteEvent,
    MuteLife,
    Name,
    Seen,
    is_finding,
)
from copilot.store.incidents import incidents
from copilot.web.page import PageQuery
from copilot.web.verdicts import VerdictView, seen_in

PAST_DAYS = 90
MOST_ACTIVE = 100
ACK_HOURS = 4
WEEKLY_DAYS = 84
ANYONE = "someone on this machine"
"""Who acts where the API asks for no token."""
FORM_HOURS = {"1h": 1, "4h": 4, "24h": 24, "7d": 7 * 24}

Moment = Annotated[TimeParameter | None, BeforeValidator(lambda value: value if value is None else str(value))]
Reason = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class NewMute(BaseModel):
    """A mute to make. `start`: now by default; `cluster` is optional where there is only one. A silence ends early when
    it gets worse or is resolved, unless it is kept. Only maintenance can be `weekly`: until `until`, 12 weeks by
    default, at the same time of day in `zone`."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["silence", "maintenance"] = "silence"
    cluster: str | None = None
    finding: Name = ""
    namespace: Name = ""
    task_queue: Name = ""
    start: Moment = None
    end: Moment = None
    reason: Reason
    owner: Name = ""
    keep_when_worse: bool = False
    keep_when_resolved: bool = False
    weekly: bool = False
    until: Moment = None
    zone: str = "UTC"


class NewAck(BaseModel):
    """An acknowledgement of what is wrong with a cluster now: of `incident`, or of the open one. It ends at `end`, in
    four hours by default, and earlier when it gets worse or is resolved."""

    model_config = ConfigDict(extra="forbid")

    incident: str = ""
    cluster: str | None = None
    end: Moment = None
    reason: Reason = "acknowledged"
    owner: Name = ""


class HeldLine(BaseModel):
    """A notification that was not sent."""

    at: Instant
    channel: str
    kind: str
    health_state: ReportedState


class Act(BaseModel):
    """What happened to a mute; by whom (`who`) and from where (`origin`), where it was a person."""

    at: Instant
    kind: str
    who: str
    origin: str
    why: str


class MuteLine(Mute):
    """A mute with its life. `state`: pending (before its start, or between two weekly windows), active or over;
    `ended_at` and `ended_because` once it is over; `matches_now`: whether anything is wrong that it is about;
    `held_back`: what it has swallowed; `acts`: who did what, and what happened, oldest first."""

    state: Literal["pending", "active", "over"]
    ended_at: Instant | None
    ended_because: str
    matches_now: bool
    note: str = ""
    held_back: list[HeldLine]
    acts: list[Act]


class Silences(BaseModel):
    """The mutes of a cluster, the newest first. `alertmanager`: links to Alertmanager's own silences of the cluster's
    alert, as of its last push."""

    cluster: str
    silences: list[MuteLine]
    alertmanager: list[str] = []
    degraded: bool
    degraded_because: str | None


def taking(model: type[BaseModel]) -> dict[str, Any]:
    """The part of the OpenAPI description of a route that reads such a body."""
    schema = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": schema}}


REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorBody, "description": "There is nothing to acknowledge, or there are too many mutes"},
    413: {"model": ErrorBody, "description": "The body is too long"},
    415: {"model": ErrorBody, "description": "The body is not application/json"},
}
MADE: dict[int | str, dict[str, Any]] = {201: {"model": MuteLine, "description": "Stored"}, **REFUSED}


def routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """The routes over one cache."""
    router = APIRouter(tags=["mutes"])
    muting = Muting(deps, cache)

    @router.get("/silences", response_model=Silences, responses=NOT_MODIFIED)
    async def listed(
        request: Request,
        cluster: Annotated[str, Depends(chosen_cluster(deps.clusters))],
        all: Annotated[bool, Query(description="Those that are over too, of the last 90 days")] = False,
    ) -> Response:
        """What is muted now or will be, and what each mute has held back, the newest first."""
        view = cache.view(cluster)
        since = deps.now().subtract(hours=24 * PAST_DAYS) if all else deps.now()
        found, problem = await from_store(view, partial(deps.store.mutes, cluster, since), list[MuteLife]())
        shown = [line(life, view) for life in found if all or not life.is_over(deps.now())]
        answer = Silences(cluster=cluster, silences=shown, alertmanager=list(view.silenced_at),
                          degraded=bool(problem), degraded_because=problem)  # fmt: skip
        return respond(request, body(answer))

    @router.post("/silences", response_model=MuteLine, responses=MADE, openapi_extra=taking(NewMute))
    async def silence(request: Request) -> Response:
        """Silence, or plan maintenance. One that matches nothing now is accepted, and the answer says so."""
        made = await muting.silence(await read_json(request, NewMute), origin_of(request))
        return JSONResponse(made.model_dump(mode="json"), status_code=201)

    @router.post("/acks", response_model=MuteLine, responses=MADE, openapi_extra=taking(NewAck))
    async def ack(request: Request) -> Response:
        """Acknowledge what is wrong now: no notifications until it gets worse."""
        made = await muting.ack(await read_json(request, NewAck), origin_of(request))
        return JSONResponse(made.model_dump(mode="json"), status_code=201)

    @router.post("/silences/{mute_id}/end", response_model=MuteLine, responses=REFUSED)
    async def end(request: Request, mute_id: str) -> MuteLine:
        """End a mute now. What is firing is notified. One that is over stays as it is."""
        return await muting.end(mute_id, origin_of(request))

    @router.post("/mute", include_in_schema=False)
    async def form(request: Request) -> Response:
        """The page's form: acknowledge or silence for some hours, or end a mute."""
        given = await read_form(request)
        if given.get("end"):
            made = await muting.end(given["end"], origin_of(request))
        else:
            hours = FORM_HOURS.get(given.get("for", ""))
            if hours is None:
                raise Problem(422, "bad_body", f"for is one of {', '.join(FORM_HOURS)}", "for")
            asked: dict[str, object] = {
                name: given[name] for name in ("cluster", "finding", "reason", "owner") if name in given
            }
            asked["end"] = deps.now().add(hours=hours).format_iso()
            if given.get("what") == "ack":
                asked.pop("finding", None)
                made = await muting.ack(checked(NewAck, asked), origin_of(request))
            else:
                made = await muting.silence(checked(NewMute, asked), origin_of(request))
        return RedirectResponse(PageQuery(made.matcher.cluster).href() + "#muted", status_code=303)

    @router.api_route("/silences", methods=["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"], include_in_schema=False)
    async def others() -> None:
        """A route of its own, because each of the two above knows only its own method."""
        raise Problem(405, "method_not_allowed", "Method Not Allowed", headers={"allow": "GET, POST"})

    return router


class Muting:
    """What people do to mutes. Every method returns the mute after it; Problem for what cannot be done."""

    def __init__(self, deps: Deps, cache: VerdictCache) -> None:
        self._deps = deps
        self._cache = cache

    async def silence(self, given: NewMute, origin: str) -> MuteLine:
        """Make a silence or plan maintenance."""
        now, planned = self._deps.now(), given.kind == "maintenance"
        if given.end is None:
            raise Problem(422, "bad_body", f"say when it ends (`end`), at most {MAX_DAYS} days from its start", "end")
        if given.end <= now:
            raise Problem(422, "bad_body", f"{given.end.format_iso()} is in the past: nothing would be muted", "end")
        if (given.weekly or given.until) and not (planned and given.weekly):
            raise Problem(422, "bad_body", "only weekly maintenance has `weekly` and `until`", "weekly")
        if given.finding and not is_finding(given.finding):
            raise Problem(
                422, "bad_body", f"there is no finding {given.finding[:60]!r}: /runbooks lists them", "finding"
            )
        start = given.start or now
        last = given.until or (start.add(hours=24 * WEEKLY_DAYS) if given.weekly else given.end)
        names = {name: redacted_name(getattr(given, name)) for name in ("finding", "namespace", "task_queue")}
        matcher = Matcher(cluster=self._cluster(given.cluster), **names)
        more = {"weekly": given.weekly, "zone": given.zone, "start": start, "end": given.end, "until": last}
        more["breaks_when_worse"] = not (planned or given.keep_when_worse)
        more["ends_when_resolved"] = not (planned or given.keep_when_resolved)
        return await self._made(given.kind, matcher, given.owner, given.reason, origin, **more)

    async def ack(self, given: NewAck, origin: str) -> MuteLine:
        """Acknowledge the open incident."""
        named = given.incident.rpartition(":")[0] or None
        cluster, now = self._cluster(given.cluster or named), self._deps.now()
        view = self._cache.view(cluster)
        if view.state is ReportedState.HAPPY:
            raise Problem(409, "nothing_to_acknowledge", f"{cluster} is happy: there is nothing to acknowledge")
        if given.incident and given.incident != (open_id := await self._open_incident(view)):
            over = (
                f"{given.incident[:60]!r} is not the open incident of {cluster}: that is {open_id or 'not stored yet'}"
            )
            raise Problem(409, "not_open", over, "incident")
        end = given.end or now.add(hours=ACK_HOURS)
        if end <= now:
            raise Problem(422, "bad_body", f"{end.format_iso()} is in the past: nothing would be muted", "end")
        more = {"start": now, "end": end, "until": end}
        return await self._made("ack", Matcher(cluster=cluster), given.owner, given.reason, origin, **more)

    async def end(self, mute_id: str, origin: str) -> MuteLine:
        """End a mute now; one that is over stays as it is."""
        now = self._deps.now()
        for cluster in allowed(self._deps.clusters):
            for life in await self._deps.store.mutes(cluster, now.subtract(hours=24 * PAST_DAYS)):
                if life.mute.id == mute_id:
                    event = MuteEvent(mute_id=mute_id, kind="ended", at=now, who=acting(), origin=origin)
                    return await self._stored(life.mute, [] if life.is_over(now) else [event])
        raise Problem(404, "unknown_mute", f"there is no mute {mute_id[:60]!r}: /silences lists them", "mute_id")

    def _cluster(self, given: str | None) -> str:
        own = allowed(self._deps.clusters)
        if given is None and len(own) != 1:
            raise Problem(422, "bad_body", f"cluster is required: {', '.join(own)}", "cluster")
        return known(given or own[0], self._deps.clusters)

    async def _open_incident(self, view: VerdictView) -> str | None:
        points = await self._deps.store.timeline(view.cluster, view.now.subtract(hours=24 * MAX_DAYS), view.now, 2_000)
        newest = next(iter(incidents(view.cluster, points)), None)
        return newest.id if newest and newest.ended is None else None

    async def _made(self, kind: Kind, matcher: Matcher, owner: str, reason: str, origin: str, **more: Any) -> MuteLine:
        now, view = self._deps.now(), self._cache.view(matcher.cluster)
        known_lives = await self._deps.store.mutes(matcher.cluster, now)
        if sum(not life.is_over(now) for life in known_lives) >= MOST_ACTIVE:
            raise Problem(409, "too_many", f"{matcher.cluster} has {MOST_ACTIVE} mutes: end some first")
        said = " ".join(redacted(reason).split())[:MAX_TEXT]
        if not said:
            raise Problem(422, "bad_body", "give a reason: those who are not notified will ask for it", "reason")
        try:
            mute = Mute(
                id=f"{kind}-{secrets.token_hex(4)}", kind=kind, matcher=matcher, reason=said, created_at=now,
                owner=redacted_name(owner.strip() or acting()), created_from=origin, **more,
            )  # fmt: skip
        except ValidationError as error:
            raise Problem(422, "bad_body", error.errors()[0]["msg"].removeprefix("Value error, ")) from error
        events = [MuteEvent(mute_id=mute.id, kind="created", at=now, who=acting(), origin=origin, mute=mute)]
        baseline = seen_in(view)
        if baseline is not None and mute.start <= now and matcher.any_of(baseline):
            events.append(MuteEvent(mute_id=mute.id, kind="matched", at=now, baseline=baseline))
        return await self._stored(mute, events)

    async def _stored(self, mute: Mute, events: Sequence[MuteEvent]) -> MuteLine:
        cluster = mute.matcher.cluster
        if events:
            await self._deps.store.save_mute_events(mute, events)
        await self._cache.refresh_mutes(cluster)
        life = next(life for life in await self._deps.store.mutes(cluster, mute.until) if life.mute.id == mute.id)
        return line(life, self._cache.view(cluster))


def line(life: MuteLife, view: VerdictView) -> MuteLine:
    """A mute as it is listed."""
    now = view.now
    seen: Seen | None = seen_in(view)
    matches = seen is not None and life.mute.matcher.any_of(seen)
    over = life.is_over(now)
    events = [life.created, *life.held, *filter(None, (life.over,))]
    return MuteLine(
        **dict(life.mute),
        state="over" if over else "active" if life.active(now) else "pending",
        ended_at=life.over_at if over else None,
        ended_because=ended_words(life, now),
        matches_now=matches,
        note="" if matches or over else "It matches nothing that is wrong now: it begins to hold back when it does.",
        held_back=[
            HeldLine(at=e.at, channel=e.held.channel, kind=e.held.notification, health_state=e.held.state)
            for e in life.held
            if e.held
        ],
        acts=[Act(at=e.at, kind=e.kind, who=e.who, origin=e.origin, why=e.why) for e in events if e.kind != "held"],
    )


def acting() -> str:
    """The name of who acts."""
    return CALLER.get() or ANYONE


def origin_of(request: Request) -> str:
    """Where a request comes from: the address, and what the program calls itself."""
    host = request.client.host if request.client else "unknown"
    return redacted_name(f"{host}, {request.headers.get('user-agent', 'unknown')}")[:120]
