"""Puts the API together from what it is given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from copilot import __version__
from copilot.api import problems, routes_page, routes_service, routes_signals, routes_status
from copilot.api.deps import Deps
from copilot.api.headers import SecurityHeaders
from copilot.api.live import LiveCopies
from copilot.web import STATIC


def create_app(deps: Deps) -> FastAPI:
    """The API and the page over `deps`. While it runs it keeps its copies of the newest verdicts fresh; it does not
    close what it was given. `app.state.live` are the copies."""
    live = LiveCopies(deps)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.gather(*(live.refresh(c) for c in deps.clusters))
        refreshing = asyncio.create_task(live.run(), name="refresh the live copies")
        yield
        await live.close()
        await refreshing

    app = FastAPI(
        title="Temporal SRE Copilot",
        version=__version__,
        description="Whether a Temporal cluster makes forward progress on the work it has, and why not.",
        lifespan=lifespan,
        telemetry={"operation_spans": False},
        docs_url=None,
        redoc_url=None,
        responses={
            404: {"model": problems.ErrorBody},
            422: {"model": problems.ErrorBody},
            500: {"model": problems.ErrorBody},
        },
    )
    app.state.live = live
    problems.install(app)
    for station in (routes_status, routes_signals, routes_service, routes_page):
        app.include_router(station.routes(deps, live))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(SecurityHeaders)
    return app
