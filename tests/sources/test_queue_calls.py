"""What servers that say less of task queues than there is are taken to say."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.sources.temporal.calls import PacedCalls, QueueCalls
from copilot.sources.temporal.discovery import Job, Known, QueueLists
from copilot.sources.temporal.queues import QueueKey


@pytest.mark.parametrize("enhanced", [False, True], ids=["neither mode", "versions without what waits"])
async def test_a_server_that_does_not_tell_what_waits_is_not_read_as_nothing_waits(enhanced: bool) -> None:
    async def describe_task_queue(request: DescribeTaskQueueRequest, timeout: timedelta) -> Any:  # noqa: ARG001
        answer = DescribeTaskQueueResponse()
        if enhanced and request.api_mode:
            answer.versions_info[""].types_info[1].pollers.add(identity="w")
        return answer

    there = SimpleNamespace(workflow_service=SimpleNamespace(describe_task_queue=describe_task_queue))
    calls = QueueCalls(PacedCalls(cast(Client, there)))
    with pytest.raises(SourceError, match="does not tell what waits") as caught:
        await calls.describe(QueueKey("default", "orders"), (), Instant.now)
    assert caught.value.code is MissingCode.ABSENT


async def test_a_quiet_queue_is_found_behind_a_page_full_of_a_busy_one() -> None:
    asked: list[str] = []

    async def list_workflow_executions(request: ListWorkflowExecutionsRequest, timeout: timedelta) -> Any:  # noqa: ARG001
        asked.append(request.query)
        there = [q for q in ["busy"] * 210 + ["it's"] + ["quiet"] if f"'{q}'" not in request.query]
        answer = ListWorkflowExecutionsResponse(next_page_token=b"more" if len(there) > request.page_size else b"")
        for queue in there[: request.page_size]:
            answer.executions.add(task_queue=queue)
        return answer

    there = SimpleNamespace(workflow_service=SimpleNamespace(list_workflow_executions=list_workflow_executions))
    known = Known(leaves_out=lambda _: False)
    await QueueLists(PacedCalls(cast(Client, there)), known).fetch(Job("running", "default"), Instant.now())
    assert {key.task_queue for key in known.seen} == {"busy", "it's", "quiet"}
    # So understood by server 1.32.
    assert asked[1] == "ExecutionStatus = \"Running\" AND TaskQueue NOT IN ('busy')"
