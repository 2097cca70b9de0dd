"""src/copilot/api/openapi_examples.json: what the API answers in the middle of a recorded incident, shortened.

Written by `python -m tools.docs.api_examples`.
"""

import asyncio
import json
from typing import Any

import httpx
from whenever import Instant

from copilot import pipeline
from copilot.api.app import create_app
from copilot.api.deps import Deps
from copilot.api.openapi import EXAMPLES
from copilot.inspection.executions import Execution, ExecutionsKind, Group, Inspection, Part
from copilot.inspection.links import Links
from copilot.inspection.workers import Executor, WorkerRow, WorkersListed
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, ReportedState
from copilot.rules.mutes import HeldBack, Matcher, Mute, MuteEvent, seen
from copilot.rules.signals.change import Change
from lab.recorded_run import RECORDINGS, find_runs, load_run
from tests.evaluations import PROCESSES
from tests.fakes.memory_store import MemoryStore

RECORDING = "workers-down"
REQUESTS = (
    "/status", "/status/services", "/status/issues", "/status/summary", "/status/timeline", "/status/evaluation",
    "/signals/matching.backlog_count", "/logs/patterns", "/targets", "/clusters", "/incidents", "/incidents/FIRST",
    "/runbooks", "/runbooks/no_pollers", "/models", "/changes", "/silences", "/executions", "/workers", "/healthz",
    "/readyz", "/status/timeline?start=yesterday",
)  # fmt: skip
MAX_ITEMS = 2
MAX_TEXT = 400
READINGS = ("primary_signals", "amplifiers", "worker_signals", "readings")


class _Loop:
    """A loop with one evaluation."""

    def __init__(self, newest: Evaluation) -> None:
        self._newest = newest

    async def revision(self, cluster: str) -> str:  # noqa: ARG002
        return self._newest.evaluation_id

    async def evaluation(self, cluster: str) -> Evaluation | None:  # noqa: ARG002
        return self._newest

    async def cycle_sec(self, cluster: str) -> float | None:  # noqa: ARG002
        return None

    async def unsaved(self, cluster: str) -> str | None:  # noqa: ARG002
        return None

    async def problems(self, cluster: str) -> dict[str, str]:  # noqa: ARG002
        return {}


async def examples() -> dict[str, Any]:
    """Answers by the name of their model in /openapi.json."""
    run = load_run(RECORDING, find_runs(RECORDINGS)[RECORDING])
    ticks = (t.model_copy(update={"processes": PROCESSES[not t.targets.get("worker")]}) for t in run.ticks)
    context, evaluations = run.context(), list(pipeline.replay(ticks, run.context()))
    first = next(i for i, e in enumerate(evaluations) if e.verdict.health_state is ReportedState.CRITICAL)
    past, store = evaluations[: first + 1], MemoryStore()
    await store.save_snapshots([pipeline.snapshot(e, Memory(), context) for e in past])
    await store.save_changes([_deploy(context.cluster, past[-1].time.subtract(minutes=4))])
    now = past[-1].time.add(milliseconds=4_200)
    mute, acts = _acknowledged(context.cluster, past[-1])
    await store.save_mute_events(mute, acts)
    for kind, document in (("executions", executions), ("workers", workers)):
        await store.save_inspection(context.cluster, kind, now, document(context.cluster, now))
    deps = Deps(store=store, live=_Loop(past[-1]), clusters=(context.cluster,), now=lambda: now, elapsed=lambda: 0.0)
    app = create_app(deps)
    await app.state.live.refresh(context.cluster)
    found: dict[str, Any] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as api:
        paths = (await api.get("/openapi.json")).json()["paths"]
        incident = (await api.get("/incidents")).json()["incidents"][0]["id"]
        for request in REQUESTS:
            response = await api.get(request.replace("FIRST", incident), headers={"x-request-id": "5f0c2a9be1d4473a"})
            path = request.replace("/matching.backlog_count", "/{signal_id}").replace("/no_pollers", "/{name}")
            path = path.replace("FIRST", "{incident_id}")
            answers = paths[path.partition("?")[0]]["get"]["responses"]
            schema = answers[str(response.status_code)]["content"]["application/json"]["schema"]
            found[schema["$ref"].rpartition("/")[2]] = _shortened(response.json())
    found["ChangeLine"] = found["Changes"]["changes"][0]
    found["IncidentEntry"] = found["IncidentDetail"]["log"][0]
    found["MuteLine"] = found["Silences"]["silences"][0]
    return found


