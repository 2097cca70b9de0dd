"""The JSON of the verdict and what it is made of: /status, /clusters, /targets, /signals and /logs."""

from collections import Counter
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic_core import to_json
from whenever import Instant

from copilot.api import schemas
from copilot.api.caching import NOT_MODIFIED, BodyCache, body, respond
from copilot.api.caller import allowed
from copilot.api.deps import Deps
from copilot.api.errors import Problem
from copilot.api.history import MAX_ISSUES, current_issues, from_store, stored_issues, view_at
from copilot.api.live import VerdictCache
from copilot.api.parameters import AtQuery, EndQuery, StartQuery, chosen_cluster, time_range
from copilot.api.schemas import verdict_body
from copilot.rules.model import DetectedIssue, Severity
from copilot.rules.signals.taxonomy import SPECS
from copilot.store.base import SeriesPoint, TimelinePoint
from copilot.web.verdicts import VerdictView, badness

MAX_POINTS = 2_000
DEFAULT_POINTS = 1_200
"""Of a timeline: under 200 KB."""
MAX_POINTS_WITH_SIGNALS = 200
TIMELINE_HOURS = 24
TIMELINE_MAX_AGE_SEC = 20.0


def status_routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """/status and what is below it, over one cache."""
    router = APIRouter(tags=["status"], responses=NOT_MODIFIED)
    choose = Depends(chosen_cluster(deps.clusters))
    written = BodyCache(deps.elapsed)
    timelines = BodyCache(deps.elapsed, TIMELINE_MAX_AGE_SEC)

    @router.get("/status", response_model=schemas.Status)
    async def status(request: Request, cluster: Annotated[str, choose], at: AtQuery = None) -> Response:
        """The verdict with its evidence, now or at a time in the past. `age_sec` does not change the ETag."""
        if at is not None:
            return respond(request, _status(await view_at(deps, cluster, at)))
        view = cache.view(cluster)
        current = written.find(cluster, view) or written.keep(cluster, view, body(_status(view), age_sec=None))
        return respond(request, current, age_sec=schemas.rounded_age(view))

    @router.get("/status/services", response_model=schemas.Services)
    async def services(request: Request, cluster: Annotated[str, choose]) -> Response:
        """The state of each component."""
        return respond(request, verdict_body(schemas.Services, cache.view(cluster)))

    @router.get("/status/summary", response_model=schemas.Summary)
    async def summary(request: Request, cluster: Annotated[str, choose]) -> Response:
        """The verdict with its explanation."""
        return respond(request, verdict_body(schemas.Summary, cache.view(cluster)))

    @router.get("/status/evaluation", response_model=schemas.EvaluationLine)
    async def evaluation(request: Request, cluster: Annotated[str, choose]) -> Response:
        """The newest evaluation as `copilot replay` prints it, with its evaluation_id."""
        e = cache.view(cluster).evaluation
        if e is None:
            raise Problem(404, "no_evaluation_yet", schemas.NO_EVALUATION)
        return respond(request, schemas.EvaluationLine(**e.replay_line(), evaluation_id=e.evaluation_id))

    @router.get("/status/issues", response_model=schemas.Issues)
    async def issues(
        request: Request,
        cluster: Annotated[str, choose],
        severity: Severity | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ISSUES)] = 100,
        resolved: Annotated[bool, Query(description="Resolved ones too")] = False,
    ) -> Response:
        """The issues as the newest evaluation sees them, the worst first; with `resolved` also the resolved ones, the
        last resolved first. `open` counts all open issues, listed or not."""
        view = cache.view(cluster)
        read = partial(stored_issues, deps.store, cluster, resolved=limit + 1 if resolved else 0, severity=severity)
        stored, problem = await from_store(view, read, list[DetectedIssue]())
        every = current_issues(view.evaluation, stored)
        matching = [i for i in every if severity in (None, i.severity) and (resolved or i.resolved_at is None)]
        counts = Counter(i.severity.value for i in every if i.resolved_at is None)
        answer = verdict_body(
            schemas.Issues,
            view,
            because=problem,
            open={"critical": counts["critical"], "warning": counts["warning"]},
            truncated=len(matching) > limit,
            issues=matching[:limit],
        )
        return respond(request, answer)

    @router.get("/status/timeline", response_model=schemas.Timeline)
    async def timeline(
        request: Request,
        cluster: Annotated[str, choose],
        start: StartQuery = None,
        end: EndQuery = None,
        signals: Annotated[bool, Query(description="Primary signals in each point, 200 points at most")] = False,
        max_points: Annotated[int | None, Query(ge=1, le=MAX_POINTS)] = None,
    ) -> Response:
        """The verdicts over a range (by default the last 24 hours), downsampled without losing a change of state."""
        view = cache.view(cluster)
        first, last = time_range(start, end, view.now, default_hours=TIMELINE_HOURS)
        limit = min(max_points or DEFAULT_POINTS, MAX_POINTS_WITH_SIGNALS if signals else MAX_POINTS)
        default = start is None and end is None and max_points is None
        answer = timelines.find((cluster, signals), view) if default else None
        if answer is None:
            points, problem = await _points(deps, view, first, last, limit, signals=signals)
            head = verdict_body(schemas.VerdictHead, view, because=problem).model_dump(mode="json")
            content = to_json({**head, "timeline": [schemas.timeline_entry(p) for p in points]})
            answer = body(content, start=first.format_iso(), end=last.format_iso())
            if default and problem is None:
                timelines.keep((cluster, signals), view, answer)
        return respond(request, answer)

    return router


