"""Reads executions in trouble from Temporal's visibility: at most six calls a minute and namespace, each within 3 s.

Counts and first pages only; no list is followed beyond its first page, however many executions are open. Facts that
were tried: TemporalReportedProblems is set after the fifth failure of a workflow task in a row and cleared by the next
success (servers since 1.30); GROUP BY works for ExecutionStatus alone; visibility sorts no list as asked.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any, TypeVar

from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    ListNamespacesRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.errors import SourceError
from copilot.inspection.executions import Execution, ExecutionsKind, Inspection, NamespaceMemory, Part, grouped
from copilot.inspection.links import Links, ui_of
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.temporal.client import RateLimitedClient, connect_config, rpc_error, watched_client
from copilot.sources.temporal.discovery import SYSTEM_NAMESPACES

CALLS_PER_NAMESPACE = 6
NAMESPACES_AT_ONCE = 4
NAMESPACES_PER_MINUTE = 20
LIST_NAMESPACES_SEC = 600.0
WITHIN_SEC = 30.0
WINDOW_SEC = 600.0
SHOWN = 10
PROBLEMS_LISTED = 100
LEARNED_FROM = 200
DURATIONS_KEPT = 50
TYPES_KEPT = 20
ENOUGH_TO_LEARN = 20
USUAL_TIMES, LEAST_USUAL_SEC = 3.0, 60.0
"""Open longer than usual: three times as long as 95 % of its type took, and at least a minute."""
EVERY_SEC = {"learn": 300.0, "unknown": 600.0}
CLOSE_SEC = 60.0
LONGEST_AGE_SEC = 10 * 365 * 86_400.0

PROBLEMS = "TemporalReportedProblems"
OPEN = "ExecutionStatus = 'Running'"
REPORTED = f"{PROBLEMS} IS NOT NULL AND {OPEN}"
UNKNOWN_ATTRIBUTE = f"this server has no search attribute {PROBLEMS}: servers set it since 1.30"
CLOSED = {
    ExecutionsKind.FAILED: "Failed",
    ExecutionsKind.TIMED_OUT: "TimedOut",
    ExecutionsKind.TERMINATED: "Terminated",
}
_NO_LITERAL = frozenset("'\\")
_ENDS_NAMESPACE = (MissingCode.FORBIDDEN, MissingCode.TIMEOUT, MissingCode.TARGET_DOWN, MissingCode.DROPPED)
T = TypeVar("T")


class OverBudget(Exception):
    """This namespace's calls of the minute are made."""


