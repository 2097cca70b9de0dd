"""/signals, /logs and /clusters."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from copilot.api import caching as replies
from copilot.api import schemas as wire
from copilot.api.deps import Deps
from copilot.api.errors import Problem
from copilot.api.live import LiveCopies
from copilot.api.parameters import EndQuery, StartQuery, chosen_cluster, time_range
from copilot.errors import StoreError
from copilot.rules.signals.taxonomy import SPECS
from copilot.store.base import SeriesPoint
from copilot.web.overview import WORST_FIRST

MAX_POINTS = 2_000


def routes(deps: Deps, live: LiveCopies) -> APIRouter:
    """The routes, over one set of copies."""
    router = APIRouter(tags=["signals"], responses=replies.NOT_MODIFIED)
    choose = Depends(chosen_cluster(deps.clusters))

    @router.get("/signals/{signal_id}", response_model=wire.SignalSeries)
    async def series(
        request: Request,
        signal_id: Annotated[str, Path(json_schema_extra={"enum": sorted(SPECS)})],
        cluster: Annotated[str, choose],
        start: StartQuery = None,
        end: EndQuery = None,
        max_points: Annotated[int, Query(ge=2, le=MAX_POINTS)] = 300,
    ) -> Response:
        """One signal over a range (the last hour when left out); peaks and gaps are kept."""
        spec = SPECS.get(signal_id)
        if spec is None:
            raise Problem(404, "unknown_signal", f"there is no signal {signal_id[:80]!r}", "signal_id")
        said = live.said(cluster)
        begin, finish = time_range(start, end, said.now, default_hours=1)
        because = said.degraded_because
        points: list[SeriesPoint] = []
        if said.store_problem is None:
            try:
                points = await deps.store.signal_series(cluster, signal_id, begin, finish, max_points)
            except StoreError as error:
                because = because or str(error)
        e = said.evaluation
        if e is not None and begin <= e.time <= finish and (not points or points[-1].time < e.time):
            points = [*points, SeriesPoint(time=e.time, value=e.signals.value(signal_id))][-max_points:]
        told = wire.SignalSeries(
            cluster=cluster,
            id=spec.id,
            kind=spec.kind,
            unit=spec.unit,
            meaning=spec.meaning,
            start=begin,
            end=finish,
            points=points,
            degraded=because is not None,
            degraded_because=because,
        )
        return replies.ranged(request, replies.told(told, replies.BOUNDS), begin, finish)

    @router.get("/logs/patterns", response_model=wire.LogPatterns)
    async def patterns(request: Request, cluster: Annotated[str, choose]) -> Response:
        """Log patterns seen at the newest tick."""
        said = live.said(cluster)
        found = said.evaluation.signals.logs if said.evaluation else ()
        return replies.of(request, wire.LogPatterns(**wire.verdicted(said), patterns=found))

    @router.get("/clusters", response_model=wire.Clusters)
    async def clusters(request: Request) -> Response:
        """All clusters, the worst first. `age_sec` counts on without changing the ETag."""
        lines = [wire.cluster_line(live.said(c)) for c in deps.clusters]
        told = wire.Clusters(clusters=sorted(lines, key=_badness))
        ageless = told.model_dump_json(exclude={"clusters": {"__all__": {"age_sec"}}}).encode()
        return replies.reply(request, replies.Told(told.model_dump_json().encode(), replies.tagged(ageless)))

    return router


def _badness(line: wire.ClusterLine) -> tuple[int, bool]:
    """Worst first: by state, then what is held without fresh evidence before what is fresh."""
    return WORST_FIRST.index(line.health_state), not line.stale
