"""Calls to a Temporal frontend, never more than so many a second, and what its refusals mean."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import DescribeTaskQueueMode, TaskQueueKind, TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue, TaskQueueStats, TaskQueueVersionSelection
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.sources.temporal.queues import KINDS, UNVERSIONED, Description, Part, Poller, QueueKey

CALLS_PER_SEC = 10.0
AT_ONCE = 10
CALL_SEC = 3.0

T = TypeVar("T", bound=Message)
_CODES = {
    RPCStatusCode.DEADLINE_EXCEEDED: (MissingCode.TIMEOUT, "no answer in time"),
    RPCStatusCode.CANCELLED: (MissingCode.TIMEOUT, "no answer in time"),
    RPCStatusCode.PERMISSION_DENIED: (MissingCode.FORBIDDEN, "permission denied"),
    RPCStatusCode.UNAUTHENTICATED: (MissingCode.FORBIDDEN, "not authenticated"),
    RPCStatusCode.NOT_FOUND: (MissingCode.ABSENT, "not found"),
    RPCStatusCode.UNIMPLEMENTED: (MissingCode.ABSENT, "this server does not know the call"),
    RPCStatusCode.RESOURCE_EXHAUSTED: (MissingCode.DROPPED, "refused by a rate limit of the cluster"),
}


class PacedCalls:
    """Read-only calls whose beginnings lie at least 1 / `per_sec` seconds apart, `at_once` of them at a time. `made`
    counts them."""

    def __init__(
        self, client: Client, *, per_sec: float = CALLS_PER_SEC, at_once: int = AT_ONCE, timeout_sec: float = CALL_SEC
    ) -> None:
        self.service = client.workflow_service
        self.per_sec = per_sec
        self.made = 0
        self._timeout = timedelta(seconds=timeout_sec)
        self._slots = asyncio.Semaphore(at_once)
        self._gate = asyncio.Lock()
        self._next = 0.0

    async def ask(self, call: Callable[..., Awaitable[T]], request: Message, asked: str) -> T:
        """The answer. Raises SourceError, which names what was `asked`."""
        try:
            return await self.call(call, request)
        except RPCError as error:
            raise source_error(error, asked) from error

    async def call(self, call: Callable[..., Awaitable[T]], request: Message) -> T:
        """The answer, as `ask` has it. Raises RPCError, or SourceError when there is no connection."""
        async with self._slots:
            await self.turn()
            try:
                return await call(request, timeout=self._timeout)
            except RuntimeError as error:
                raise SourceError(MissingCode.TARGET_DOWN, connect_failure(error)) from error

    async def pages(self, call: Callable[..., Awaitable[Any]], request: Any, asked: str, most: int = 3) -> list[Any]:
        """The first `most` pages of a list. Raises SourceError."""
        found = [await self.ask(call, request, asked)]
        while found[-1].next_page_token and len(found) < most:
            request.next_page_token = found[-1].next_page_token
            found.append(await self.ask(call, request, asked))
        return found

    async def turn(self) -> None:
        """Wait until one more call may be made."""
        loop = asyncio.get_running_loop()
        async with self._gate:
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            self._next = loop.time() + 1.0 / self.per_sec
            self.made += 1


def source_error(error: RPCError, asked: str) -> SourceError:
    """Our error of a gRPC one, in one line."""
    code, detail = _CODES.get(error.status, (MissingCode.TARGET_DOWN, " ".join(error.message.split())[:160]))
    return SourceError(code, detail, asked=asked)


def connect_failure(error: RuntimeError) -> str:
    """Why no connection came about, in few words."""
    text = str(error)
    for known in ("Connection refused", "dns error", "certificate", "timed out"):
        if known.lower() in text.lower():
            return known.lower()
    return "cannot connect: " + " ".join(text.split())[:160]


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


MAX_QUEUES = 50
SPARE_INTERVALS = 1.5
GOOD_FOR_AT_MOST_SEC = 600.0
Versions = Callable[[QueueKey], Sequence[str] | None]


class Describes(Protocol):
    """What describes queues: `QueueCalls`."""

    def cost(self, versions: Sequence[str] | None, /) -> int:
        """How many calls a description takes."""
        ...

    async def describe(self, key: QueueKey, versions: Sequence[str] | None, now: Clock, /) -> Description:
        """A queue. Raises SourceError."""
        ...


class QueueTurns:
    """The newest description of each queue. With more than 50 of them one is as old as its turn is long, ten minutes at
    most. `now` is the clock."""

    def __init__(self, calls: Describes, interval_sec: float, now: Clock) -> None:
        self._calls = calls
        self._interval = interval_sec
        self._now = now
        self._last: dict[QueueKey, Description] = {}

    async def describe(
        self, keys: Collection[QueueKey], versions: Versions, calls: int, within_sec: float
    ) -> dict[QueueKey, Description]:
        """All of the queues, described now by up to so many calls within so many seconds, or when it was their turn.
        Raises SourceError if that is not all of them: a part of the work that waits is not the work that waits."""
        self._last = {key: found for key, found in self._last.items() if key in set(keys)}
        turn = self._turn(keys, versions, calls)
        failures: dict[QueueKey, SourceError] = {}
        began = self._now()
        try:
            async with asyncio.timeout(within_sec):
                await asyncio.gather(*(self._one(key, versions(key), failures) for key in turn))
        except TimeoutError:
            late = SourceError(MissingCode.TIMEOUT, f"task queues not described within {within_sec:.1f} s")
            before = [k for k in turn if k not in self._last or self._last[k].time < began]
            failures = {**dict.fromkeys(before, late), **failures}
        if failures and len(failures) == len(turn):
            raise next(iter(failures.values()))
        fresh = self._fresh(len(keys), len(turn))
        if len(fresh) < len(keys):
            if lacking := [error for key, error in failures.items() if key not in fresh]:
                raise lacking[0]
            raise SourceError(
                MissingCode.DROPPED,
                f"{len(fresh)} of {len(keys)} task queues described so far: {len(turn)} a cycle are, in turn",
            )
        return fresh

    async def _one(self, key: QueueKey, versions: Sequence[str] | None, failures: dict[QueueKey, SourceError]) -> None:
        try:
            self._last[key] = await self._calls.describe(key, versions, self._now)
        except SourceError as error:
            failures[key] = error

    def _fresh(self, queues: int, at_a_time: int) -> dict[QueueKey, Description]:
        """The descriptions that are good still: those of the last turn of everybody."""
        cycles = SPARE_INTERVALS + math.ceil(queues / max(1, at_a_time // 2))
        limit = min(max(GOOD_FOR_AT_MOST_SEC, 4 * self._interval), cycles * self._interval)
        now = self._now()
        return {k: d for k, d in self._last.items() if (now - d.time).total("seconds") <= limit}

    def _turn(self, keys: Collection[QueueKey], versions: Versions, calls: int) -> list[QueueKey]:
        """Whom to describe now: up to half for the largest, the rest in turn."""
        last, never = self._last, Instant.MIN
        chosen: dict[QueueKey, int] = {}

        def choose(keys: list[QueueKey], most: int, calls: int) -> None:
            for key in keys:
                cost = self._calls.cost(versions(key))
                if len(chosen) >= most or sum(chosen.values()) + cost > calls:
                    return
                chosen[key] = cost

        large = [k for k in keys if k in last and any(last[k].size)]
        choose(sorted(large, key=lambda k: last[k].size, reverse=True), MAX_QUEUES // 2, calls // 2)
        rest = [k for k in keys if k not in chosen]
        choose(sorted(rest, key=lambda k: (last[k].time if k in last else never, k)), MAX_QUEUES, calls)
        return list(chosen)