class ExecutionsReader:
    """Reads one cluster. `redact` cleans names; an id that it changes is left out. SettingsError where the cluster's
    profile cannot be read."""

    def __init__(
        self, cluster: ClusterSettings, *, redact: Callable[[str], str], calls: RateLimitedClient | None = None
    ) -> None:
        self._cluster = cluster
        self._temporal = cluster.temporal or WatchedTemporal()
        self._redact = redact
        self._calls = calls

    async def inspect(self, before: Inspection | None, now: Instant) -> Inspection:
        """The executions at `now`. What cannot be read, or is not due, keeps its answer from `before`."""
        if (calls := self._calls) is None:
            calls = self._calls = RateLimitedClient(await watched_client(self._temporal))
        before = before or Inspection(cluster=self._cluster.name, time=now)
        namespaces, listed_at, problem = await self._namespaces(calls, before, now)
        last = {p.key: p for p in before.parts if p.namespace in namespaces}
        memory = {name: before.memory.get(name, NamespaceMemory()) for name in namespaces}
        turn = sorted(namespaces, key=lambda name: (max(memory[name].tried.values(), default=Instant.MIN), name))
        room, loop = asyncio.Semaphore(NAMESPACES_AT_ONCE), asyncio.get_running_loop()
        end = loop.time() + WITHIN_SEC

        async def of(namespace: str) -> list[Part] | None:
            async with room:
                if loop.time() > end:
                    return None
                reading = _Reading(self, calls, namespace, now, memory[namespace], last)
                parts = await reading.read()
                memory[namespace] = reading.memory
                return parts

        read = await asyncio.gather(*(of(name) for name in turn[:NAMESPACES_PER_MINUTE]))
        done = {name: parts for name, parts in zip(turn, read, strict=False) if parts is not None}
        kept = [p for p in last.values() if p.namespace not in done]
        return Inspection(
            cluster=self._cluster.name,
            time=now,
            ids_hidden=self.hide_ids,
            window_sec=WINDOW_SEC,
            namespaces=namespaces,
            listed_at=listed_at,
            problem=problem,
            parts=(*kept, *(part for parts in done.values() for part in parts)),
            memory=memory,
        )

    @property
    def hide_ids(self) -> bool:
        """Whether settings hide the ids of executions."""
        return self._cluster.executions.hide_ids

    @property
    def limits(self) -> dict[str, float]:
        """Seconds after which an open execution of a type is open too long, by settings."""
        return self._cluster.executions.open_longer_than

    def links(self, namespace: str) -> Links:
        """Links to a namespace's pages."""
        return Links(ui_of(self._temporal.address, self._temporal.ui_url), namespace)

    def clean(self, name: str) -> str:
        """A name without secrets."""
        return self._redact(name)

    async def _namespaces(
        self, calls: RateLimitedClient, before: Inspection, now: Instant
    ) -> tuple[tuple[str, ...], Instant | None, str]:
        """The namespaces to read, when they were listed, and why they could not be."""
        if self._temporal.namespaces:
            return self._temporal.namespaces, None, ""
        if before.listed_at is not None and (now - before.listed_at).total("seconds") < LIST_NAMESPACES_SEC:
            return before.namespaces, before.listed_at, ""
        own = connect_config(self._temporal).get("namespace") or self._temporal.namespace
        try:
            answer = await calls.call(ListNamespacesRequest(page_size=200), "the namespaces")
        except SourceError as error:
            refused = error.code is MissingCode.FORBIDDEN
            return before.namespaces or (own,), now if refused else None, "" if refused else str(error)
        found = {n.namespace_info.name for n in answer.namespaces} - SYSTEM_NAMESPACES
        return tuple(sorted(found)) or (own,), now, ""


