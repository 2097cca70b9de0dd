"""The API without a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from copilot.api.app import create_app
from copilot.api.deps import Deps
from copilot.settings.api import ApiSettings


@asynccontextmanager
async def client_of(
    deps: Deps, settings: ApiSettings | None = None
) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """A running app with a client of it."""
    app = create_app(deps, settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as talking:
            yield app, talking


@asynccontextmanager
async def client(deps: Deps, settings: ApiSettings | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running app."""
    async with client_of(deps, settings) as (_, talking):
        yield talking
