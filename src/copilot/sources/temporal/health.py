"""A Temporal frontend and its permissions, for `copilot doctor`. Read-only, a handful of calls."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode, ServerFacts
from copilot.settings.clusters import ClusterSettings
from copilot.sources.temporal.client import RateLimitedClient, connect_failure, rpc_error
from copilot.sources.temporal.discovery import QueueDiscovery, Watched
from copilot.sources.temporal.queues import QueueDescriber, QueueKey
from copilot.sources.temporal.source import MAX_LISTS

TIMEOUT_SEC = 5.0
DESCRIBED = 3

T = TypeVar("T")


class Frontend:
    """One frontend. Every method raises SourceError when it does not answer or refuses."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._timeout = timedelta(seconds=TIMEOUT_SEC)

    @property
    def address(self) -> str:
        """host:port."""
        return self._client.service_client.config.target_host

    @property
    def namespace(self) -> str:
        """The client's namespace."""
        return self._client.namespace

    async def version(self) -> str:
        """The server's version."""
        call = self._client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=self._timeout)
        return (await _answer(call)).server_version

    async def facts(self) -> ServerFacts:
        """Identity of the cluster behind it, the same at each of its frontends."""
        return await _answer(RateLimitedClient(self._client).server_facts())

    async def cluster_id(self) -> str:
        """The id of the cluster behind it, the same at each of its frontends."""
        return (await self.facts()).cluster_id

    async def find_namespace(self) -> None:
        """Return if the namespace exists."""
        request = DescribeNamespaceRequest(namespace=self.namespace)
        await _answer(self._client.workflow_service.describe_namespace(request, timeout=self._timeout))

    async def task_queues(self, cluster: ClusterSettings, now: Instant) -> tuple[tuple[QueueKey, ...], tuple[str, ...]]:
        """The task queues in use or named in settings, and the lists that permissions forbid, in words. Describes a few
        queues as the source does."""
        client = RateLimitedClient(self._client)
        discovery = QueueDiscovery(client, Watched(cluster, self.namespace))
        await _answer(discovery.advance(now, MAX_LISTS))
        if problem := discovery.problem():
            raise problem
        for key in discovery.queues[:DESCRIBED]:
            await _answer(QueueDescriber(client).describe(key, discovery.versions(key), Instant.now))
        return discovery.queues, discovery.refused()


async def _answer(call: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(TIMEOUT_SEC):
            return await call
    except TimeoutError as error:
        raise SourceError(MissingCode.TIMEOUT, f"no answer within {TIMEOUT_SEC:g} s") from error
    except RPCError as error:
        raise rpc_error(error) from error
    except RuntimeError as error:
        raise SourceError(MissingCode.TARGET_DOWN, connect_failure(error)) from error
