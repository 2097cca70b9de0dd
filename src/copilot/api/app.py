"""Puts the API together from its dependencies."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from copilot.api import (
    openapi,
    routes_changes,
    routes_events,
    routes_incidents,
    routes_inspection,
    routes_mutes,
    routes_service,
    routes_status,
)
from copilot.api.auth import COOKIE, LOGIN_PATHS, PROBES, SESSION, Identify, authenticated, by_token
from copilot.api.deps import Deps
from copilot.api.errors import HANDLERS, unexpected_errors
from copilot.api.headers import common_headers, head_as_get, known_hosts
from copilot.api.live import VerdictCache
from copilot.api.origin import own_origin
from copilot.api.routes_login import login_routes, provider_routes
from copilot.api.routes_page import page_routes, runbook_routes
from copilot.errors import SettingsError
from copilot.settings.api import ApiSettings, is_loopback
from copilot.web import STATIC

GZIP_FROM_BYTES = 4_096
GZIP_LEVEL = 4
"""Of JSON, higher levels save little and take long."""


def create_app(deps: Deps, settings: ApiSettings | None = None) -> FastAPI:
    """The API and the page over `deps`. While it runs it refreshes its cache of verdicts, `app.state.live`; it does not
    close its dependencies. SettingsError if an extra is not installed."""
    settings = settings or ApiSettings()
    cache = VerdictCache(deps)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.gather(*(cache.refresh(c) for c in deps.clusters))
        refreshing = asyncio.create_task(cache.run(), name="refresh the cache of verdicts")
        async with serving_assistants():
            yield
        await cache.close()
        await refreshing

    app = FastAPI(
        **openapi.HEADLINE,
        lifespan=lifespan,
        telemetry={"operation_spans": False},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=openapi.errors(authenticated=settings.asks),
        exception_handlers=HANDLERS,
    )
    app.state.live = cache
    for router in (
        routes_status.status_routes(deps, cache),
        routes_status.signal_routes(deps, cache),
        routes_incidents.routes(deps, cache),
        routes_inspection.routes(deps, cache),
        page_routes(deps, cache),
        runbook_routes(deps),
        routes_events.routes(deps, cache, settings.max_event_streams, settings.max_event_streams_per_caller),
        routes_service.routes(deps, cache),
        routes_changes.routes(deps, cache),
        routes_mutes.routes(deps, cache),
    ):
        app.include_router(router)
    serving_assistants: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    if settings.mcp:
        try:
            from copilot.api import mcp
        except ImportError:
            raise SettingsError(["[api] mcp needs the extra `mcp`: pip install 'temporal-sre-copilot[mcp]'"]) from None
        assistants, tool_routes = mcp.routes(app, settings.public_url or settings.url_here)
        serving_assistants = assistants.session_manager.run
        app.router.routes.extend(tool_routes)
    identify = by_token(settings)
    if settings.oidc is not None:
        identify = with_provider(app, deps, settings, identify)
    if settings.asks:
        app.include_router(login_routes(settings))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    # The paths that need no token; None: all of them.
    open_paths = PROBES | LOGIN_PATHS | ({"/metrics"} if settings.open_metrics else set()) if settings.asks else None
    openapi.describe(app, deps.clusters, open_paths)
    # What every request passes through. The last one added comes first.
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES, compresslevel=GZIP_LEVEL)
    app.add_middleware(head_as_get, endless=routes_events.PATH)
    if open_paths is not None:
        app.add_middleware(authenticated, identify, open_paths)
    app.add_middleware(own_origin, settings.public_url, frozenset({COOKIE, SESSION}))
    app.add_middleware(unexpected_errors)
    if settings.cors_origins:
        # No cookies: a login is for our own page, pages of other origins present a token.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD"),
            allow_headers=("authorization", "if-none-match", "last-event-id", "x-request-id"),
            expose_headers=("etag", "x-request-id"),
        )
    if not settings.asks and is_loopback(settings.host):
        app.add_middleware(known_hosts, settings.public_url)
    issuer = "://".join(urlsplit(settings.oidc.issuer)[:2]) if settings.oidc else ""
    app.add_middleware(common_headers, settings.frame_ancestors, log_access=settings.access_log, form_target=issuer)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    return app


def with_provider(app: FastAPI, deps: Deps, settings: ApiSettings, tokens: Identify) -> Identify:
    """Who asks, by token or by a login with the identity provider, whose routes are added. SettingsError."""
    oidc = settings.oidc
    assert oidc is not None
    try:
        from copilot.api.oidc import Provider
        from copilot.api.sessions import Sessions
    except ImportError:
        raise SettingsError(["[api.oidc] needs the extra `oidc`: pip install 'temporal-sre-copilot[oidc]'"]) from None
    provider = Provider(oidc, settings.public_url or settings.url_here, deps.now, deps.elapsed)
    sessions = Sessions(oidc, deps.now)
    app.include_router(provider_routes(settings, oidc, provider, sessions))
    return lambda scope: tokens(scope) or sessions.caller(scope)
