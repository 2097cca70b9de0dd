"""What waits in task queues: which queues there are, how each is described, and the readings that gives."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueKind, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.core.errors import SourceError
from copilot.core.signals import MAX_BREAKDOWN_ROWS, BreakdownRow, MissingCode

BACKLOG_COUNT = "matching.backlog_count"
WORKFLOW_AGE = "matching.workflow_backlog_age_sec"
ACTIVITY_AGE = "matching.activity_backlog_age_sec"
RECENT_POLLERS = "poller.recent_pollers"
QUEUE_IDS = (BACKLOG_COUNT, WORKFLOW_AGE, ACTIVITY_AGE, RECENT_POLLERS)

POLLER_RECENT_SEC = 75.0
TYPES = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}
_CODES = {
    RPCStatusCode.DEADLINE_EXCEEDED: (MissingCode.TIMEOUT, "no answer in time"),
    RPCStatusCode.CANCELLED: (MissingCode.TIMEOUT, "no answer in time"),
    RPCStatusCode.PERMISSION_DENIED: (MissingCode.FORBIDDEN, "permission denied"),
    RPCStatusCode.UNAUTHENTICATED: (MissingCode.FORBIDDEN, "not authenticated"),
    RPCStatusCode.NOT_FOUND: (MissingCode.ABSENT, "not found"),
    RPCStatusCode.UNIMPLEMENTED: (MissingCode.ABSENT, "this server does not know the call"),
    RPCStatusCode.RESOURCE_EXHAUSTED: (MissingCode.DROPPED, "refused by a rate limit of the cluster"),
}


@dataclass(frozen=True, slots=True, order=True)
class QueueKey:
    """One task queue of one namespace, as workers spell it."""

    namespace: str
    task_queue: str


@dataclass(frozen=True, slots=True)
class Half:
    """One type's half of a task queue: tasks that wait, age of the oldest in seconds, tasks added per second, and
    pollers seen in the last 75 seconds."""

    backlog: int
    age: float
    added: float
    pollers: int


@dataclass(frozen=True, slots=True)
class Description:
    """A task queue as it was at an instant, by task type."""

    time: Instant
    halves: dict[str, Half]

    @property
    def backlog(self) -> int:
        """Tasks of all types that wait."""
        return sum(h.backlog for h in self.halves.values())


class QueueCalls:
    """The calls about task queues, no more than `per_sec` a second and `at_once` at a time."""

    def __init__(self, client: Client, *, per_sec: float = 10.0, at_once: int = 4, timeout_sec: float = 3.0) -> None:
        self._client = client
        self._gap = 1.0 / per_sec
        self._timeout = timedelta(seconds=timeout_sec)
        self._slots = asyncio.Semaphore(at_once)
        self._next = 0.0

    async def in_use(self, namespace: str, since: Instant) -> set[str]:
        """Task queues of the newest workflows of a namespace, running or closed after `since` (a short workflow is
        seldom seen running). Raises SourceError."""
        running, closed = await asyncio.gather(
            self._listed(namespace, 'ExecutionStatus = "Running"'),
            self._listed(namespace, f'ExecutionStatus != "Running" AND CloseTime > "{since.format_iso()}"'),
        )
        return running | closed

    async def _listed(self, namespace: str, query: str) -> set[str]:
        request = ListWorkflowExecutionsRequest(namespace=namespace, page_size=200, query=query)
        try:
            async with self._slots:
                await self._turn()
                answer = await self._client.workflow_service.list_workflow_executions(request, timeout=self._timeout)
        except RPCError as error:
            raise source_error(error, f"the workflows of namespace {namespace}") from error
        return {execution.task_queue for execution in answer.executions}

    async def describe(self, key: QueueKey, now: Instant) -> Description:
        """The queue's backlog and pollers. Raises SourceError."""
        halves = await asyncio.gather(*(self._half(key, kind, now) for kind in TYPES), return_exceptions=True)
        for half in halves:
            if isinstance(half, BaseException):
                raise half
        return Description(now, {kind: h for kind, h in zip(TYPES, halves, strict=True) if isinstance(h, Half)})

    async def _half(self, key: QueueKey, kind: str, now: Instant) -> Half:
        request = DescribeTaskQueueRequest(
            namespace=key.namespace,
            task_queue=TaskQueue(name=key.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL),
            task_queue_type=TYPES[kind],
            report_stats=True,
        )
        try:
            async with self._slots:
                await self._turn()
                answer = await self._client.workflow_service.describe_task_queue(request, timeout=self._timeout)
        except RPCError as error:
            raise source_error(error, f"task queue {key.task_queue} of namespace {key.namespace}") from error
        stats = answer.stats
        oldest = now.timestamp(unit="nanosecond") / 1e9 - POLLER_RECENT_SEC
        return Half(
            backlog=max(0, stats.approximate_backlog_count),
            age=max(0.0, stats.approximate_backlog_age.ToNanoseconds() / 1e9),
            added=max(0.0, stats.tasks_add_rate),
            pollers=sum(p.last_access_time.ToNanoseconds() / 1e9 >= oldest for p in answer.pollers),
        )

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        turn = max(self._next, loop.time())
        self._next = turn + self._gap
        await asyncio.sleep(turn - loop.time())


