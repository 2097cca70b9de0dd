"""What a Temporal frontend is and what we may ask of it, for `copilot doctor`. Read-only, a handful of calls."""

import asyncio
from collections.abc import Awaitable, Iterable
from datetime import timedelta
from typing import TypeVar

from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetClusterInfoRequest,
    GetSystemInfoRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError
from whenever import Instant

from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode
from copilot.sources.task_queues import QueueCalls, QueueKey, source_error
from copilot.sources.temporal_api import REMEMBER_SEC, connect_failure

TIMEOUT_SEC = 5.0
DESCRIBED = 3

T = TypeVar("T")


class Frontend:
    """A frontend, asked about itself. Every method raises SourceError when it does not answer or refuses."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._timeout = timedelta(seconds=TIMEOUT_SEC)

    @property
    def address(self) -> str:
        """host:port."""
        return self._client.service_client.config.target_host

    @property
    def namespace(self) -> str:
        """The namespace the client is for."""
        return self._client.namespace

    async def version(self) -> str:
        """The server's version."""
        call = self._client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=self._timeout)
        return (await _answer(call)).server_version

    async def cluster_id(self) -> str:
        """The id of the cluster behind it, the same at each of its frontends."""
        call = self._client.workflow_service.get_cluster_info(GetClusterInfoRequest(), timeout=self._timeout)
        return (await _answer(call)).cluster_id

    async def find_namespace(self) -> None:
        """Return if the namespace is there."""
        request = DescribeNamespaceRequest(namespace=self.namespace)
        await _answer(self._client.workflow_service.describe_namespace(request, timeout=self._timeout))

    async def task_queues(self, named: Iterable[str], ignored: Iterable[str], now: Instant) -> tuple[str, ...]:
        """The task queues in use and those named, a few of which were described as the source does."""
        calls, skip = QueueCalls(self._client), set(ignored)
        listed = await _in_time(calls.in_use(self.namespace, now.subtract(seconds=REMEMBER_SEC)))
        known = [q for q in sorted({*listed, *named}) if q not in skip and not q.startswith("temporal-sys")]
        for queue in known[:DESCRIBED]:
            await _in_time(calls.describe(QueueKey(self.namespace, queue), now))
        return tuple(known)


async def _answer(call: Awaitable[T]) -> T:
    try:
        return await _in_time(call)
    except RPCError as error:
        raise source_error(error, "") from error
    except RuntimeError as error:
        raise SourceError(MissingCode.TARGET_DOWN, connect_failure(error)) from error


async def _in_time(call: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(TIMEOUT_SEC):
            return await call
    except TimeoutError as error:
        raise SourceError(MissingCode.TIMEOUT, f"no answer within {TIMEOUT_SEC:g} s") from error
