"""The routes for operators of the Copilot: probes, /metrics (the verdicts, read from the cache at scrape time, and the
use of language models), /models; and /actions, which it refuses."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel
from whenever import Instant

from copilot.api.caller import allowed
from copilot.api.deps import Deps
from copilot.api.errors import ErrorBody, Problem
from copilot.api.live import VerdictCache, result
from copilot.api.schemas import ServiceStatus
from copilot.explain import ExplainedEvaluation
from copilot.explain.model.usage import Spent, day_start
from copilot.rules.model import ReportedState
from copilot.web.verdicts import VerdictView

USAGE_TIMEOUT_SEC = 2.0
USAGE_MAX_AGE_SEC = 15.0
PLAIN: tuple[tuple[str, str, Callable[[VerdictView, ExplainedEvaluation], float | None]], ...] = (
    ("stale", "1 while the verdict is held without fresh evidence", lambda _, e: e.verdict.stale),
    ("evaluation_age_seconds", "Seconds since the newest evaluation", lambda v, _: v.age_sec or 0.0),
    ("state_since_timestamp_seconds", "When the state began, epoch seconds",
     lambda _, e: e.verdict.since.timestamp(unit="millisecond") / 1000),
    ("confidence_ratio", "Confidence of the verdict, 0 to 1", lambda _, e: e.verdict.confidence),
    ("clock_ahead_seconds", "How far this clock was ahead of the newest tick when it came", lambda v, _: v.ahead_sec),
    ("cycle_duration_seconds", "Seconds from the newest tick to its verdict", lambda v, _: v.cycle_sec),
)  # fmt: skip
"""Gauges with one value for each cluster that has a verdict."""


@dataclass(frozen=True, eq=False)
class VerdictCollector(Collector):
    """Gauges of all clusters that the caller may read. What is not known is left out, never 0; a cluster without a
    verdict is unknown."""

    deps: Deps
    cache: VerdictCache

    def collect(self) -> Iterator[Metric]:
        """One metric family after the other."""
        views = [self.cache.view(c) for c in allowed(self.deps.clusters)]
        yield _gauge("health_state", "1 for the state that is reported, 0 for the others", ("cluster", "state"), (
            ((v.cluster, state.value), state is v.state) for v in views for state in ReportedState
        ))  # fmt: skip
        yield _gauge("degraded", "1 while a part of the Copilot is unavailable or fails", ("cluster",), (
            ((v.cluster,), v.degraded_because is not None) for v in views
        ))  # fmt: skip
        yield _gauge("loop_problem", "1 while the loop does not run, has no worker, or fails", ("cluster", "loop"), (
            ((v.cluster, loop), bool(problem)) for v in views for loop, problem in v.loops.items()
        ))  # fmt: skip
        judged = [(v, v.evaluation) for v in views if v.evaluation is not None]
        for name, text, value_of in PLAIN:
            yield _gauge(name, text, ("cluster",), (((v.cluster,), value_of(v, e)) for v, e in judged))
        kinds = {"primary": "primary", "amplifier": "amplifiers", "worker": "worker"}
        yield _gauge("coverage_ratio", "Share of expected signals that were read, 0 to 1", ("cluster", "kind"), (
            ((e.cluster, kind), getattr(e.verdict.coverage, key)) for _, e in judged for kind, key in kinds.items()
        ))  # fmt: skip
        fired: dict[tuple[str, ...], bool | None] = {}
        for view, gate in ((v, gate) for v, e in judged for gate in e.verdict.gates):
            subject = ",".join(f"{k}={v}" for k, v in sorted(gate.labels.items()))
            fired.setdefault((view.cluster, gate.name, gate.severity.value, subject), gate.fired)
        labels = ("cluster", "gate", "severity", "subject")
        text = "1 while the gate is firing, 0 while it is clear; absent while it is unjudged"
        yield _gauge("gate_fired", text, labels, fired.items())
        yield _gauge("gate_judged", "1 if the gate could be judged", labels,
                     ((values, value is not None) for values, value in fired.items()))  # fmt: skip


def _gauge(
    name: str, text: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float | None]]
) -> GaugeMetricFamily:
    """A gauge named `copilot_{name}`; samples that are None are left out."""
    family = GaugeMetricFamily(f"copilot_{name}", text, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, float(value))
    return family


class ModelsToday(BaseModel):
    """What explanations of all clusters used since midnight UTC (`since`), and the daily limits (0: no model is
    configured). `spent` is null when the store does not answer, and `degraded_because` says why."""

    since: Instant
    spent: Spent | None
    daily_usd: float
    daily_tokens: int
    degraded_because: str | None


class ModelUsage(Collector):
    """Today's use of language models, read from the store at most every 15 s, and counters of it that restart each UTC
    day; they are left out while it is not known."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._reading = asyncio.Lock()
        self._read_at = float("-inf")
        self._latest: ModelsToday | None = None

    async def today(self) -> ModelsToday:
        """Today's use, at most 15 s old."""
        since, elapsed = day_start(self._deps.now()), self._deps.elapsed
        async with self._reading:
            latest = self._latest
            if latest is None or latest.since != since or elapsed() - self._read_at > USAGE_MAX_AGE_SEC:
                self._read_at, cap = elapsed(), self._deps.model_cap
                spent, problem = await result(self._deps.store.model_spend(since), "the state store", USAGE_TIMEOUT_SEC)
                self._latest = latest = ModelsToday(
                    since=since, spent=spent, daily_usd=cap.usd, daily_tokens=cap.tokens, degraded_because=problem
                )
        return latest

    def collect(self) -> Iterator[Metric]:
        """One metric family after the other, of what `today` returned last."""
        if self._latest is None or (spent := self._latest.spent) is None:
            return
        tokens = CounterMetricFamily("copilot_model_tokens", "Model tokens since midnight UTC", labels=["direction"])
        for direction, number in (("input", spent.input_tokens), ("output", spent.output_tokens)):
            tokens.add_metric([direction], number)
        yield tokens
        for name, text, value in (
            ("cost_usd", "US$ for models since midnight UTC", spent.cost_usd),
            ("calls", "Calls of models since midnight UTC", spent.calls),
            ("unserved", "Calls whose answer was not shown, since midnight UTC", spent.unserved),
        ):
            yield CounterMetricFamily(f"copilot_model_{name}", text, value=value)
        yield _gauge("model_daily_cap_usd", "Daily limit in US$; 0 without a model", (), [((), self._latest.daily_usd)])


METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
NO_ACTIONS = "the Copilot advises and does not act; recommended_actions in /status says what a person can do"


def routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """The routes over one cache."""
    router = APIRouter(tags=["service"])
    registry = CollectorRegistry()
    usage = ModelUsage(deps)
    ProcessCollector(registry=registry)
    registry.register(VerdictCollector(deps, cache))
    registry.register(usage)

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
        await usage.today()
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
