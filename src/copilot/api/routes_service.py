"""What whoever runs the Copilot asks of it: /healthz, /readyz, /metrics; and /actions, which it does not do."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from copilot.api.deps import Deps
from copilot.api.live import LiveCopies
from copilot.api.metrics import VerdictCollector
from copilot.api.problems import ErrorBody, Problem
from copilot.api.spending import Spending, SpendingCollector

NO_ACTIONS = "the Copilot advises and does not act; recommended_actions in /status says what a person could do"


def routes(deps: Deps, live: LiveCopies, spending: Spending) -> APIRouter:
    """The routes, over one set of copies."""
    router = APIRouter(tags=["service"])
    registry = CollectorRegistry()
    registry.register(VerdictCollector(deps, live))
    spent = SpendingCollector()
    registry.register(spent)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @router.get("/readyz", responses={503: {"model": ErrorBody}})
    async def readyz() -> dict[str, str]:
        """Whether it has a verdict, or somebody to ask for one."""
        if not live.ready():
            problem = live.said(deps.clusters[0]).degraded_because
            raise Problem(503, "not_ready", problem or "nobody has been asked for a verdict yet")
        return {"status": "ready"}

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """The verdict as Prometheus metrics, and what models took today."""
        spent.known = await spending.today()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.post("/actions", status_code=501, response_model=ErrorBody)
    async def actions() -> JSONResponse:
        """Not implemented, on purpose."""
        raise Problem(501, "not_implemented", NO_ACTIONS)

    return router
