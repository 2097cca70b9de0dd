"""/guides: the runbooks that actions and findings name."""

import asyncio
from functools import partial
from pathlib import Path as Folder
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse

from copilot.api import caching as replies
from copilot.api import schemas as wire
from copilot.api.deps import Deps
from copilot.api.errors import Problem
from copilot.sources.knowledge.local import Runbook, files, runbook
from copilot.sources.knowledge.sections import title_of
from copilot.web.page import guide_html, render_guide

NameParameter = Annotated[str, Path(description="A finding's name, or a guide's", examples=["no_pollers"])]


def routes(deps: Deps) -> APIRouter:
    """The routes, over the shipped runbooks and those of the deps' folder."""
    router = APIRouter(tags=["guides"])

    @router.get("/guides", response_model=wire.Guides, responses=replies.NOT_MODIFIED)
    async def guides(request: Request) -> Response:
        """The runbooks there are."""
        return replies.of(request, await asyncio.to_thread(_listed, deps.runbooks))

    @router.get("/guides/{name}", response_model=wire.Guide, responses=replies.NOT_MODIFIED)
    async def guide(request: Request, name: NameParameter) -> Response:
        """A runbook in Markdown."""
        found = await _found(name, deps.runbooks)
        return replies.of(request, wire.Guide(name=found.name, title=found.title, markdown=found.markdown))

    @router.get("/guides/{name}/fragment", response_class=HTMLResponse)
    async def fragment(name: NameParameter) -> HTMLResponse:
        """A runbook as a piece of HTML, to be put into a page."""
        return HTMLResponse(guide_html(await _found(name, deps.runbooks)))

    @router.get("/guides/{name}/page", include_in_schema=False)
    async def page(name: NameParameter) -> HTMLResponse:
        found = await _found(name, deps.runbooks)
        return HTMLResponse(render_guide(found.title, guide_html(found)))

    return router


async def _found(name: str, folder: Folder | None) -> Runbook:
    found = await asyncio.to_thread(partial(runbook, name, folder))
    if found is None:
        raise Problem(404, "unknown_guide", f"there is no guide {name[:80]!r}: /guides lists those there are", "name")
    return found


def _listed(folder: Folder | None) -> wire.Guides:
    lines = []
    for file in files(folder):
        found = runbook(file.removesuffix(".md"), folder)
        if found is not None:
            lines.append(wire.GuideLine(name=found.name, title=title_of(found.markdown, found.name)))
    return wire.Guides(guides=lines)
