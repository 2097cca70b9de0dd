"""What a server that knows less of task queues is taken to say."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client
from whenever import Instant

from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode
from copilot.sources.paced_calls import PacedCalls
from copilot.sources.queue_calls import QueueCalls
from copilot.sources.task_queues import QueueKey


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
