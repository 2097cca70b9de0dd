"""The routes for operators of the Copilot: probes, /metrics, /models; and /actions, which it refuses."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from copilot.api.deps import Deps
from copilot.api.errors import ErrorBody, Problem
from copilot.api.live import VerdictCache
from copilot.api.metrics import ModelsToday, ModelUsage, UsageCollector, VerdictCollector
from copilot.api.schemas import ServiceStatus

METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
NO_ACTIONS = "the Copilot advises and does not act; recommended_actions in /status says what a person can do"


def routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """The routes over one cache."""
    router = APIRouter(tags=["service"])
    registry = CollectorRegistry()
    usage, usage_metrics = ModelUsage(deps), UsageCollector()
    ProcessCollector(registry=registry)
    for collector in (VerdictCollector(deps, cache), usage_metrics, *deps.collectors):
        registry.register(collector)

    @router.get("/healthz")
    async def healthz() -> ServiceStatus:
        """Liveness: the process answers."""
        return ServiceStatus(status="ok")

    @router.get("/readyz", responses={503: {"model": ErrorBody}})
    async def readyz() -> ServiceStatus:
        """Readiness: there is a verdict, or a source of verdicts that answers."""
        if not cache.ready():
            problem = cache.view(deps.clusters[0]).degraded_because
            raise Problem(503, "not_ready", problem or "no source of verdicts has been queried yet")
        return ServiceStatus(status="ready")

    @router.get("/metrics", response_class=Response, responses=METRICS)
    async def metrics() -> Response:
        """The verdicts and today's use of language models as Prometheus metrics."""
        usage_metrics.usage = await usage.today()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/models")
    async def models() -> ModelsToday:
        """Today's use of language models, and the daily limits."""
        return await usage.today()

    @router.post("/actions", status_code=501, response_model=ErrorBody, response_description="Always")
    async def actions() -> JSONResponse:
        """Not implemented, on purpose."""
        raise Problem(501, "not_implemented", NO_ACTIONS)

    return router
