"""What whoever runs the Copilot asks of it: /healthz, /readyz, /metrics; and /actions, which it does not do."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from copilot.api import schemas as wire
from copilot.api.deps import Deps
from copilot.api.errors import ErrorBody, Problem
from copilot.api.live import LiveCopies
from copilot.api.metrics import VerdictCollector
from copilot.api.spending import Spending, SpendingCollector

METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
NO_ACTIONS = "the Copilot advises and does not act; recommended_actions in /status says what a person could do"


def routes(deps: Deps, live: LiveCopies, spending: Spending) -> APIRouter:
    """The routes, over one set of copies."""
    router = APIRouter(tags=["service"])
    registry = CollectorRegistry()
    spent = SpendingCollector()
    ProcessCollector(registry=registry)
    for collector in (VerdictCollector(deps, live), spent, *deps.collectors):
        registry.register(collector)

    @router.get("/healthz")
    async def healthz() -> wire.Well:
        """Whether the process answers."""
        return wire.Well(status="ok")

    @router.get("/readyz", responses={503: {"model": ErrorBody}})
    async def readyz() -> wire.Well:
        """Whether it has a verdict, or somebody to ask for one."""
        if not live.ready():
            problem = live.said(deps.clusters[0]).degraded_because
            raise Problem(503, "not_ready", problem or "nobody has been asked for a verdict yet")
        return wire.Well(status="ready")

    @router.get("/metrics", response_class=Response, responses=METRICS)
    async def metrics() -> Response:
        """The verdict as Prometheus metrics, and what models took today."""
        spent.known = await spending.today()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.post("/actions", status_code=501, response_model=ErrorBody, response_description="Always")
    async def actions() -> JSONResponse:
        """Not implemented, on purpose."""
        raise Problem(501, "not_implemented", NO_ACTIONS)

    return router
