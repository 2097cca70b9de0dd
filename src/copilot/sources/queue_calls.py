"""How a task queue is described: one call tells both task types and all worker versions asked for.

Facts of server 1.32. The enhanced mode answers for the versions it is given (`deployment:build`; `all_active` leaves
deployments out), so they must be known. The default mode takes a call per task type and adds the versions up: it is
used where versions cannot be known, and at servers without the other. Either is up to five seconds old
(matching.TaskQueueInfoByBuildIdTTL).
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import DescribeTaskQueueMode, TaskQueueKind, TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue, TaskQueueStats, TaskQueueVersionSelection
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode
from copilot.sources.paced_calls import PacedCalls, source_error
from copilot.sources.task_queues import KINDS, UNVERSIONED, Description, Part, Poller, QueueKey

TYPES = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}
Clock = Callable[[], Instant]
_ENHANCED = DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED
_VERSIONED = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
_UNKNOWN_MODE = (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT)


class QueueCalls:
    """Describes task queues by paced calls."""

    def __init__(self, calls: PacedCalls) -> None:
        self._calls = calls
        self._enhanced = True

    def cost(self, versions: Sequence[str] | None) -> int:
        """How many calls `describe` takes."""
        return 1 if self._enhanced and versions is not None else len(KINDS)

    async def describe(self, key: QueueKey, versions: Sequence[str] | None, now: Clock) -> Description:
        """The queue as it is, dated by the clock `now`, for these worker versions and for tasks of none; None:
        versions are not known. Raises SourceError."""
        asked = f"task queue {key.task_queue} of namespace {key.namespace}"
        if versions is not None and self._enhanced:
            try:
                return await self._by_version(key, versions, now)
            except RPCError as error:
                if error.status not in _UNKNOWN_MODE:
                    raise source_error(error, asked) from error
            description = await self._by_type(key, asked, now)
            self._enhanced = False
            return description
        return await self._by_type(key, asked, now)

    async def _by_version(self, key: QueueKey, versions: Sequence[str], now: Clock) -> Description:
        request = DescribeTaskQueueRequest(
            namespace=key.namespace,
            task_queue=_queue(key),
            api_mode=_ENHANCED,
            task_queue_types=TYPES.values(),
            versions=TaskQueueVersionSelection(unversioned=True, all_active=True, build_ids=versions),
            report_stats=True,
            report_pollers=True,
        )
        answer = await self._calls.call(self._calls.service.describe_task_queue, request)
        told = [found for by_type in answer.versions_info.values() for found in by_type.types_info.values()]
        if not any(found.HasField("stats") for found in told):
            raise RPCError("no versions are told", RPCStatusCode.UNIMPLEMENTED, b"")
        parts = {
            (kind, version or UNVERSIONED): _part(by_type.types_info[number].stats, by_type.types_info[number].pollers)
            for version, by_type in answer.versions_info.items()
            for kind, number in TYPES.items()
            if number in by_type.types_info
        }
        return Description(now(), parts)

    async def _by_type(self, key: QueueKey, asked: str, now: Clock) -> Description:
        async def of_type(kind: str) -> Part:
            request = DescribeTaskQueueRequest(
                namespace=key.namespace, task_queue=_queue(key), task_queue_type=TYPES[kind], report_stats=True
            )
            answer = await self._calls.ask(self._calls.service.describe_task_queue, request, asked)
            if not answer.HasField("stats"):
                raise SourceError(MissingCode.ABSENT, "this server does not tell what waits", asked=asked)
            return _part(answer.stats, answer.pollers)

        found = await asyncio.gather(*(of_type(kind) for kind in KINDS))
        parts = {(kind, UNVERSIONED): part for kind, part in zip(KINDS, found, strict=True)}
        return Description(now(), parts, by_version=False)


def _queue(key: QueueKey) -> TaskQueue:
    return TaskQueue(name=key.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL)


def _part(stats: TaskQueueStats, pollers: Iterable[PollerInfo]) -> Part:
    return Part(
        backlog=max(0, stats.approximate_backlog_count),
        age=max(0.0, stats.approximate_backlog_age.ToNanoseconds() / 1e9),
        added=max(0.0, stats.tasks_add_rate),
        dispatched=max(0.0, stats.tasks_dispatch_rate),
        pollers=tuple(Poller(p.identity, _version(p), _instant(p.last_access_time)) for p in pollers),
    )


def _version(poller: PollerInfo) -> str:
    options = poller.deployment_options
    versioned = options.deployment_name and options.worker_versioning_mode == _VERSIONED
    return version_of(options.deployment_name, options.build_id) if versioned else UNVERSIONED


def version_of(deployment: str, build: str) -> str:
    """How a worker version is written: as DescribeTaskQueue takes it."""
    return f"{deployment}:{build}"


def _instant(time: Timestamp) -> Instant:
    return Instant.from_timestamp(time.ToNanoseconds(), unit="nanosecond")
