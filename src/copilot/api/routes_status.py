"""/status and what hangs below it, but the timeline (routes_timeline.py)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic_core import to_json

from copilot.api import replies, wire
from copilot.api.deps import Deps
from copilot.api.live import LiveCopies, Said
from copilot.api.parameters import chosen_cluster
from copilot.api.problems import Problem
from copilot.core.assessment import Evaluation, Severity, StoredIssue
from copilot.core.errors import StoreError
from copilot.store.issue_life import key, live_on

MAX_ISSUES = 500


def routes(deps: Deps, live: LiveCopies) -> APIRouter:
    """The routes, over one set of copies."""
    router = APIRouter(tags=["status"], responses=replies.NOT_MODIFIED)
    choose = Depends(chosen_cluster(deps.clusters))
    written = _Written()

    @router.get("/status", response_model=wire.Status)
    async def status(request: Request, cluster: Annotated[str, choose]) -> Response:
        """The verdict with its evidence. `age_sec` counts on without changing the ETag."""
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
        """The problems there are, the worst first, as the newest evaluation sees them; their life is the store's."""
        said = live.said(cluster)
        problem, stored = None, []
        try:
            stored = await deps.store.issues(cluster, limit=MAX_ISSUES, include_resolved=resolved)
        except StoreError as error:
            problem = str(error)
        told = _as_the_newest_sees_them(said.evaluation, stored)
        wanted = [
            i for i in told if (severity is None or i.severity is severity) and (resolved or i.resolved_at is None)
        ]
        return replies.of(request, wire.Issues(**wire.verdicted(said, because=problem), issues=wanted[:limit]))

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


def _open(issues: list[StoredIssue]) -> list[StoredIssue]:
    return [i for i in issues if i.resolved_at is None]


def _as_the_newest_sees_them(newest: Evaluation | None, stored: list[StoredIssue]) -> list[StoredIssue]:
    """Stored issues, each as the newest evaluation changes it, after those only it knows; worst first."""
    changed = {i.id: i for i in live_on(newest, _open(stored))} if newest else {}
    known = {key(i) for i in _open(stored)}
    merged = [changed.pop(i.id, i) for i in stored]
    new = [i for i in changed.values() if key(i) not in known]
    return sorted([*new, *merged], key=lambda i: (i.resolved_at is not None, i.severity.value))
