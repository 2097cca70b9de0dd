"""/incidents: what went wrong, from leaving happy to happy again, with its evidence and as text for a post-mortem."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse
from whenever import Instant

from copilot.api import schemas
from copilot.api.bodies import checked, read_form, read_json
from copilot.api.caching import NOT_MODIFIED, respond
from copilot.api.caller import may_act
from copilot.api.deps import Deps
from copilot.api.errors import Problem, prefers_html
from copilot.api.history import from_store, view_at
from copilot.api.live import VerdictCache
from copilot.api.parameters import EndQuery, StartQuery, chosen_cluster, known, time_range
from copilot.api.routes_mutes import REFUSED, acting, origin_of, taking
from copilot.explain.executions import executions_sentences
from copilot.explain.numbers import duration
from copilot.redaction.redactor import redacted
from copilot.rules.changes import BEFORE, ChangeBefore, changes_before
from copilot.rules.incident_log import MAX_NOTE, IncidentEntry, mute_entries
from copilot.rules.model import Issue
from copilot.rules.mutes import MAX_NAME
from copilot.store.base import Store, TimelinePoint
from copilot.store.incidents import Incident, incidents
from copilot.web import page as web
from copilot.web.incidents import IncidentPicture

RANGE_HOURS = 7 * 24
LOOK_BACK_HOURS = 30 * 24
POINTS = 2_000
MAX_FINDINGS, MAX_SIMILAR = 5, 5


class Incidents(schemas.VerdictHead):
    """The incidents of a range, the newest first. The head is of the newest evaluation."""

    start: Instant
    end: Instant
    incidents: list[Incident]


class IncidentDetail(Incident):
    """An incident with what was found at its worst, cause first; the changes before it, the nearest to the problem
    first; earlier ones with the same cause, the newest first; what people and notifications did about it, oldest
    first; and the first half of a post-mortem as Markdown."""

    findings: list[Issue]
    changes: list[ChangeBefore]
    similar: list[Incident]
    log: list[IncidentEntry]
    summary: str
    markdown: str


class NewNote(BaseModel):
    """A note to add, at most 2,000 characters. Secrets and personal data are redacted."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=MAX_NOTE)]


NOTED: dict[int | str, dict[str, Any]] = {
    201: {"model": IncidentEntry, "description": "Stored"},
    **{code: REFUSED[code] for code in (413, 415)},
}


def routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """/incidents and /incidents/{id}."""
    router = APIRouter(prefix="/incidents", tags=["incidents"], responses=NOT_MODIFIED)
    choose = Depends(chosen_cluster(deps.clusters))

    @router.get("", response_model=Incidents)
    async def listed(
        request: Request,
        cluster: Annotated[str, choose],
        start: StartQuery = None,
        end: EndQuery = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Response:
        """The incidents of a range (by default the last seven days), the newest first."""
        view = cache.view(cluster)
        first, last = time_range(start, end, view.now, default_hours=RANGE_HOURS)
        read = partial(deps.store.timeline, cluster, first, last, POINTS)
        points, problem = await from_store(view, read, list[TimelinePoint]())
        found = incidents(cluster, points)[:limit]
        if prefers_html(request.headers.get("accept", "")):
            pictures = [IncidentPicture(incident, view.now) for incident in found]
            return _html("incidents.html", title=f"Incidents of {cluster}", cluster=cluster, pictures=pictures,
                         start=first, end=last, now=view.now, problem=problem)  # fmt: skip
        return respond(request, schemas.verdict_body(Incidents, view, problem, start=first, end=last, incidents=found))

    @router.get("/{incident_id}", response_model=IncidentDetail)
    async def one(request: Request, incident_id: str) -> Response:
        """One incident, by the id that the list and notifications have."""
        found, before = await _found(deps, incident_id)
        detail = await _detail(deps, found, before)
        if not prefers_html(request.headers.get("accept", "")):
            return respond(request, detail)
        now, view = deps.now(), cache.view(found.cluster)
        return _html(
            "incident.html",
            title=_title(detail),
            picture=IncidentPicture(detail, now),
            summary=detail.summary,
            acts=may_act(),
            executions=" ".join(executions_sentences(view.executions, now)) if detail.ended is None else "",
            timeline=_timeline(detail),
            similar=[IncidentPicture(earlier, now) for earlier in detail.similar],
        )

    @router.post("/{incident_id}/notes", response_model=IncidentEntry, responses=NOTED, openapi_extra=taking(NewNote))
    async def note(request: Request, incident_id: str) -> Response:
        """Add a note, open or over."""
        made = await _noted(deps, request, incident_id, await read_json(request, NewNote))
        return JSONResponse(made.model_dump(mode="json"), status_code=201)

    @router.post("/{incident_id}/note", include_in_schema=False)
    async def form(request: Request, incident_id: str) -> Response:
        """The page's form."""
        await _noted(deps, request, incident_id, checked(NewNote, await read_form(request)))
        return RedirectResponse(f"/incidents/{quote(incident_id)}#log", status_code=303)

    return router


async def _found(deps: Deps, incident_id: str) -> tuple[Incident, list[Incident]]:
    cluster, _, began = incident_id.rpartition(":")
    known(cluster, deps.clusters)
    every = await _history(deps.store, cluster, deps.now())
    found = next((i for i in every if i.id == incident_id), None)
    if found is None:
        raise Problem(404, "unknown_incident", f"no incident of {cluster} that is kept began at {began[:20]}")
    return found, every


async def _noted(deps: Deps, request: Request, incident_id: str, given: NewNote) -> IncidentEntry:
    cluster = (await _found(deps, incident_id))[0].cluster
    text = " ".join(redacted(given.text).split())[:MAX_NOTE]
    if not text:
        raise Problem(422, "bad_body", "write the note in `text`", "text")
    entry = IncidentEntry(at=deps.now(), kind="note", who=acting()[:MAX_NAME], text=text, origin=origin_of(request),
                          incident=incident_id)  # fmt: skip
    await deps.store.save_incident_entry(cluster, entry)
    return entry


def _html(template: str, **content: object) -> HTMLResponse:
    return HTMLResponse(web.render(template, **content), headers={"vary": "accept", "cache-control": "no-store"})


async def _history(store: Store, cluster: str, now: Instant) -> list[Incident]:
    return incidents(cluster, await store.timeline(cluster, now.subtract(hours=LOOK_BACK_HOURS), now, POINTS))


async def _detail(deps: Deps, incident: Incident, every: list[Incident]) -> IncidentDetail:
    view = await view_at(deps, incident.cluster, incident.worst_at)
    findings = list(view.original.findings[:MAX_FINDINGS]) if view.original else []
    similar = [i for i in every if i.began < incident.began and i.cause == incident.cause][:MAX_SIMILAR]
    summary, changes = "", list[ChangeBefore]()
    if view.original is not None:
        known = await deps.store.changes(incident.cluster, incident.began - BEFORE, incident.worst_at)
        summary, changes = view.original.summary, list(changes_before(known, view.original))
    ended = incident.ended or deps.now()
    muted = mute_entries(await deps.store.mutes(incident.cluster, incident.began), incident.began, ended)
    stored = await deps.store.incident_entries(incident.cluster, incident.began, deps.now())
    mine = (entry for entry in stored if entry.is_of(incident.id, incident.began, ended))
    log = sorted((*muted, *mine), key=lambda entry: entry.at)
    detail = IncidentDetail(**incident.model_dump(), findings=findings, changes=changes, similar=similar, log=log,
                            summary=summary, markdown="")  # fmt: skip
    return detail.model_copy(update={"markdown": "\n".join(_markdown(detail)) + "\n"})


def _title(incident: IncidentDetail) -> str:
    return incident.findings[0].title if incident.findings else f"{incident.worst.value} without a finding"


def _timeline(incident: IncidentDetail) -> list[tuple[Instant, str]]:
    events = [(s.time, f"the cluster became {s.health_state.value}") for s in incident.states]
    events += [(c.time, f"first finding: `{c.finding}`") for c in incident.causes]
    return sorted(events, key=lambda event: event[0])


def _markdown(incident: IncidentDetail) -> Iterator[str]:
    findings, similar = incident.findings, incident.similar
    yield f"# {incident.cluster}: {_title(incident)}"
    yield ""
    began, ended = _moment(incident.began), _moment(incident.ended) if incident.ended else "still open"
    yield f"- Began: {began}{' or before' if incident.cut else ''}"
    yield f"- Ended: {ended}{f' after {_lasted(incident)}' if incident.ended else ''}"
    yield f"- Worst state: {incident.worst.value} at {_moment(incident.worst_at)}"
    yield f"- Bottleneck: {incident.bottleneck.value.replace('_', ' ')}"
    yield f"- Incident: `{incident.id}`"
    if incident.summary:
        yield from ("", "## What happened", "", incident.summary)
    yield from ("", "## Timeline", "")
    yield from (f"- {_moment(time)}: {text}" for time, text in _timeline(incident))
    if incident.log:
        yield from ("", "## Who was notified, and what was done", "")
    for entry in incident.log:
        said = f": {entry.text}" if entry.text else ""
        yield f"- {_moment(entry.at)}: {' '.join(filter(None, (entry.kind, entry.who)))}{said}"
    if incident.changes:
        yield from ("", "## Changes before it", "")
    for before in incident.changes:
        by = f" (by {before.change.who})" if before.change.who else ""
        yield f"- {duration(round(before.before_sec))} before: {before.change.text}{by}"
    if findings:
        yield from ("", "## What was found at its worst", "")
    for finding in findings:
        yield f"- **{finding.title}** ({finding.severity.value}). {finding.likely_cause}"
        yield from (f"  - {a.description} (risk {a.risk_level})" for a in finding.suggested_actions[:2])
    if similar:
        yield from ("", "## Earlier incidents with the same cause", "")
        yield from (f"- {_moment(i.began)}, {_lasted(i)}, worst {i.worst.value}: `{i.id}`" for i in similar)
    yield from ("", "## Root cause, impact, follow-up", "", "_For the team to write._")


def _lasted(incident: Incident) -> str:
    return duration((incident.ended - incident.began).total("seconds")) if incident.ended else "still open"


def _moment(time: Instant) -> str:
    return f"{time.format_iso()[:19].replace('T', ' ')} UTC"
