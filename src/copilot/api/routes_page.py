"""The built-in page: `/`, and its live part `/fragment`. What keeps it alive is /events (routes_events.py)."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from copilot.api.deps import Deps
from copilot.api.live import LiveCopies, Said
from copilot.api.problems import Problem
from copilot.core.errors import StoreError
from copilot.store.base import TimelinePoint
from copilot.web.page import ClusterTab, Page, render_fragment, render_page

TREND_HOURS, TREND_POINTS = 1, 90
STRIP_HOURS, STRIP_POINTS = 6, 400

Name = Annotated[str | None, Query()]


def routes(deps: Deps, live: LiveCopies) -> APIRouter:
    """The routes, over one set of copies."""
    router = APIRouter(include_in_schema=False)
    past = _Past(deps)

    async def page(cluster: str | None) -> Page:
        said = live.said(_known(deps, cluster))
        trend, strip, problem = await past.of(said)
        reasons = "; ".join(dict.fromkeys(r for r in (said.degraded_because, problem) if r))
        return Page(
            cluster=said.cluster,
            tabs=tuple(_tab(live.said(c)) for c in deps.clusters),
            evaluation=said.evaluation,
            now=said.now,
            age_sec=said.age_sec,
            degraded_because=reasons or None,
            trend=trend,
            strip=strip,
        )

    @router.get("/")
    async def whole(cluster: Name = None) -> HTMLResponse:
        return HTMLResponse(render_page(await page(cluster)))

    @router.get("/fragment")
    async def fragment(cluster: Name = None) -> HTMLResponse:
        return HTMLResponse(render_fragment(await page(cluster)))

    return router


def _known(deps: Deps, cluster: str | None) -> str:
    if cluster is None:
        return deps.clusters[0]
    if cluster not in deps.clusters:
        raise Problem(404, "unknown_cluster", f"there is no cluster {cluster[:60]!r} here", "cluster")
    return cluster


def _tab(said: Said) -> ClusterTab:
    return ClusterTab(said.cluster, said.evaluation.verdict.health_state if said.evaluation else None)


class _Past:
    """The history the page draws, read from the store once per tick however many look at it."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._kept: dict[str, tuple[str, list[TimelinePoint], list[TimelinePoint]]] = {}

    async def of(self, said: Said) -> tuple[list[TimelinePoint], list[TimelinePoint], str | None]:
        """The last hour with signals, the last hours without, and why the store could not be asked, if so."""
        tick = said.evaluation.evaluation_id if said.evaluation else ""
        kept = self._kept.get(said.cluster)
        if kept is not None and kept[0] == tick:
            return kept[1], kept[2], None
        store, now = self._deps.store, said.now
        try:
            trend = await store.timeline(said.cluster, now.subtract(hours=TREND_HOURS), now, TREND_POINTS, signals=True)
            strip = await store.timeline(said.cluster, now.subtract(hours=STRIP_HOURS), now, STRIP_POINTS)
        except StoreError as error:
            return (*(kept[1:] if kept else ([], [])), str(error))
        if strip and said.evaluation and strip[-1].time >= said.evaluation.time:
            self._kept[said.cluster] = (tick, trend, strip)
        return trend, strip, None