def signal_routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """/signals, /targets, /logs and /clusters, over one cache."""
    router = APIRouter(tags=["signals"], responses=NOT_MODIFIED)
    choose = Depends(chosen_cluster(deps.clusters))

    @router.get("/signals/{signal_id}", response_model=schemas.SignalSeries)
    async def series(
        request: Request,
        signal_id: Annotated[str, Path(json_schema_extra={"enum": sorted(SPECS)})],
        cluster: Annotated[str, choose],
        start: StartQuery = None,
        end: EndQuery = None,
        max_points: Annotated[int, Query(ge=2, le=MAX_POINTS)] = 300,
    ) -> Response:
        """One signal over a range (by default the last hour), downsampled without losing peaks and gaps."""
        spec = SPECS.get(signal_id)
        if spec is None:
            raise Problem(404, "unknown_signal", f"there is no signal {signal_id[:80]!r}", "signal_id")
        view = cache.view(cluster)
        first, last = time_range(start, end, view.now, default_hours=1)
        read = partial(deps.store.signal_series, cluster, signal_id, first, last, max_points)
        points, problem = await from_store(view, read, list[SeriesPoint]())
        because = view.degraded_because or problem
        e = view.evaluation
        if e is not None and first <= e.time <= last and (not points or points[-1].time < e.time):
            points = [*points, SeriesPoint(time=e.time, value=e.signals.value(signal_id))][-max_points:]
        answer = schemas.SignalSeries(
            cluster=cluster,
            **{name: getattr(spec, name) for name in ("id", "kind", "unit", "meaning")},
            start=first,
            end=last,
            points=points,
            degraded=because is not None,
            degraded_because=because,
        )
        return respond(request, body(answer, start=first.format_iso(), end=last.format_iso()))

    @router.get("/targets", response_model=schemas.Targets)
    async def targets(request: Request, cluster: Annotated[str, choose]) -> Response:
        """Every process that is read: service, address, version, shards, start, last read, restarts. Ages do not change
        the ETag."""
        answer = schemas.targets(view := cache.view(cluster))
        ageless = repr((view.revision, view.evaluation.processes if view.evaluation else ())).encode()
        return respond(request, body(answer.model_dump_json().encode(), tag_of=ageless))

    @router.get("/logs/patterns", response_model=schemas.LogPatterns)
    async def patterns(request: Request, cluster: Annotated[str, choose]) -> Response:
        """The log patterns of the newest evaluation."""
        return respond(request, verdict_body(schemas.LogPatterns, cache.view(cluster)))

    @router.get("/clusters", response_model=schemas.Clusters)
    async def clusters(request: Request) -> Response:
        """All clusters, the worst first. `age_sec` does not change the ETag."""
        views = sorted((cache.view(c) for c in allowed(deps.clusters)), key=badness)
        answer = schemas.Clusters(clusters=[verdict_body(schemas.ClusterLine, view) for view in views])
        ageless = answer.model_dump_json(exclude={"clusters": {"__all__": {"age_sec"}}}).encode()
        return respond(request, body(answer.model_dump_json().encode(), tag_of=ageless))

    return router


def _status(view: VerdictView) -> schemas.Status:
    groups: dict[str, Any] = schemas.groups(view.evaluation.signals if view.evaluation else None)
    return verdict_body(schemas.Status, view, **groups)


async def _points(
    deps: Deps, view: VerdictView, start: Instant, end: Instant, limit: int, *, signals: bool
) -> tuple[list[TimelinePoint], str | None]:
    """The stored points followed by the newest tick, and why the store did not answer, if so."""
    read = partial(deps.store.timeline, view.cluster, start, end, limit, signals=signals)
    points, problem = await from_store(view, read, list[TimelinePoint]())
    e = view.original
    if e is not None and start <= e.time <= end and (not points or points[-1].time < e.time):
        newest = TimelinePoint(
            time=e.time,
            health_state=e.verdict.health_state,
            stale=e.verdict.stale,
            bottleneck=e.bottleneck,
            top_factor=e.top_factor,
            signals=e.signals.readings if signals else None,
        )
        points = [*points, newest][-limit:]
    return points, problem