def _deploy(cluster: str, at: Instant) -> Change:
    return Change(cluster=cluster, at=at, kind="deploy", text="checkout 1.4.2", who="github-actions",
                  deployment="checkout", build="b42", link="https://ci.example.com/runs/4711")  # fmt: skip


def _acknowledged(cluster: str, e: Evaluation) -> tuple[Mute, list[MuteEvent]]:
    at, end = e.time, e.time.add(hours=4)
    mute = Mute(id="ack-3fa94c1b", kind="ack", matcher=Matcher(cluster=cluster), start=at, end=end, until=end,
                owner="ada", reason="restarting the workers", created_at=at, created_from="10.0.0.7")  # fmt: skip
    held = HeldBack(channel="pager", notification="firing", state=e.verdict.health_state, event_id=f"{cluster}:1")
    baseline = seen(at, e.verdict.health_state, e.findings, ())
    acts = [MuteEvent(mute_id=mute.id, kind="created", at=at, who="ada", origin="10.0.0.7", mute=mute),
            MuteEvent(mute_id=mute.id, kind="matched", at=at, baseline=baseline),
            MuteEvent(mute_id=mute.id, kind="held", at=at, held=held)]  # fmt: skip
    return mute, acts


def executions(cluster: str, now: Instant) -> dict[str, Any]:
    """One execution that reports problems."""
    links, query = Links("http://127.0.0.1:8233", "default"), "TemporalReportedProblems IS NOT NULL"
    of = {"workflow_type": "Checkout", "task_queue": "orders", "cause": "WorkflowWorkerUnhandledFailure"}
    since, run = now.subtract(minutes=9), "01a22f86-a1cd-7f0a-a9d8-b32b43af29ac"
    one = Execution(workflow_id="cart-17", run_id=run, started=since.subtract(minutes=1), since=since,
                    url=links.execution("cart-17", run), **of)  # fmt: skip
    group = Group(count=1, first=since, queue_url=links.task_queue("orders"), **of)
    part = Part(kind=ExecutionsKind.REPORTED_PROBLEMS, namespace="default", query=query, url=links.executions(query),
                count=1, groups=(group,), executions=(one,), read_at=now)  # fmt: skip
    return Inspection(cluster=cluster, time=now, parts=(part,)).model_dump(mode="json")


def workers(cluster: str, now: Instant) -> dict[str, Any]:
    """One worker."""
    executor = Executor(used=12, slots=100, pollers=5, processed=4_100)
    row = WorkerRow(namespace="default", task_queue="orders", instance="5f1c", identity="12@node-1", host="node-1",
                    sdk="temporal-python 1.35.0", deployment="orders", build="b42", started=now.subtract(hours=3),
                    last_heartbeat=now.subtract(seconds=20), workflow=executor, activity=executor, cpu=0.31, memory=0.5,
                    cache=212, cache_hits=9_000, cache_misses=4)  # fmt: skip
    return WorkersListed(cluster=cluster, time=now, workers=(row,)).model_dump(mode="json")


def _shortened(value: Any, name: str = "") -> Any:
    if isinstance(value, list):
        firing = [item for item in value if name != "gates" or item["fired"]]
        return [_shortened(item) for item in firing[:MAX_ITEMS]]
    if isinstance(value, dict):
        items = list(value.items())[: MAX_ITEMS if name in READINGS else None]
        return {key: _shortened(item, key) for key, item in items}
    return value[:MAX_TEXT] if isinstance(value, str) else value


def document() -> str:
    """The file."""
    return json.dumps(asyncio.run(examples()), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    EXAMPLES.write_text(document(), encoding="utf-8")
