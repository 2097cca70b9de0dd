"""/executions and /workers: what is read beside the verdict, from the cache, with its age."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel
from whenever import Instant

from copilot.api.caching import NOT_MODIFIED, body, respond
from copilot.api.deps import Deps
from copilot.api.live import VerdictCache
from copilot.api.parameters import chosen_cluster
from copilot.explain.executions import executions_sentence, workers_sentence
from copilot.inspection.executions import ExecutionsKind, Inspection, Part
from copilot.inspection.workers import WorkerRow, WorkersListed

NOT_INSPECTED = "nothing was read yet: it takes a `copilot worker` with the cluster's Temporal address, and a minute"
NamespaceQuery = Annotated[str | None, Query(description="Only this namespace")]


class Beside(BaseModel):
    """The first fields of both answers. `time`: when it was read, null before the first time; `age_sec`: seconds since
    then; `problem`: why there is nothing, or nothing newer, else null."""

    cluster: str
    time: Instant | None
    age_sec: float | None
    summary: str
    problem: str | None


class Executions(Beside):
    """Executions in trouble by kind and namespace, those in trouble first; closed ones of the last `window_sec` against
    the window before. `ids_hidden`: settings hide the ids of executions."""

    window_sec: float
    ids_hidden: bool
    parts: list[Part]


class Workers(Beside):
    """The workers by their heartbeats, grouped by task queue, those in trouble first."""

    workers: list[WorkerRow]
    truncated: bool


def routes(deps: Deps, cache: VerdictCache) -> APIRouter:
    """The two routes, over one cache."""
    router = APIRouter(tags=["inspection"], responses=NOT_MODIFIED)
    choose = Depends(chosen_cluster(deps.clusters))

    @router.get("/executions", response_model=Executions)
    async def executions(
        request: Request,
        cluster: Annotated[str, choose],
        kind: ExecutionsKind | None = None,
        namespace: NamespaceQuery = None,
        limit: Annotated[int, Query(ge=0, le=10, description="Executions listed of each kind")] = 10,
    ) -> Response:
        """Executions in trouble: counts, the first of each kind, and links into Temporal's UI."""
        view = cache.view(cluster)
        found = view.executions
        parts = found.chosen(kind, namespace) if found else []
        answer = Executions(
            **_head(view.cluster, found, executions_sentence(found, view.now) if found else ""),
            window_sec=found.window_sec if found else 0.0,
            ids_hidden=bool(found and found.ids_hidden),
            parts=[p.model_copy(update={"executions": p.executions[:limit]}) for p in parts],
        )
        return respond(request, body(answer, age_sec=_age(view.now, answer.time)))

    @router.get("/workers", response_model=Workers)
    async def workers(
        request: Request,
        cluster: Annotated[str, choose],
        namespace: NamespaceQuery = None,
        task_queue: Annotated[str | None, Query(description="Only this task queue")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
    ) -> Response:
        """The workers by their heartbeats; one that vanished stays listed for an hour."""
        view = cache.view(cluster)
        found = view.workers
        rows = found.chosen(namespace, task_queue) if found else []
        answer = Workers(
            **_head(view.cluster, found, workers_sentence(found) if found else ""),
            workers=rows[:limit],
            truncated=len(rows) > limit,
        )
        return respond(request, body(answer, age_sec=_age(view.now, answer.time)))

    return router


def _head(cluster: str, found: Inspection | WorkersListed | None, summary: str) -> dict[str, Any]:
    """The fields of Beside, but for the age, which is added when the body is sent."""
    if found is None:
        return {"cluster": cluster, "time": None, "age_sec": None, "summary": summary, "problem": NOT_INSPECTED}
    problem = found.problem or None
    return {"cluster": cluster, "time": found.time, "age_sec": None, "summary": summary, "problem": problem}


def _age(now: Instant, time: Instant | None) -> float | None:
    return None if time is None else round(max(0.0, (now - time).total("seconds")), 1)
