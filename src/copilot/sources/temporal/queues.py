"""What waits in task queues and who asks for it: a described queue, and the readings that many of them give.

Rates are the server's own average over the last 30 seconds or so. Sticky queues are not in them: a workflow task that
went straight back to the worker that knows the workflow is no part of what the API adds up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from whenever import Instant

from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, BreakdownRow

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
KINDS = ("workflow", "activity")
UNVERSIONED = "unversioned"


@dataclass(frozen=True, slots=True, order=True)
class QueueKey:
    """One task queue of one namespace, as workers spell it."""

    namespace: str
    task_queue: str


@dataclass(frozen=True, slots=True)
class Poller:
    """Who asked for tasks: the identity it gives itself, its worker version (`deployment:build`, or `unversioned`), and
    when it asked last."""

    identity: str
    version: str
    last_access: Instant

    def recent(self, now: Instant) -> bool:
        """Whether it asked within 75 seconds: a long poll lasts 60."""
        return (now - self.last_access).total("seconds") <= POLLER_RECENT_SEC


@dataclass(frozen=True, slots=True)
class Part:
    """Tasks of one type for one worker version: those that wait, the age of the oldest in seconds, tasks added and
    handed out per second, and who asks for them."""

    backlog: int = 0
    age: float = 0.0
    added: float = 0.0
    dispatched: float = 0.0
    pollers: tuple[Poller, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """A task queue as it was at an instant, by task type and worker version. Without `by_version` the server told no
    versions apart, and all that waits stands under `unversioned`."""

    time: Instant
    parts: Mapping[tuple[str, str], Part]
    by_version: bool = True

    @property
    def size(self) -> tuple[int, float]:
        """How large it is: tasks that wait, then those that arrive per second."""
        return sum(p.backlog for p in self.parts.values()), sum(p.added for p in self.parts.values())

    def half(self, kind: str) -> Part:
        """One task type of it, all versions together."""
        parts = [p for (k, _), p in self.parts.items() if k == kind]
        return Part(
            backlog=sum(p.backlog for p in parts),
            age=max((p.age for p in parts if p.backlog), default=0.0),
            added=sum(p.added for p in parts),
            dispatched=sum(p.dispatched for p in parts),
            pollers=tuple(poller for p in parts for poller in p.pollers),
        )

    def polled(self, part: Part) -> int:
        """How many pollers of the part asked lately."""
        return sum(p.recent(self.time) for p in part.pollers)


Row = tuple[dict[str, str], float]
Rows = dict[str, tuple[BreakdownRow, ...]]


def queue_readings(
    queues: Mapping[QueueKey, Description], polled: Iterable[tuple[QueueKey, str]]
) -> tuple[dict[str, float], Rows]:
    """Readings and breakdowns of all queues together. `polled`: halves that have had pollers, whose zero tells. The
    version ids have none where a queue is not known by version, the poller ids none where nobody is to be expected."""
    had = set(polled)
    halves = [(key, kind, d.half(kind), d) for key, d in sorted(queues.items()) for kind in KINDS]
    pollers = {
        (key, kind): d.polled(half)
        for key, kind, half, d in halves
        if half.pollers or half.backlog or half.added or (key, kind) in had
    }
    values: dict[str, float] = {}
    rows: Rows = {}

    def add(signal_id: str, of: Callable[[Part], float], *, total: Callable[[list[float]], float] = sum) -> None:
        found = [(_labels(key, kind), of(half)) for key, kind, half, _ in halves if _applies(signal_id, kind)]
        values[signal_id] = float(total([value for _, value in found]))
        rows[signal_id] = _rows([row for row in found if row[1] > 0])

    add(BACKLOG_COUNT, lambda half: half.backlog)
    add(WORKFLOW_AGE, lambda half: half.age, total=lambda ages: max(ages, default=0.0))
    add(ACTIVITY_AGE, lambda half: half.age, total=lambda ages: max(ages, default=0.0))
    add(ADDED, lambda half: half.added)
    add(DISPATCHED, lambda half: half.dispatched)
    if pollers:
        values[RECENT_POLLERS] = float(sum(pollers.values()))
        rows[RECENT_POLLERS] = _rows([(_labels(*k), float(n)) for k, n in pollers.items()], smallest=True)
    if all(d.by_version for d in queues.values()):
        _add_versions(queues, values, rows)
    return values, {signal_id: found for signal_id, found in rows.items() if found}


def _applies(signal_id: str, kind: str) -> bool:
    return signal_id not in (WORKFLOW_AGE, ACTIVITY_AGE) or signal_id.startswith(f"matching.{kind}_")


@dataclass(frozen=True, slots=True)
class _OfVersion:
    queue_backlog: int
    backlog: int
    pollers: int
    labels: dict[str, str]


def _add_versions(queues: Mapping[QueueKey, Description], values: dict[str, float], rows: Rows) -> None:
    """Backlog and pollers by worker version. Both have the same rows: first the queues where most waits, all their
    versions, so that a version nobody polls stands beside those that are."""
    found = [
        _OfVersion(
            d.half(kind).backlog,
            part.backlog,
            d.polled(part),
            {**_labels(key, kind), "worker_version": version},
        )
        for key, d in queues.items()
        for (kind, version), part in d.parts.items()
        if part.backlog or part.pollers or (version != UNVERSIONED and d.half(kind).backlog)
    ]
    found.sort(key=lambda v: (-v.queue_backlog, -v.backlog, sorted(v.labels.items())))
    shown = found[:MAX_BREAKDOWN_ROWS]
    values[VERSION_BACKLOG] = float(sum(v.backlog for v in found))
    rows[VERSION_BACKLOG] = _rows([(v.labels, float(v.backlog)) for v in shown])
    if found:
        values[VERSION_POLLERS] = float(sum(v.pollers for v in found))
        rows[VERSION_POLLERS] = _rows([(v.labels, float(v.pollers)) for v in shown])


def _labels(key: QueueKey, kind: str) -> dict[str, str]:
    return {"namespace": key.namespace, "task_queue": key.task_queue, "task_type": kind}


def _rows(values: Sequence[Row], *, smallest: bool = False) -> tuple[BreakdownRow, ...]:
    """At most 20 rows, largest first; with `smallest` the 20 smallest are chosen."""
    chosen = sorted(values, key=lambda v: v[1] if smallest else -v[1])[:MAX_BREAKDOWN_ROWS]
    return tuple(BreakdownRow(labels=labels, value=value) for labels, value in sorted(chosen, key=lambda v: -v[1]))
