"""Executions in trouble, on a real dev server with its metrics and on a visibility that is vast, refuses or is slow."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from temporalio import workflow
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsResponse, ListWorkflowExecutionsResponse
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from whenever import Instant

from copilot.inspection.executions import ExecutionsKind, Inspection, Part
from copilot.redaction.redactor import redacted_name
from copilot.settings.clusters import ClusterSettings, ExecutionsSettings, WatchedTemporal
from copilot.sources.temporal.client import RateLimitedClient
from copilot.sources.temporal.executions import CALLS_PER_NAMESPACE, ExecutionsReader
from tests.sources.watched_frontend import DevServer, dev_server

REPORTS_SOON = "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2"
NOON = Instant.from_utc(2026, 11, 30, 12)
UI = "http://ui.example:8080"


@workflow.defn
class Checkout:
    """Raises in its code: the workflow task fails again and again."""

    @workflow.run
    async def run(self, bug: bool) -> None:
        if bug:
            raise KeyError("discount")


@asynccontextmanager
async def checkouts(server: DevServer, *, stuck: int = 3, well: int = 25) -> AsyncIterator[None]:
    """A worker with stuck executions and others that complete, and one that was terminated."""
    runner = UnsandboxedWorkflowRunner()
    async with Worker(server.client, task_queue="orders", workflows=[Checkout], workflow_runner=runner):
        for n in range(stuck):
            await server.client.start_workflow(Checkout.run, True, id=f"stuck-{n}", task_queue="orders")
        ids = (f"well-{n}" for n in range(well))
        await asyncio.gather(
            *(server.client.execute_workflow(Checkout.run, False, id=i, task_queue="orders") for i in ids)
        )
        ended = await server.client.start_workflow(Checkout.run, True, id="ended", task_queue="orders")
        await ended.terminate()
        with pytest.raises(WorkflowFailureError):
            await ended.result()
        yield


def cluster(address: str = "there:7233", ui_url: str = UI, **executions: Any) -> ClusterSettings:
    return ClusterSettings(
        temporal=WatchedTemporal(address=address, namespaces=("default",), ui_url=ui_url),
        executions=ExecutionsSettings(**executions),
    )


def part(found: Inspection, kind: ExecutionsKind) -> Part:
    """The one part of that kind."""
    (only,) = found.chosen(kind)
    return only


async def visibility_calls(server: DevServer) -> float:
    """How many calls of visibility the server itself has counted."""
    async with httpx.AsyncClient() as client:
        page = (await client.get(server.metrics_url)).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.removesuffix("_total") == "service_requests"
        and sample.labels["service_name"] == "frontend"
        and sample.labels["operation"] in ("CountWorkflowExecutions", "ListWorkflowExecutions", "ListNamespaces")
    )


@pytest.mark.servers
async def test_stuck_executions_are_found_by_name_within_the_budget_of_calls(tmp_path: Path) -> None:
    async with dev_server(tmp_path, REPORTS_SOON) as server, checkouts(server):
        reader = ExecutionsReader(cluster(server.address), redact=redacted_name)
        found: Inspection | None = None
        before, asked = await visibility_calls(server), 0
        async with asyncio.timeout(90):
            while found is None or part(found, ExecutionsKind.REPORTED_PROBLEMS).count != 3 or asked < 4:
                found = await reader.inspect(found, Instant.now())
                asked += 1
                await asyncio.sleep(0.5)
        assert asked <= (await visibility_calls(server)) - before <= asked * CALLS_PER_NAMESPACE
        stuck = part(found, ExecutionsKind.REPORTED_PROBLEMS)
        assert {e.workflow_id for e in stuck.executions} == {"stuck-0", "stuck-1", "stuck-2"}
        assert {(g.workflow_type, g.task_queue) for g in stuck.groups} == {("Checkout", "orders")}
        # On a busy machine a workflow task may time out before it fails.
        assert "WorkflowWorkerUnhandledFailure" in {g.cause for g in stuck.groups}
        assert sum(g.count for g in stuck.groups) == 3
        assert parse_qs(urlsplit(stuck.url or "").query) == {"query": [stuck.query]}
        first = stuck.executions[0]
        assert first.url == f"{UI}/namespaces/default/workflows/{first.workflow_id}/{first.run_id}/history"
        ended = part(found, ExecutionsKind.TERMINATED)
        assert (ended.count, ended.before, part(found, ExecutionsKind.FAILED).count) == (1, 0, 0)
        listed = [e async for e in server.client.list_workflows(ended.query)]
        assert [e.id for e in listed] == ["ended"], "the query finds exactly what was counted"
        oldest = part(found, ExecutionsKind.OLDEST_OPEN)
        assert (oldest.executions[0].workflow_id, oldest.at_least) == ("stuck-0", False)
        assert part(found, ExecutionsKind.OPEN).count == 3
        assert len(found.memory["default"].durations["Checkout"]) == 25, "each closed one is learned from once"

        later = found
        for minute in (60, 61):
            later = await reader.inspect(later, Instant.now().add(minutes=minute))
        slow = part(later, ExecutionsKind.OPEN_LONG)
        assert (slow.workflow_type, slow.count, slow.usual_sec) == ("Checkout", 3, 60.0)
        assert part(later, ExecutionsKind.REPORTED_PROBLEMS).executions[0].since == first.since

        hidden = await ExecutionsReader(cluster(server.address, hide_ids=True), redact=redacted_name).inspect(
            None, Instant.now()
        )
        assert part(hidden, ExecutionsKind.REPORTED_PROBLEMS).url == stuck.url
        assert "stuck-" not in hidden.model_dump_json()
        assert str(first.run_id) not in hidden.model_dump_json()


@dataclass
class Visibility:
    """A frontend whose visibility has `open` executions, started over the last thirty days, evenly. `fails` says how a
    query fails. `asked`: every query, with its page token."""

    open: int = 10_000_000
    fails: dict[str, RPCStatusCode] = field(default_factory=dict)
    workflow_id: str = "cart-{}"
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    def _ask(self, request: Any, timeout: timedelta) -> int:
        """How many executions the query finds."""
        assert timeout.total_seconds() <= 3
        self.asked.append((request.query, getattr(request, "next_page_token", b"")))
        for word, status in self.fails.items():
            if word in request.query:
                raise RPCError(f"invalid query: {word} is not a valid search attribute", status, b"")
        before = re.search(r"StartTime < '([^']+)'", request.query)
        if "TemporalReportedProblems" in request.query or "Running" not in request.query:
            return 0
        step = 30 * 86_400 / self.open
        age = (NOON - Instant.parse_iso(before[1])).total("seconds") if before else 0.0
        return min(self.open, max(0, self.open - int(max(0.0, age) / step)))

    async def count_workflow_executions(self, request: Any, timeout: timedelta) -> CountWorkflowExecutionsResponse:
        return CountWorkflowExecutionsResponse(count=self._ask(request, timeout))

    async def list_workflow_executions(self, request: Any, timeout: timedelta) -> ListWorkflowExecutionsResponse:
        there = self._ask(request, timeout)
        answer = ListWorkflowExecutionsResponse(next_page_token=b"more" if there > request.page_size else b"")
        for n in range(there, max(0, there - request.page_size), -1):
            info = answer.executions.add(task_queue="orders")
            info.type.name, info.execution.run_id = "Checkout", f"run-{n}"
            info.execution.workflow_id = self.workflow_id.format(n)
            started = NOON.subtract(seconds=30 * 86_400 * n / self.open if self.open else 0)
            oldest = NOON.subtract(seconds=30 * 86_400)
            info.start_time.FromNanoseconds(
                (oldest.add(seconds=(NOON - started).total("seconds"))).timestamp(unit="nanosecond")
            )
        return answer

    def reader(self, **executions: Any) -> ExecutionsReader:
        client = cast(Client, SimpleNamespace(workflow_service=self))
        calls = RateLimitedClient(client, calls_per_sec=10_000)
        return ExecutionsReader(cluster(**executions), redact=redacted_name, calls=calls)


async def minutes(reader: ExecutionsReader, many: int, found: Inspection | None = None) -> Inspection:
    """So many inspections, a minute apart."""
    for _ in range(many):
        found = await reader.inspect(found, found.time.add(seconds=60) if found else NOON)
    assert found is not None
    return found


async def test_of_ten_million_open_ones_no_list_is_followed_and_the_oldest_is_found() -> None:
    there = Visibility()
    found = await minutes(there.reader(), 1)
    assert part(found, ExecutionsKind.OLDEST_OPEN).at_least
    found = await minutes(there.reader(), 45, found)
    assert len(there.asked) <= 46 * CALLS_PER_NAMESPACE
    assert {token for _, token in there.asked} == {b""}
    assert part(found, ExecutionsKind.OPEN).count == there.open
    oldest = part(found, ExecutionsKind.OLDEST_OPEN)
    assert (NOON - oldest.executions[0].started).total("hours") == pytest.approx(30 * 24, abs=0.1)


@pytest.mark.parametrize(
    ("word", "status", "said", "calls"),
    [
        ("TemporalReportedProblems", RPCStatusCode.INVALID_ARGUMENT, "this server has no search attribute", 5),
        ("Running", RPCStatusCode.PERMISSION_DENIED, "permission denied", 1),
        ("Running", RPCStatusCode.DEADLINE_EXCEEDED, "no answer in time", 1),
        ("Running", RPCStatusCode.UNAVAILABLE, "is not a valid search attribute", 1),
    ],
)
async def test_what_is_refused_or_late_keeps_its_last_answer_with_the_reason(
    word: str, status: RPCStatusCode, said: str, calls: int
) -> None:
    there = Visibility(open=3)
    before = await minutes(there.reader(), 1)
    there.asked, there.fails = [], {word: status}
    after = await minutes(there.reader(), 1, before)
    assert len(there.asked) == calls
    stuck = part(after, ExecutionsKind.REPORTED_PROBLEMS)
    assert said in stuck.problem
    assert (stuck.count, stuck.read_at) == (0, before.time)
    failed = part(after, ExecutionsKind.FAILED)
    assert (failed.read_at == after.time) is (calls > 1)
    assert bool(failed.problem) is (calls == 1)
    there.asked = []
    later = await minutes(there.reader(), 2, after)
    assert (word in str(there.asked)) is (calls == 1), (
        "an attribute that the server does not know is not asked for again"
    )
    there.fails = {}
    well = await minutes(there.reader(), 10, later)
    assert part(well, ExecutionsKind.REPORTED_PROBLEMS).problem == ""


async def test_an_id_with_a_secret_is_left_out_and_a_type_that_is_no_literal_is_not_asked_for() -> None:
    there = Visibility(open=3, workflow_id="order-of-jane.doe@example.com-{}")
    found = await minutes(there.reader(open_longer_than={"Check'out": 1.0, "Checkout": 1.0}), 3)
    assert "jane.doe" not in found.model_dump_json()
    assert part(found, ExecutionsKind.OPEN_LONG).count == 3
    assert not any("Check'out" in query for query, _ in there.asked)


async def test_a_server_that_is_not_there_is_said_and_nothing_is_zero() -> None:
    reader = ExecutionsReader(cluster("127.0.0.1:1"), redact=redacted_name)
    found = await reader.inspect(None, NOON)
    assert {p.count for p in found.parts} == {None}
    assert all("connect" in p.problem for p in found.parts), found.parts