class _Reading:
    """One minute's reading of one namespace."""

    def __init__(
        self, reader: ExecutionsReader, calls: RateLimitedClient, namespace: str, now: Instant,
        memory: NamespaceMemory, last: dict[tuple[ExecutionsKind, str, str], Part],
    ) -> None:  # fmt: skip
        self._reader, self._calls, self._namespace, self._now = reader, calls, namespace, now
        self._links = reader.links(namespace)
        self._last = {key: part for key, part in last.items() if part.namespace == namespace}
        self._left = CALLS_PER_NAMESPACE
        self._stopped = ""
        self.memory = memory

    async def read(self) -> list[Part]:
        """All parts: those that were due as they are now, the others as they were read last."""
        if self._due("unknown"):
            await self._part(self._reported(), ExecutionsKind.REPORTED_PROBLEMS, REPORTED)
        await self._closed()
        jobs: dict[str, Callable[[], Awaitable[None]]] = {"open": self._open, "learn": self._learn}
        jobs["oldest"] = self._oldest
        limits = self._limits()
        jobs |= {f"type {name}": lambda name=name: self._open_long(name, limits[name]) for name in limits}  # type: ignore[misc]
        for key in [key for key in self._last if key[0] is ExecutionsKind.OPEN_LONG and key[2] not in limits]:
            del self._last[key]
        tried = self.memory.tried
        for name in sorted(jobs, key=lambda name: tried.get(name, Instant.MIN)):
            if self._left <= 0:
                break
            if self._due(name):
                self._tried(name)
                await jobs[name]()
        known = {"open", "learn", "oldest", "unknown", *jobs}
        self.memory = self.memory.model_copy(
            update={"tried": {name: at for name, at in self.memory.tried.items() if name in known}}
        )
        return list(self._last.values())

    # Calls and parts.

    def _due(self, name: str) -> bool:
        tried = self.memory.tried.get(name)
        return tried is None or (self._now - tried).total("seconds") >= EVERY_SEC.get(name, 0.0)

    def _tried(self, name: str) -> None:
        self.memory = self.memory.model_copy(update={"tried": {**self.memory.tried, name: self._now}})

    async def _call(self, request: Any) -> Any:
        """The answer. SourceError; OverBudget."""
        if self._stopped:
            raise SourceError(MissingCode.DROPPED, self._stopped)
        if self._left <= 0:
            raise OverBudget
        self._left -= 1
        try:
            return await self._calls.call_raw(request)
        except RPCError as error:
            if error.status is RPCStatusCode.INVALID_ARGUMENT and PROBLEMS in request.query:
                self._tried("unknown")
                raise SourceError(MissingCode.ABSENT, UNKNOWN_ATTRIBUTE) from error
            failed = rpc_error(error)
        except SourceError as error:
            failed = error
        if failed.code in _ENDS_NAMESPACE:  # The next calls would fare no better, and take 3 s each.
            self._stopped = failed.detail
        raise failed

    async def _list(self, query: str, page_size: int = SHOWN) -> tuple[list[WorkflowExecutionInfo], bool]:
        """The first page, and whether there are more."""
        request = ListWorkflowExecutionsRequest(namespace=self._namespace, page_size=page_size, query=query)
        answer = await self._call(request)
        return list(answer.executions), bool(answer.next_page_token)

    async def _count(self, query: str) -> Any:
        return await self._call(CountWorkflowExecutionsRequest(namespace=self._namespace, query=query))

    async def _part(self, reading: Awaitable[Part], kind: ExecutionsKind, query: str, workflow_type: str = "") -> None:
        """Keep what is read; where it cannot be, the last answer with the reason."""
        key = (kind, self._namespace, workflow_type)
        try:
            self._last[key] = await reading
        except OverBudget:
            return
        except SourceError as error:
            self._failed(kind, query, error.detail, workflow_type)

    def _failed(self, kind: ExecutionsKind, query: str, why: str, workflow_type: str = "") -> None:
        key = (kind, self._namespace, workflow_type)
        last = self._last.get(key)
        part = last or self._new(kind, query, None, workflow_type=self._reader.clean(workflow_type), read_at=None)
        self._last[key] = part.model_copy(update={"problem": self._reader.clean(why)})

    def _new(self, kind: ExecutionsKind, query: str, count: int | None, **more: Any) -> Part:
        shown = self._reader.clean(query)
        url = self._links.executions(query) if shown == query else None
        fields = {"read_at": self._now, **more}
        return Part(kind=kind, namespace=self._namespace, query=shown, url=url, count=count, **fields)

    def _executions(self, infos: list[WorkflowExecutionInfo], kind: ExecutionsKind) -> list[Execution]:
        """The executions as they are kept, with when an inspection first saw each of them so."""
        clean = self._reader.clean
        seen: dict[tuple[ExecutionsKind, str], Instant] = {}
        for part in self._last.values():
            seen |= {(part.kind, e.run_id): e.since for e in part.executions if e.run_id}
        found = []
        for info in infos:
            started = Instant.from_timestamp(info.start_time.ToNanoseconds(), unit="nanosecond")
            ids = (info.execution.workflow_id, info.execution.run_id)
            shown = not self._reader.hide_ids and clean(ids[0]) == ids[0]
            found.append(
                Execution(
                    workflow_id=ids[0] if shown else None,
                    run_id=ids[1] if shown else None,
                    workflow_type=clean(info.type.name),
                    task_queue=clean(info.task_queue),
                    started=started,
                    since=seen.get((kind, ids[1]), self._now),
                    cause=cause_of(info),
                    url=self._links.execution(*ids) if shown else None,
                )
            )
        return found

    # What is read.

    async def _reported(self) -> Part:
        kind, key = ExecutionsKind.REPORTED_PROBLEMS, (ExecutionsKind.REPORTED_PROBLEMS, self._namespace, "")
        infos, more = await self._list(REPORTED, PROBLEMS_LISTED)
        count = int((await self._count(REPORTED)).count) if more else len(infos)
        listed = self._executions(infos, kind)
        # Those past the first ten, and hidden ones, are not remembered one by one: a group keeps its first time.
        before = (
            {(g.workflow_type, g.task_queue, g.cause): g for g in self._last[key].groups} if key in self._last else {}
        )
        groups = []
        for group in grouped(listed):
            known = before.get((group.workflow_type, group.task_queue, group.cause))
            first = min(group.first, known.first) if known else group.first
            url = self._links.task_queue(group.task_queue)
            groups.append(group.model_copy(update={"first": first, "queue_url": url}))
        listed.sort(key=lambda e: (e.since, e.started))
        return self._new(kind, REPORTED, count, groups=tuple(groups[:SHOWN]), executions=tuple(listed[:SHOWN]))

    async def _closed(self) -> None:
        """Failed, timed out and terminated ones of the last window and of the one before: two calls for all three."""
        end = self._now.round("second", mode="floor")
        start, earlier = end.subtract(seconds=WINDOW_SEC), end.subtract(seconds=2 * WINDOW_SEC)
        statuses = ", ".join(f"'{status}'" for status in CLOSED.values())
        of = f"ExecutionStatus IN ({statuses}) AND CloseTime >= '{{}}' AND CloseTime < '{{}}' GROUP BY ExecutionStatus"
        query = "ExecutionStatus = '{}' AND CloseTime >= '{}' AND CloseTime < '{}'".format
        try:
            now = by_status(await self._count(of.format(start.format_iso(), end.format_iso())))
            before = by_status(await self._count(of.format(earlier.format_iso(), start.format_iso())))
        except OverBudget:
            return
        except SourceError as error:
            for kind, status in CLOSED.items():
                self._failed(kind, query(status, start.format_iso(), end.format_iso()), error.detail)
            return
        for kind, status in CLOSED.items():
            text = query(status, start.format_iso(), end.format_iso())
            part = self._new(kind, text, now.get(status, 0), before=before.get(status, 0))
            self._last[kind, self._namespace, ""] = part

    async def _open(self) -> None:
        async def read() -> Part:
            return self._new(ExecutionsKind.OPEN, OPEN, int((await self._count(OPEN)).count))

        await self._part(read(), ExecutionsKind.OPEN, OPEN)

    async def _learn(self) -> None:
        """How long executions of each type take, from a page of closed ones."""
        since = f" AND CloseTime > '{self.memory.learned_at.format_iso()}'" if self.memory.learned_at else ""
        try:
            infos, _ = await self._list(f"ExecutionStatus = 'Completed'{since}", LEARNED_FROM)
        except (SourceError, OverBudget):
            return
        taken: dict[str, list[float]] = {}
        for info in infos:
            name, seconds = info.type.name, (info.close_time.ToNanoseconds() - info.start_time.ToNanoseconds()) / 1e9
            if self._usable(name):
                taken.setdefault(name, []).append(max(0.0, seconds))
        kept = {name: tuple(seconds[:DURATIONS_KEPT]) for name, seconds in taken.items()}
        for name, earlier in self.memory.durations.items():
            kept[name] = (*kept.get(name, ()), *earlier)[:DURATIONS_KEPT]
        durations = dict(list(kept.items())[:TYPES_KEPT])
        self.memory = self.memory.model_copy(update={"durations": durations, "learned_at": self._now})

    def _usable(self, name: str) -> bool:
        """Whether a type's name can be written in a query and kept."""
        return not _NO_LITERAL.intersection(name) and self._reader.clean(name) == name

    def _limits(self) -> dict[str, float]:
        """Seconds after which an open execution is open longer than usual, by type."""
        learned = {
            name: max(LEAST_USUAL_SEC, USUAL_TIMES * sorted(seconds)[ceil(0.95 * len(seconds)) - 1])
            for name, seconds in self.memory.durations.items()
            if len(seconds) >= ENOUGH_TO_LEARN
        }
        return {**learned, **{name: limit for name, limit in self._reader.limits.items() if self._usable(name)}}

    async def _open_long(self, name: str, limit_sec: float) -> None:
        since = self._now.subtract(seconds=limit_sec).round("second", mode="floor").format_iso()
        query = f"{OPEN} AND WorkflowType = '{name}' AND StartTime < '{since}'"

        async def read() -> Part:
            infos, more = await self._list(query)
            count = int((await self._count(query)).count) if more and self._left > 0 else len(infos)
            found = self._executions(infos, ExecutionsKind.OPEN_LONG)
            return self._new(
                ExecutionsKind.OPEN_LONG, query, count, at_least=more and count == len(infos),
                workflow_type=name, usual_sec=limit_sec, executions=tuple(found), groups=grouped(found),
            )  # fmt: skip

        await self._part(read(), ExecutionsKind.OPEN_LONG, query, name)

    async def _oldest(self) -> None:
        """The oldest open one. Lists have the newest first, so a moment is sought before which one page holds all: at
        once where few are open, else by bisection, a step a minute. Until it is found, it is at least so old."""
        none, some = self.memory.none_before, self.memory.some_before
        if none is None:
            moment = self._now
        else:
            moment = none.add(seconds=CLOSE_SEC if some is None else (some - none).total("seconds") / 2)
        query = before_moment(moment)
        await self._part(self._oldest_before(moment, none, some), ExecutionsKind.OLDEST_OPEN, query)

    async def _oldest_before(self, moment: Instant, none: Instant | None, some: Instant | None) -> Part:
        infos, more = await self._list(before_moment(moment))
        if not infos and none is not None and some is None and self._left > 0:  # The last one has closed.
            none, moment = moment, self._now
            infos, more = await self._list(before_moment(moment))
        last = self._last.get((ExecutionsKind.OLDEST_OPEN, self._namespace, ""))
        if not infos:
            self._bounds(moment if some else None, some)
            return last if last and some else self._new(ExecutionsKind.OLDEST_OPEN, OPEN, 0)
        oldest = min(self._executions(infos, ExecutionsKind.OLDEST_OPEN), key=lambda e: e.started)
        earliest = none or self._now.subtract(seconds=LONGEST_AGE_SEC)
        if not more:
            self._bounds(oldest.started.round("second", mode="floor"), None)
        else:
            close = (moment - earliest).total("seconds") <= CLOSE_SEC
            self._bounds(earliest, None if close else moment)
        return self._new(ExecutionsKind.OLDEST_OPEN, before_moment(moment), 1, at_least=more, executions=(oldest,))

    def _bounds(self, none: Instant | None, some: Instant | None) -> None:
        self.memory = self.memory.model_copy(update={"none_before": none, "some_before": some})


def before_moment(moment: Instant) -> str:
    """The query for open executions that started before this second's end."""
    return f"{OPEN} AND StartTime < '{moment.round('second', mode='ceil').format_iso()}'"


def by_status(answer: Any) -> dict[str, int]:
    """Counts of a GROUP BY ExecutionStatus: the values are JSON strings."""
    return {json.loads(group.group_values[0].data): int(group.count) for group in answer.groups}


def cause_of(info: WorkflowExecutionInfo) -> str:
    """Why an execution reports problems, as Temporal names it: WorkflowWorkerUnhandledFailure; else empty."""
    payload = info.search_attributes.indexed_fields.get(PROBLEMS)
    try:
        values = json.loads(payload.data) if payload is not None else []
    except ValueError:
        return ""
    texts = [str(value) for value in (values if isinstance(values, list) else [values])]
    cause = next((t.partition("=")[2] for t in texts if t.startswith("cause=")), "")
    for prefix in ("WorkflowTaskFailedCause", "WorkflowTaskTimedOutCause"):
        cause = cause.removeprefix(prefix)
    return cause
