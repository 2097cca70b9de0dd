"""/signals, /logs and /clusters."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from copilot.api import wire
from copilot.api.deps import Deps
from copilot.api.live import LiveCopies
from copilot.api.parameters import EndQuery, StartQuery, chosen_cluster, time_range
from copilot.api.problems import Problem
from copilot.core.assessment import ReportedState
from copilot.core.errors import StoreError
from copilot.core.taxonomy import SPECS
from copilot.store.base import SeriesPoint

MAX_POINTS = 2_000
WORST_FIRST = (ReportedState.CRITICAL, ReportedState.STRESSED, ReportedState.UNKNOWN, ReportedState.HAPPY)


def routes(deps: Deps, live: LiveCopies) -> APIRouter:
    """The routes, over one set of copies."""
    router = APIRouter(tags=["signals"])
    choose = Depends(chosen_cluster(deps.clusters))

    @router.get("/signals/{signal_id}")
    async def series(
        signal_id: str,
        cluster: Annotated[str, choose],
        start: StartQuery = None,
        end: EndQuery = None,
        max_points: Annotated[int, Query(ge=2, le=MAX_POINTS)] = 300,
    ) -> wire.SignalSeries:
        """One signal over a range (the last hour when left out); peaks and gaps are kept."""
        spec = SPECS.get(signal_id)
        if spec is None:
            raise Problem(404, "unknown_signal", f"there is no signal {signal_id[:80]!r}", "signal_id")
        said = live.said(cluster)
        begin, finish = time_range(start, end, said.now, default_hours=1)
        because = said.degraded_because
        points: list[SeriesPoint] = []
        try:
            points = await deps.store.signal_series(cluster, signal_id, begin, finish, max_points)
        except StoreError as error:
            because = because or str(error)
        e = said.evaluation
        if e is not None and begin <= e.time <= finish and (not points or points[-1].time < e.time):
            points = [*points, SeriesPoint(time=e.time, value=e.signals.value(signal_id))][-max_points:]
        return wire.SignalSeries(
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

    @router.get("/logs/patterns")
    async def patterns(cluster: Annotated[str, choose]) -> wire.LogPatterns:
        """Log patterns seen at the newest tick."""
        said = live.said(cluster)
        return wire.LogPatterns(
            **wire.verdicted(said), patterns=said.evaluation.signals.logs if said.evaluation else ()
        )

    @router.get("/clusters")
    async def clusters() -> wire.Clusters:
        """All clusters, the worst first."""
        lines = [wire.cluster_line(live.said(c)) for c in deps.clusters]
        return wire.Clusters(clusters=sorted(lines, key=lambda line: WORST_FIRST.index(line.health_state)))

    return router
