"""A Temporal frontend and its permissions, for `copilot doctor`. Read-only, a handful of calls."""

from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

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


class InUse(NamedTuple):
    """What is in use: the task queues, the lists that permissions forbid, in words, and how many workers of which SDK
    send heartbeats; None where the server does not list them, or may not."""

    queues: tuple[QueueKey, ...]
    refused: tuple[str, ...]
    workers: Counter[str] | None


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

    async def in_use(self, cluster: ClusterSettings, now: Instant) -> InUse:
        """The task queues in use or named in settings, and the workers. Describes a few queues as the source does."""
        discovery = QueueDiscovery(self._calls, Watched(cluster, self.namespace))
        async with _answering(LISTS_TIMEOUT_SEC):
            await discovery.advance(now, MAX_LISTS)
        if problem := discovery.problem():
            raise problem
        for key in discovery.queues[:DESCRIBED]:
            async with _answering():
                await QueueDescriber(self._calls).describe(key, discovery.versions(key), Instant.now)
        beats = [beat for _, beat in discovery.heartbeats.live(discovery.namespaces)]
        workers = Counter(f"{beat.sdk_name} {beat.sdk_version}".strip() for beat in beats)
        unlisted = discovery.workers_unlisted() is not None
        return InUse(discovery.queues, discovery.refused(), None if unlisted else workers)


def _answering(seconds: float = TIMEOUT_SEC) -> AbstractAsyncContextManager[None]:
    """SourceError without an answer in this time."""
    return time_limit(seconds, f"no answer within {seconds:g} s")
