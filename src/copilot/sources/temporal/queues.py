"""Task queues: their descriptions by task type and worker version, in rotation, and the readings they add up to.

Rates are the server's own averages over about the last 30 seconds. Sticky queues are not included: a workflow task that
goes straight back to the worker with the workflow in its cache is not part of what the API adds up.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from temporalio.api.enums.v1 import DescribeTaskQueueMode, TaskQueueKind, TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue, TaskQueueStats, TaskQueueVersionSelection
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, BreakdownRow, MissingCode
from copilot.sources.temporal.changes import SeenChanges
from copilot.sources.temporal.client import RateLimitedClient, rpc_error
from copilot.sources.temporal.server_clock import Polls, ServerClock

BACKLOG_COUNT = "matching.backlog_count"
WORKFLOW_AGE = "matching.workflow_backlog_age_sec"
ACTIVITY_AGE = "matching.activity_backlog_age_sec"
ADDED = "demand.tasks_added_per_sec"
DISPATCHED = "matching.tasks_dispatched_per_sec"
RECENT_POLLERS = "poller.recent_pollers"
VERSION_BACKLOG = "version.backlog_count"
VERSION_POLLERS = "version.pollers"
VERSION_IDS = (VERSION_BACKLOG, VERSION_POLLERS)
POLLER_IDS = (RECENT_POLLERS, VERSION_POLLERS)
QUEUE_IDS = (BACKLOG_COUNT, WORKFLOW_AGE, ACTIVITY_AGE, ADDED, DISPATCHED, RECENT_POLLERS, *VERSION_IDS)

POLLER_RECENT_SEC = 75.0
TYPES = {kind: TaskQueueType.Value(f"TASK_QUEUE_TYPE_{kind.upper()}") for kind in ("workflow", "activity")}
KINDS = tuple(TYPES)
UNVERSIONED = "unversioned"
MAX_QUEUES = 50
SPARE_INTERVALS = 1.5
MAX_AGE_SEC = 600.0
_UNKNOWN_MODE = (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT)
Clock = Callable[[], Instant]
Versions = Callable[["QueueKey"], Sequence[str] | None]
"""The worker versions of a queue; None while they are not known."""
Labels = dict[str, str]
Rows = dict[str, tuple[BreakdownRow, ...]]


@dataclass(frozen=True, slots=True, order=True)
class QueueKey:
    """One task queue of one namespace, as workers name it."""

    namespace: str
    task_queue: str

    def __str__(self) -> str:
        return f"task queue {self.task_queue} of namespace {self.namespace}"

    @property
    def labels(self) -> dict[str, str]:
        """Its labels in a breakdown."""
        return {"namespace": self.namespace, "task_queue": self.task_queue}


class Part(NamedTuple):
    """Tasks of one type for one worker version: the backlog, the age of its oldest task in seconds, tasks added and
    dispatched per second, the pollers, and how many of them polled within 75 seconds: a long poll lasts 60."""

    backlog: int = 0
    age: float = 0.0
    added: float = 0.0
    dispatched: float = 0.0
    pollers: int = 0
    recent: int = 0


@dataclass(frozen=True, slots=True)
class Description:
    """A task queue at an instant, by task type and worker version. Without `by_version` the server does not tell
    versions apart, and the whole backlog is `unversioned`. `polling`: identities of those that polled within 75 s."""

    time: Instant
    parts: Mapping[tuple[str, str], Part]
    by_version: bool = True
    polling: frozenset[str] = frozenset()

    @property
    def size(self) -> tuple[int, float]:
        """Backlog, then tasks added per second: orders queues by size."""
        return sum(p.backlog for p in self.parts.values()), sum(p.added for p in self.parts.values())

    def of_kind(self, kind: str) -> Part:
        """One task type, all versions together."""
        parts = [p for (k, _), p in self.parts.items() if k == kind]
        age = max((p.age for p in parts if p.backlog), default=0.0)
        return Part(*map(sum, zip(*parts, strict=True)))._replace(age=age)


class QueueDescriber:
    """Describes task queues by rate-limited calls. `server_clock` dates the polls; `changes` gets the queues' limits,
    which servers give only where they do not tell versions apart."""

    def __init__(self, client: RateLimitedClient, changes: SeenChanges | None = None) -> None:
        self._client = client
        self._changes = changes
        self.server_clock = ServerClock()
        self._enhanced = True

    def cost(self, versions: Sequence[str] | None) -> int:
        """How many calls `describe` makes."""
        return 1 if self._enhanced and versions is not None else len(KINDS)

    async def describe(self, key: QueueKey, versions: Sequence[str] | None, now: Clock) -> Description:
        """The queue, dated by the clock `now`, for these worker versions and for unversioned tasks; `versions` None:
        they are not known. Raises SourceError."""
        if versions is not None and self._enhanced:
            try:
                return await self._by_version(key, versions, now)
            except RPCError as error:
                if error.status not in _UNKNOWN_MODE:
                    raise rpc_error(error, str(key)) from error
            description = await self._by_type(key, now)
            self._enhanced = False
            return description
        return await self._by_type(key, now)

    async def _by_version(self, key: QueueKey, versions: Sequence[str], now: Clock) -> Description:
        request = _request(
            key,
            api_mode=DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED,
            task_queue_types=TYPES.values(),
            versions=TaskQueueVersionSelection(unversioned=True, all_active=True, build_ids=versions),
            report_pollers=True,
        )
        requested = now()
        answer = await self._client.call_raw(request)
        found = {
            (kind, version or UNVERSIONED): by_type.types_info[number]
            for version, by_type in answer.versions_info.items()
            for kind, number in TYPES.items()
            if number in by_type.types_info
        }
        if not any(info.HasField("stats") for info in found.values()):
            raise RPCError("no stats by version", RPCStatusCode.UNIMPLEMENTED, b"")
        at = now()
        recent = self._recent(key, {part: info.pollers for part, info in found.items()}, requested, at)
        parts = {part: _part(info.stats, recent[part], len(info.pollers)) for part, info in found.items()}
        return Description(at, parts, polling=frozenset(p.identity for of in recent.values() for p in of))

    async def _by_type(self, key: QueueKey, now: Clock) -> Description:
        polling: set[str] = set()

        async def of_type(kind: str) -> Part:
            requested, part = now(), (kind, UNVERSIONED)
            request = _request(key, task_queue_type=TYPES[kind], report_config=True)
            answer = await self._client.call(request, str(key))
            if self._changes is not None:
                self._changes.limit(key.namespace, key.task_queue, kind, answer.config)
            if not answer.HasField("stats"):
                raise SourceError(MissingCode.ABSENT, "this server does not report backlogs", asked=str(key))
            recent = self._recent((key, kind), {part: answer.pollers}, requested, now())[part]
            polling.update(p.identity for p in recent)
            return _part(answer.stats, recent, len(answer.pollers))

        found = await asyncio.gather(*(of_type(kind) for kind in KINDS))
        parts = {(kind, UNVERSIONED): part for kind, part in zip(KINDS, found, strict=True)}
        return Description(now(), parts, by_version=False, polling=frozenset(polling))

    def _recent(
        self, listed: object, pollers: Polls, requested: Instant, at: Instant
    ) -> dict[tuple[str, str], list[PollerInfo]]:
        """Of the pollers that a call listed, those that polled within 75 seconds of `at`, by the servers' clock."""
        self.server_clock.listed(listed, pollers, requested, at)
        oldest = at.add(seconds=self.server_clock.ahead_sec - POLLER_RECENT_SEC).timestamp(unit="nanosecond")
        return {
            part: [p for p in found if p.last_access_time.ToNanoseconds() >= oldest] for part, found in pollers.items()
        }


