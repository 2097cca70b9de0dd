"""Puts the API together from what it is given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from copilot.api import auth as login
from copilot.api import errors as problems
from copilot.api import (
    openapi,
    routes_events,
    routes_guides,
    routes_page,
    routes_service,
    routes_signals,
    routes_status,
    routes_timeline,
    spending,
)
from copilot.api.auth import ALWAYS_OPEN, Authentication, CrossOrigin, Tokens
from copilot.api.deps import Deps
from copilot.api.errors import ReadableErrors, RequestIds
from copilot.api.headers import HeadAsGet, SecurityHeaders, security_headers
from copilot.api.live import LiveCopies
from copilot.settings.api import ApiSettings
from copilot.web import STATIC


def create_app(deps: Deps, settings: ApiSettings | None = None) -> FastAPI:
    """The API and the page over `deps`, answering as `settings` say. While it runs it keeps its copies of the newest
    verdicts fresh; it does not close what it was given. `app.state.live` are the copies."""
    settings = settings or ApiSettings()
    live = LiveCopies(deps)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.gather(*(live.refresh(c) for c in deps.clusters))
        refreshing = asyncio.create_task(live.run(), name="refresh the live copies")
        yield
        await live.close()
        await refreshing

    app = FastAPI(
        **openapi.HEADLINE,
        lifespan=lifespan,
        telemetry={"operation_spans": False},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=openapi.errors(authenticated=bool(settings.tokens)),
    )
    app.state.live = live
    problems.install(app)
    for station in (routes_status, routes_timeline, routes_signals, routes_page):
        app.include_router(station.routes(deps, live))
    app.include_router(routes_events.routes(deps, live, settings.max_event_streams))
    app.include_router(routes_guides.routes(deps))
    spent = spending.Spending(deps)
    app.include_router(routes_service.routes(deps, live, spent))
    app.include_router(spending.routes(spent))
    if settings.tokens:
        app.include_router(login.routes(Tokens(settings.tokens)))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    open_paths = _open_paths(settings)
    openapi.describe(app, deps.clusters, open_paths)
    _stand_before(app, settings, open_paths)
    return app


def _open_paths(settings: ApiSettings) -> frozenset[str] | None:
    """What is for everybody; None: all of it."""
    if not settings.tokens:
        return None
    return ALWAYS_OPEN | login.OPEN_PATHS | ({"/metrics"} if settings.open_metrics else frozenset())


def _stand_before(app: FastAPI, settings: ApiSettings, open_paths: frozenset[str] | None) -> None:
    """Add what every request passes through. The last added is passed first."""
    app.add_middleware(HeadAsGet, endless=frozenset({routes_events.PATH}))
    if open_paths is not None:
        app.add_middleware(Authentication, tokens=Tokens(settings.tokens), open_paths=open_paths)
    app.add_middleware(problems.Unexpected)
    if settings.cors_origins:
        app.add_middleware(CrossOrigin, origins=settings.cors_origins)
    app.add_middleware(ReadableErrors)
    app.add_middleware(SecurityHeaders, headers=security_headers(settings.frame_ancestors))
    app.add_middleware(RequestIds, access_log=settings.access_log)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
