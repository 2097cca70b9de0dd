"""/status and what hangs below it, but the timeline (routes_timeline.py)."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic_core import to_json

from copilot.api import caching as replies
from copilot.api import schemas as wire
from copilot.api.deps import Deps
from copilot.api.errors import Problem
from copilot.api.issues import MAX_ISSUES, as_the_newest_sees_them, stored_issues
from copilot.api.live import LiveCopies, Said
from copilot.api.parameters import AtQuery, chosen_cluster
from copilot.api.past import said_at
from copilot.errors import StoreError
from copilot.rules.model import Severity


def routes(deps: Deps, live: LiveCopies) -> APIRouter:
    """The routes, over one set of copies."""
    router = APIRouter(tags=["status"], responses=replies.NOT_MODIFIED)
    choose = Depends(chosen_cluster(deps.clusters))
    written = _Written()

    @router.get("/status", response_model=wire.Status)
    async def status(request: Request, cluster: Annotated[str, choose], at: AtQuery = None) -> Response:
        """The verdict with its evidence, now or as it was said at a moment. `age_sec` counts on without changing the
        ETag."""
        if at is not None:
            return replies.of(request, wire.status(await said_at(deps, cluster, at)))
        said = live.said(cluster)
        return replies.reply(request, written.of(said), {"age_sec": to_json(wire.age(said))})

    @router.get("/status/services", response_model=wire.Services)
    async def services(request: Request, cluster: Annotated[str, choose]) -> Response:
        """How each actor does."""
        said = live.said(cluster)
        found = said.evaluation.services if said.evaluation else ()
        return replies.of(request, wire.Services(**wire.verdicted(said), services=found))

    @router.get("/status/summary", response_model=wire.Summary)
    async def summary(request: Request, cluster: Annotated[str, choose]) -> Response:
        """The verdict in words."""
        said = live.said(cluster)
        e = said.evaluation
        told = wire.Summary(
            **wire.verdicted(said),
            summary=e.summary if e else wire.NOTHING_YET,
            narrative=e.narrative if e else None,
            explained_by=e.explained_by if e else "rules",
        )
        return replies.of(request, told)

    @router.get("/status/evaluation", response_model=wire.EvaluationLine)
    async def evaluation(request: Request, cluster: Annotated[str, choose]) -> Response:
        """The newest evaluation as `copilot replay` would print it, with its evaluation_id."""
        e = live.said(cluster).evaluation
        if e is None:
            raise Problem(404, "no_evaluation_yet", wire.NOTHING_YET)
        return replies.of(request, wire.EvaluationLine(**e.replay_line(), evaluation_id=e.evaluation_id))

    @router.get("/status/issues", response_model=wire.Issues)
    async def issues(
        request: Request,
        cluster: Annotated[str, choose],
        severity: Severity | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ISSUES)] = 100,
        resolved: Annotated[bool, Query(description="Resolved ones too")] = False,
    ) -> Response:
        """The problems there are as the newest evaluation sees them, the worst first; their life is the store's. With
        `resolved` those that are over come after them, the last resolved first. `open` counts what is open whatever
        is listed, so that `severity=warning` is never forgotten behind a long list of critical ones."""
        said = live.said(cluster)
        problem, stored = said.store_problem, []
        if problem is None:
            try:
                asked = stored_issues(deps.store, cluster, resolved=limit + 1 if resolved else 0, severity=severity)
                stored = await asked
            except StoreError as error:
                problem = str(error)
        told = as_the_newest_sees_them(said.evaluation, stored)
        wanted = [
            i for i in told if (severity is None or i.severity is severity) and (resolved or i.resolved_at is None)
        ]
        counted = Counter(i.severity.value for i in told if i.resolved_at is None)
        answer = wire.Issues(
            **wire.verdicted(said, because=problem),
            open=wire.OpenIssues(critical=counted["critical"], warning=counted["warning"]),
            truncated=len(wanted) > limit,
            issues=wanted[:limit],
        )
        return replies.of(request, answer)

    return router


class _Written:
    """/status as it was last written, per cluster: written anew only when something else is said."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Said, replies.Told]] = {}

    def of(self, said: Said) -> replies.Told:
        """The body without its age."""
        kept = self._kept.get(said.cluster)
        if kept is not None and kept[0].same_as(said):
            return kept[1]
        told = replies.told(wire.status(said), frozenset({"age_sec"}))
        self._kept[said.cluster] = (said, told)
        return told