def _request(key: QueueKey, **options: Any) -> DescribeTaskQueueRequest:
    queue = TaskQueue(name=key.task_queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
    return DescribeTaskQueueRequest(namespace=key.namespace, task_queue=queue, report_stats=True, **options)


def _part(stats: TaskQueueStats, recent: Sequence[PollerInfo], pollers: int) -> Part:
    return Part(
        backlog=max(0, stats.approximate_backlog_count),
        age=max(0.0, stats.approximate_backlog_age.ToNanoseconds() / 1e9),
        added=max(0.0, stats.tasks_add_rate),
        dispatched=max(0.0, stats.tasks_dispatch_rate),
        pollers=pollers,
        recent=len(recent),
    )


def worker_version(deployment: str, build: str) -> str:
    """A worker version as DescribeTaskQueue takes it."""
    return f"{deployment}:{build}"


class QueueRotation:
    """The newest description of each queue. At most 50 are described per evaluation, the largest always and the others
    in rotation, so a description may be as old as a full rotation, but no older than ten minutes. `now` is the
    clock."""

    def __init__(self, describer: QueueDescriber, interval_sec: float, now: Clock) -> None:
        self._describer = describer
        self._interval = interval_sec
        self._now = now
        self._last: dict[QueueKey, Description] = {}

    async def describe(
        self, keys: Collection[QueueKey], versions: Versions, calls: int, within_sec: float
    ) -> dict[QueueKey, Description]:
        """All queues, some described now by at most `calls` calls within `within_sec`, the others from their last turn.
        Raises SourceError if any is lacking: the backlog of some queues is not the backlog."""
        self._last = {key: self._last[key] for key in keys if key in self._last}
        turn = self._turn(keys, versions, calls)
        failures: dict[QueueKey, SourceError] = {}
        began = self._now()
        try:
            async with asyncio.timeout(within_sec):
                await asyncio.gather(*(self._one(key, versions(key), failures) for key in turn))
        except TimeoutError:
            late = SourceError(MissingCode.TIMEOUT, f"task queues not described within {within_sec:.1f} s")
            old = [k for k in turn if k not in self._last or self._last[k].time < began]
            failures = {**dict.fromkeys(old, late), **failures}
        if failures and len(failures) == len(turn):
            raise next(iter(failures.values()))
        fresh = self._fresh(len(keys), len(turn))
        if len(fresh) < len(keys):
            if lacking := [error for key, error in failures.items() if key not in fresh]:
                raise lacking[0]
            detail = f"{len(fresh)} of {len(keys)} task queues described so far: {len(turn)} at a time, in rotation"
            raise SourceError(MissingCode.DROPPED, detail)
        return fresh

    async def _one(self, key: QueueKey, versions: Sequence[str] | None, failures: dict[QueueKey, SourceError]) -> None:
        try:
            self._last[key] = await self._describer.describe(key, versions, self._now)
        except SourceError as error:
            failures[key] = error

    def _fresh(self, queues: int, per_turn: int) -> dict[QueueKey, Description]:
        """The descriptions that are no older than a full rotation."""
        turns = SPARE_INTERVALS + math.ceil(queues / max(1, per_turn // 2))
        limit = min(max(MAX_AGE_SEC, 4 * self._interval), turns * self._interval)
        now = self._now()
        return {k: d for k, d in self._last.items() if (now - d.time).total("seconds") <= limit}

    def _turn(self, keys: Collection[QueueKey], versions: Versions, calls: int) -> list[QueueKey]:
        """The queues to describe now: up to half are the largest, the rest those described longest ago."""
        last, chosen = self._last, dict[QueueKey, int]()

        def choose(keys: list[QueueKey], limit: int, calls: int) -> None:
            for key in keys:
                cost = self._describer.cost(versions(key))
                if len(chosen) >= limit or sum(chosen.values()) + cost > calls:
                    return
                chosen[key] = cost

        large = [k for k in keys if k in last and any(last[k].size)]
        choose(sorted(large, key=lambda k: last[k].size, reverse=True), MAX_QUEUES // 2, calls // 2)
        rest = sorted(set(keys) - chosen.keys(), key=lambda k: (last[k].time if k in last else Instant.MIN, k))
        choose(rest, MAX_QUEUES, calls)
        return list(chosen)


Total = Callable[[Iterable[float]], float]
_SIGNALS: tuple[tuple[str, str, Collection[str], Total], ...] = (
    (BACKLOG_COUNT, "backlog", KINDS, sum),
    (WORKFLOW_AGE, "age", ("workflow",), max),
    (ACTIVITY_AGE, "age", ("activity",), max),
    (ADDED, "added", KINDS, sum),
    (DISPATCHED, "dispatched", KINDS, sum),
)
"""Signal, its field of a part, its task types, and how values add up."""


def queue_readings(
    queues: Mapping[QueueKey, Description], polled: Collection[tuple[QueueKey, str]]
) -> tuple[dict[str, float], Rows]:
    """Readings and breakdowns of all queues. `polled`: the queues and task types that have had pollers, for which zero
    pollers is a reading. No version ids where a queue is not known by version, no poller ids where no poller is to be
    expected."""
    parts = {(key, kind): d.of_kind(kind) for key, d in sorted(queues.items()) for kind in KINDS}
    values: dict[str, float] = {}
    rows: Rows = {}
    for signal_id, field, kinds, total in _SIGNALS:
        found = [(_labels(*of), float(getattr(part, field))) for of, part in parts.items() if of[1] in kinds]
        values[signal_id] = float(total(value for _, value in found)) if found else 0.0
        rows[signal_id] = top_rows([row for row in found if row[1] > 0])
    pollers = [
        (_labels(*of), float(part.recent))
        for of, part in parts.items()
        if part.pollers or part.backlog or part.added or of in polled
    ]
    if pollers:
        values[RECENT_POLLERS] = sum(n for _, n in pollers)
        rows[RECENT_POLLERS] = top_rows(pollers, smallest=True)
    if all(d.by_version for d in queues.values()):
        # Both with the same rows: the queues with the largest backlog first, each with all its versions, so that a
        # version without pollers is next to those that have some.
        versions = [
            (parts[key, kind].backlog, part, _labels(key, kind, worker_version=version))
            for key, d in queues.items()
            for (kind, version), part in d.parts.items()
            if part.backlog or part.pollers or (version != UNVERSIONED and parts[key, kind].backlog)
        ]
        versions.sort(key=lambda row: (-row[0], -row[1].backlog, sorted(row[2].items())))
        for signal_id, field in zip(VERSION_IDS, ("backlog", "recent"), strict=True):
            shown = [(labels, float(getattr(part, field))) for _, part, labels in versions]
            if shown or signal_id == VERSION_BACKLOG:
                values[signal_id] = math.fsum(value for _, value in shown)
                rows[signal_id] = top_rows(shown[:MAX_BREAKDOWN_ROWS])
    return values, {signal_id: found for signal_id, found in rows.items() if found}


def _labels(key: QueueKey, kind: str, **more: str) -> Labels:
    return {**key.labels, "task_type": kind, **more}


def top_rows(values: Sequence[tuple[Labels, float]], *, smallest: bool = False) -> tuple[BreakdownRow, ...]:
    """At most 20 rows, largest first; with `smallest` the 20 smallest are chosen."""
    chosen = sorted(values, key=lambda v: v[1] if smallest else -v[1])[:MAX_BREAKDOWN_ROWS]
    return tuple(BreakdownRow(labels=labels, value=value) for labels, value in sorted(chosen, key=lambda v: -v[1]))
