"""A Temporal frontend and its permissions, for `copilot doctor`. Read-only, a handful of calls."""

from contextlib import AbstractAsyncContextManager

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetSystemInfoRequest
from temporalio.client import Client
from whenever import Instant

from copilot.rules.signals.readings import ServerFacts
from copilot.settings.clusters import ClusterSettings
from copilot.sources import time_limit
from copilot.sources.temporal.client import RateLimitedClient
from copilot.sources.temporal.discovery import QueueDiscovery, Watched
from copilot.sources.temporal.queues import QueueDescriber, QueueKey
from copilot.sources.temporal.source import MAX_LISTS

TIMEOUT_SEC = 5.0
LISTS_TIMEOUT_SEC = 10.0
DESCRIBED = 3


class Frontend:
    """One frontend. Every method raises SourceError when it does not answer or refuses."""

    def __init__(self, client: Client) -> None:
        self._calls = RateLimitedClient(client)
        self.address = client.service_client.config.target_host
        self.namespace = client.namespace

    async def version(self) -> str:
        """The server's version."""
        async with _answering():
            return str((await self._calls.call(GetSystemInfoRequest())).server_version)

    async def facts(self) -> ServerFacts:
        """Identity of the cluster behind it, the same at each of its frontends."""
        async with _answering():
            return await self._calls.server_facts()

    async def find_namespace(self) -> None:
        """Return if the namespace exists."""
        async with _answering():
            await self._calls.call(DescribeNamespaceRequest(namespace=self.namespace))

    async def task_queues(self, cluster: ClusterSettings, now: Instant) -> tuple[tuple[QueueKey, ...], tuple[str, ...]]:
        """The task queues in use or named in settings, and the lists that permissions forbid, in words. Describes a few
        queues as the source does."""
        discovery = QueueDiscovery(self._calls, Watched(cluster, self.namespace))
        async with _answering(LISTS_TIMEOUT_SEC):
            await discovery.advance(now, MAX_LISTS)
        if problem := discovery.problem():
            raise problem
        for key in discovery.queues[:DESCRIBED]:
            async with _answering():
                await QueueDescriber(self._calls).describe(key, discovery.versions(key), Instant.now)
        return discovery.queues, discovery.refused()


def _answering(seconds: float = TIMEOUT_SEC) -> AbstractAsyncContextManager[None]:
    """SourceError without an answer in this time."""
    return time_limit(seconds, f"no answer within {seconds:g} s")
