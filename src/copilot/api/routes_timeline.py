"""/status/timeline: what was said over a range."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic_core import to_json
from whenever import Instant

from copilot.api import caching as replies
from copilot.api import schemas as wire
from copilot.api.deps import Deps
from copilot.api.live import LiveCopies, Said
from copilot.api.parameters import EndQuery, StartQuery, chosen_cluster, time_range
from copilot.errors import StoreError
from copilot.store.base import TimelinePoint

MAX_POINTS = 2_000
USUAL_POINTS = 1_200
"""What an answer holds unless told otherwise: under 200 KB."""
MAX_POINTS_WITH_SIGNALS = 200
HOURS = 24
KEPT_SEC = 20.0
"""How long the last hours, asked for without more words, are served as they were written, if nothing new is said."""


def routes(deps: Deps, live: LiveCopies) -> APIRouter:
    """The route, over one set of copies."""
    router = APIRouter(tags=["status"], responses=replies.NOT_MODIFIED)
    kept: dict[tuple[str, bool], _Written] = {}

    @router.get("/status/timeline", response_model=wire.Timeline)
    async def timeline(
        request: Request,
        cluster: Annotated[str, Depends(chosen_cluster(deps.clusters))],
        start: StartQuery = None,
        end: EndQuery = None,
        signals: Annotated[bool, Query(description="Primary signals in each point, 200 points at most")] = False,
        max_points: Annotated[int | None, Query(ge=1, le=MAX_POINTS)] = None,
    ) -> Response:
        """What was said over a range (the last 24 hours when left out), without losing a change of state."""
        said = live.said(cluster)
        begin, finish = time_range(start, end, said.now, default_hours=HOURS)
        room = min(max_points or USUAL_POINTS, MAX_POINTS_WITH_SIGNALS if signals else MAX_POINTS)
        usual = start is None and end is None and max_points is None
        last = kept.get((cluster, signals)) if usual else None
        if last is None or not last.said.same_as(said) or deps.elapsed() - last.at > KEPT_SEC:
            points, problem = await _points(deps, said, begin, finish, room, signals=signals)
            last = _Written(said, deps.elapsed(), begin, finish, _told(said, points, problem))
            if usual and problem is None:
                kept[cluster, signals] = last
        return replies.ranged(request, last.told, last.start, last.end)

    return router


@dataclass(frozen=True, slots=True)
class _Written:
    """A timeline as it was written; `at` by the clock nobody sets."""

    said: Said
    at: float
    start: Instant
    end: Instant
    told: replies.Told


async def _points(
    deps: Deps, said: Said, start: Instant, end: Instant, room: int, *, signals: bool
) -> tuple[list[TimelinePoint], str | None]:
    """What the store knows with the newest tick after it, and why the store could not be asked, if so."""
    problem, points = said.store_problem, []
    if problem is None:
        try:
            points = await deps.store.timeline(said.cluster, start, end, room, signals=signals)
        except StoreError as error:
            problem = str(error)
    e = said.as_made
    if e is not None and start <= e.time <= end and (not points or points[-1].time < e.time):
        newest = TimelinePoint(
            time=e.time,
            health_state=e.verdict.health_state,
            stale=e.verdict.stale,
            bottleneck=e.bottleneck,
            top_factor=e.top_factor,
            signals=e.signals.readings if signals else None,
        )
        points = [*points, newest][-room:]
    return points, problem


def _told(said: Said, points: list[TimelinePoint], problem: str | None) -> replies.Told:
    head = wire.Verdicted(**wire.verdicted(said, because=problem)).model_dump(mode="json")
    body = to_json({**head, "timeline": [wire.entry(p) for p in points]})
    return replies.Told(body, replies.tagged(body))
