"""The built-in page: `/`, its live part `/fragment`, and the runbooks it links to. /events keeps it up to date."""

import asyncio
from dataclasses import asdict
from pathlib import Path as Folder
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from copilot.api import schemas
from copilot.api.auth import logged_in as has_login
from copilot.api.caching import NOT_MODIFIED, respond
from copilot.api.caller import allowed, may_act
from copilot.api.deps import Deps
from copilot.api.errors import Problem
from copilot.api.history import PageHistory
from copilot.api.live import VerdictCache
from copilot.api.parameters import FIRST_END, AtQuery, known
from copilot.rules.model import ReportedState
from copilot.sources.knowledge.runbooks import Runbook, files, runbook, title_of
from copilot.web import page as web
from copilot.web.verdicts import Overview, joined

Text = Annotated[str | None, Query()]
RunbookName = Annotated[str, Path(description="A finding's name, or a runbook's", examples=["worker_scaling"])]


def page_routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """The page and its live part, over one cache."""
    router = APIRouter(include_in_schema=False)
    history = PageHistory(deps)

    async def render(request: Request, query: web.PageQuery, *, whole: bool) -> HTMLResponse:
        logged_in = has_login(request.headers)
        clusters = [cache.view(c) for c in allowed(deps.clusters)]
        if query.cluster is None:
            template = "overview.html" if whole else "overview_live.html"
            return HTMLResponse(web.render(template, overview=Overview(clusters, logged_in)))
        if query.at is None:
            view = cache.view(query.cluster)
            past = await history.until_now(view)
        else:
            view, past = await history.around(query.cluster, query.at)
        page = web.Page(
            query=query,
            tabs=clusters,
            verdict=view,
            today=deps.now(),
            degraded_because=joined(view.degraded_because, past.problem),
            trend=past.trend,
            strip=past.strip,
            issues=past.issues,
            changed=past.changes,
            runbooks=await asyncio.to_thread(_runbook_names, deps.runbooks),
            logged_in=logged_in,
            acts=may_act(),
        )
        return HTMLResponse(web.render("page.html" if whole else "live.html", page=page))

    def chosen(cluster: Text = None, at: AtQuery = None, show: Text = None, sort: Text = None) -> web.PageQuery:
        """The page's parameters. An unknown state or column is ignored; a time in the future means now."""
        if cluster is None and len(own := allowed(deps.clusters)) == 1:
            cluster = own[0]
        if cluster is not None:
            cluster = known(cluster, deps.clusters)
        if at is not None and at < FIRST_END:
            raise Problem(422, "bad_parameter", f"{at.format_iso()} is too long ago", "at")
        if at is not None and at > deps.now():
            at = None
        state = ReportedState(show) if show in tuple(ReportedState) else None
        return web.PageQuery(cluster, at, state, sort if sort in web.LOG_COLUMNS else "count")

    @router.get("/")
    async def page(request: Request, query: Annotated[web.PageQuery, Depends(chosen)]) -> HTMLResponse:
        return await render(request, query, whole=True)

    @router.get("/fragment")
    async def fragment(request: Request, query: Annotated[web.PageQuery, Depends(chosen)]) -> HTMLResponse:
        return await render(request, query, whole=False)

    return router


def _runbook_names(folder: Folder | None) -> frozenset[str]:
    """The names of all runbooks; empty when the folder cannot be read."""
    try:
        return frozenset(name.removesuffix(".md") for name in files(folder))
    except OSError:
        return frozenset()


def runbook_routes(deps: Deps) -> APIRouter:
    """The runbooks, shipped ones and the operator's own, as Markdown and as HTML."""
    router = APIRouter(tags=["runbooks"], prefix="/runbooks")

    async def find(name: str) -> Runbook:
        found = await asyncio.to_thread(runbook, name, deps.runbooks)
        if found is None:
            raise Problem(404, "unknown_runbook", f"there is no runbook {name[:80]!r}: see /runbooks", "name")
        return found

    def every() -> schemas.Runbooks:
        found = (runbook(file.removesuffix(".md"), deps.runbooks) for file in files(deps.runbooks))
        lines = [schemas.RunbookLine(name=r.name, title=title_of(r.markdown, r.name)) for r in found if r is not None]
        return schemas.Runbooks(runbooks=lines)

    @router.get("", response_model=schemas.Runbooks, responses=NOT_MODIFIED)
    async def runbooks(request: Request) -> Response:
        """All runbooks."""
        return respond(request, await asyncio.to_thread(every))

    @router.get("/{name}", response_model=schemas.RunbookText, responses=NOT_MODIFIED)
    async def text(request: Request, name: RunbookName) -> Response:
        """A runbook in Markdown."""
        found = await find(name)
        return respond(request, schemas.RunbookText(**asdict(found)))

    @router.get("/{name}/fragment", response_class=HTMLResponse)
    async def fragment(name: RunbookName) -> HTMLResponse:
        """A runbook as a piece of HTML, to put into a page."""
        return HTMLResponse(web.runbook_html(await find(name)))

    @router.get("/{name}/page", include_in_schema=False)
    async def page(name: RunbookName) -> HTMLResponse:
        found = await find(name)
        return HTMLResponse(web.render("runbook.html", title=found.title, article=web.runbook_html(found)))

    return router
