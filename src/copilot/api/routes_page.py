"""The built-in page: `/`, and its live part `/fragment`. What keeps it alive is /events (routes_events.py)."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from whenever import Instant

from copilot.api import auth as login
from copilot.api.deps import Deps
from copilot.api.errors import Problem
from copilot.api.issues import MAX_ISSUES, as_the_newest_sees_them, stored_issues
from copilot.api.live import LiveCopies, Said
from copilot.api.parameters import FIRST_END, AtQuery, known
from copilot.api.past import said_at
from copilot.errors import StoreError
from copilot.rules.model import ReportedState, StoredIssue
from copilot.sources.knowledge.local import files
from copilot.store.base import TimelinePoint
from copilot.web.overview import Overview
from copilot.web.overview import said as cards
from copilot.web.page import LOG_COLUMNS, PAST_HOURS, Page, View, render_fragment, render_overview, render_page

TREND_HOURS, TREND_POINTS = 1, 90
STRIP_HOURS, STRIP_POINTS = 6, 400
ISSUES_HOURS = 24
GUIDES_SEC = 60.0

Name = Annotated[str | None, Query()]


def routes(deps: Deps, live: LiveCopies) -> APIRouter:
    """The routes, over one set of copies."""
    router = APIRouter(include_in_schema=False)
    history, guides = _History(deps), _Guides(deps)

    async def drawn(request: Request, view: View, *, whole: bool) -> HTMLResponse:
        logged_in = bool(login.token_of(request.headers))
        if view.cluster is None:
            said = [live.said(c) for c in deps.clusters]
            reasons = _reasons(*(s.degraded_because for s in said))
            seen = Overview(cards((s.cluster, s.evaluation) for s in said), said[0].now, reasons, logged_in)
            return HTMLResponse(render_overview(seen, whole=whole))
        if view.at is None:
            now = live.said(view.cluster)
            past = await history.until_now(now)
        else:
            now, past = await history.around(view.cluster, view.at)
        reasons = _reasons(now.degraded_because, past.problem)
        page = Page(
            view=view,
            tabs=cards((c, live.said(c).evaluation) for c in deps.clusters),
            evaluation=now.evaluation,
            now=now.now,
            today=deps.now(),
            age_sec=now.age_sec,
            degraded_because=reasons,
            trend=past.trend,
            strip=past.strip,
            issues=past.issues,
            guides=await guides.names(),
            logged_in=logged_in,
        )
        return HTMLResponse(render_page(page) if whole else render_fragment(page))

    @router.get("/")
    async def page(
        request: Request, cluster: Name = None, at: AtQuery = None, show: Name = None, sort: Name = None
    ) -> HTMLResponse:
        return await drawn(request, _view(deps, cluster, at, show, sort), whole=True)

    @router.get("/fragment")
    async def fragment(
        request: Request, cluster: Name = None, at: AtQuery = None, show: Name = None, sort: Name = None
    ) -> HTMLResponse:
        return await drawn(request, _view(deps, cluster, at, show, sort), whole=False)

    return router


def _reasons(*reasons: str | None) -> str | None:
    return "; ".join(dict.fromkeys(r for r in reasons if r)) or None


def _view(deps: Deps, cluster: str | None, at: Instant | None, show: str | None, sort: str | None) -> View:
    """What an address means; a state or a column it misspells is passed over, and what is yet to come is now."""
    if cluster is None and len(deps.clusters) == 1:
        cluster = deps.clusters[0]
    if cluster is not None:
        cluster = known(cluster, deps.clusters)
    if at is not None and at < FIRST_END:
        raise Problem(422, "bad_parameter", f"{at.format_iso()} is too long ago", "at")
    if at is not None and at > deps.now():
        at = None
    state = ReportedState(show) if show in tuple(ReportedState) else None
    return View(cluster, at, state, sort if sort in LOG_COLUMNS else "count")


@dataclass(frozen=True, slots=True)
class _Past:
    """What the page draws besides the verdict, and why the store could not be asked for it, if so."""

    trend: list[TimelinePoint] = field(default_factory=list)
    strip: list[TimelinePoint] = field(default_factory=list)
    issues: list[StoredIssue] = field(default_factory=list)
    problem: str | None = None


class _History:
    """The history the page draws; that of now is read from the store once per tick however many look at it."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._kept: dict[str, tuple[str, _Past]] = {}

    async def until_now(self, said: Said) -> _Past:
        """The last hour with signals, the last hours without, and the issues of the last day."""
        tick = said.evaluation.evaluation_id if said.evaluation else ""
        kept = self._kept.get(said.cluster)
        if kept is not None and kept[0] == tick:
            return kept[1]
        now, problem, past = said.now, said.store_problem, _Past()
        if problem is None:
            try:
                past = await self._read(said, now.subtract(hours=STRIP_HOURS), now)
            except StoreError as error:
                problem = str(error)
        if problem is not None:
            last = kept[1] if kept else past
            return replace(last, problem=problem)
        if past.strip and said.evaluation and past.strip[-1].time >= said.evaluation.time:
            self._kept[said.cluster] = (tick, past)
        return past

    async def around(self, cluster: str, at: Instant) -> tuple[Said, _Past]:
        """What was said at a moment, and what was before and after it. The issues are those it named."""
        said = await said_at(self._deps, cluster, at)
        past = await self._read(said, at.subtract(hours=PAST_HOURS), at.add(hours=PAST_HOURS), issues=False)
        return said, past

    async def _read(self, said: Said, start: Instant, end: Instant, *, issues: bool = True) -> _Past:
        store, now, cluster = self._deps.store, said.now, said.cluster
        trend = await store.timeline(cluster, now.subtract(hours=TREND_HOURS), now, TREND_POINTS, signals=True)
        strip = await store.timeline(cluster, start, end, STRIP_POINTS)
        stored = await stored_issues(store, cluster, resolved=MAX_ISSUES) if issues else []
        since = now.subtract(hours=ISSUES_HOURS)
        told = as_the_newest_sees_them(said.evaluation, stored) if issues else []
        return _Past(trend, strip, [i for i in told if i.resolved_at is None or i.resolved_at >= since])


class _Guides:
    """The names of the runbooks there are, looked up once a minute."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._until = float("-inf")
        self._names: frozenset[str] = frozenset()

    async def names(self) -> frozenset[str]:
        """The names, without `.md`; none where the folder cannot be read."""
        if self._deps.elapsed() >= self._until:
            self._until = self._deps.elapsed() + GUIDES_SEC
            try:
                found = await asyncio.to_thread(files, self._deps.runbooks)
            except OSError:
                found = {}
            self._names = frozenset(name.removesuffix(".md") for name in found)
        return self._names