def source_error(error: RPCError, asked: str) -> SourceError:
    """Our error of a gRPC one, in one line."""
    code, detail = _CODES.get(error.status, (MissingCode.TARGET_DOWN, " ".join(error.message.split())[:160]))
    return SourceError(code, detail, asked=asked)


def queue_readings(
    queues: dict[QueueKey, Description], polled: Iterable[tuple[QueueKey, str]]
) -> tuple[dict[str, float], dict[str, tuple[BreakdownRow, ...]]]:
    """Readings and breakdowns of all queues together. `polled`: halves that have had pollers, whose zero tells."""
    had_pollers = set(polled)
    halves = [(key, kind, half) for key, d in sorted(queues.items()) for kind, half in d.halves.items()]
    expected_polls = [
        (key, kind, half)
        for key, kind, half in halves
        if half.pollers or half.backlog or half.added or (key, kind) in had_pollers
    ]
    ages = {kind: [(k, t, h.age) for k, t, h in halves if t == kind and h.backlog] for kind in TYPES}
    rows = {
        BACKLOG_COUNT: _rows([(k, t, float(h.backlog)) for k, t, h in halves if h.backlog]),
        WORKFLOW_AGE: _rows(ages["workflow"]),
        ACTIVITY_AGE: _rows(ages["activity"]),
        RECENT_POLLERS: _rows([(k, t, float(h.pollers)) for k, t, h in expected_polls], smallest=True),
    }
    values = {
        BACKLOG_COUNT: float(sum(h.backlog for _, _, h in halves)),
        WORKFLOW_AGE: max((age for *_, age in ages["workflow"]), default=0.0),
        ACTIVITY_AGE: max((age for *_, age in ages["activity"]), default=0.0),
    }
    if expected_polls:
        values[RECENT_POLLERS] = float(sum(h.pollers for *_, h in expected_polls))
    return values, {signal_id: found for signal_id, found in rows.items() if found}


def _rows(values: Sequence[tuple[QueueKey, str, float]], *, smallest: bool = False) -> tuple[BreakdownRow, ...]:
    """At most 20 rows, largest first; with `smallest` the 20 smallest are chosen."""
    chosen = sorted(values, key=lambda v: v[2] if smallest else -v[2])[:MAX_BREAKDOWN_ROWS]
    return tuple(
        BreakdownRow(labels={"namespace": key.namespace, "task_queue": key.task_queue, "task_type": kind}, value=value)
        for key, kind, value in sorted(chosen, key=lambda v: -v[2])
    )
