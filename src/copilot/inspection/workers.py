"""The workers of a cluster by their heartbeats, those in trouble first. One that vanished stays listed for an hour."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, FiniteFloat
from whenever import Instant

KEEP_GONE_SEC = 3600.0
OFTEN = 3
FIRST_POLLS_SEC = 30.0
"""A worker's first heartbeat may come before its first poll."""
MOST_WORKERS = 1_000


class _Document(BaseModel):
    """Base of the models: immutable; what a newer release adds is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class WorkerState(StrEnum):
    """What is known of a worker: it beats; its heartbeat is overdue; it is no longer listed, or said that it ends."""

    LIVE = "live"
    STALE = "stale"
    GONE = "gone"


class Executor(_Document):
    """What executes one kind of task in a worker. `slots` None: not limited by number."""

    used: int = 0
    slots: int | None = None
    pollers: int = 0
    processed: int = 0
    failed: int = 0

    @property
    def full(self) -> bool:
        """Whether every slot is in use."""
        return self.slots is not None and 0 < self.slots <= self.used


class WorkerRow(_Document):
    """One worker as its last heartbeat tells. `cpu`, `memory`: shares of its host, 0 to 1, None where not told.
    `cache`: cached workflows, with hits and misses since its start. `gone_at`: when it was first missing. `restarts`:
    workers of this queue and host that vanished within the hour before this one started. `trouble`: what is wrong,
    worst first."""

    namespace: str
    task_queue: str
    instance: str
    identity: str = ""
    host: str = ""
    sdk: str = ""
    deployment: str = ""
    build: str = ""
    state: WorkerState = WorkerState.LIVE
    started: Instant | None = None
    last_heartbeat: Instant
    gone_at: Instant | None = None
    workflow: Executor = Executor()
    activity: Executor = Executor()
    nexus: Executor = Executor()
    cpu: FiniteFloat | None = None
    memory: FiniteFloat | None = None
    cache: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    restarts: int = 0
    trouble: tuple[str, ...] = ()
    queue_url: str | None = None
    workers_url: str | None = None
    deployment_url: str | None = None


class WorkersListed(_Document):
    """The workers of a cluster. `problem`: why heartbeats cannot be listed, or not of all workers; else empty."""

    cluster: str
    time: Instant
    problem: str = ""
    workers: tuple[WorkerRow, ...] = ()

    def chosen(self, namespace: str | None = None, task_queue: str | None = None) -> list[WorkerRow]:
        """The workers of a namespace and task queue, or all."""
        wanted = ((namespace, "namespace"), (task_queue, "task_queue"))
        return [w for w in self.workers if all(value in (None, getattr(w, name)) for value, name in wanted)]


def merged(before: WorkersListed | None, now: WorkersListed, listed: Iterable[str]) -> WorkersListed:
    """The workers listed now, and those of `before` that vanished within the hour. `listed`: the namespaces whose list
    is complete; of others nobody vanishes."""
    complete = frozenset(listed)
    rows = {row.instance: row for row in now.workers}
    for row in before.workers if before else ():
        if row.instance in rows:
            continue
        gone_at = row.gone_at or (now.time if row.namespace in complete else None)
        state = row.state if gone_at is None else WorkerState.GONE
        rows[row.instance] = row.model_copy(update={"gone_at": gone_at, "state": state})
    kept = [r for r in rows.values() if r.gone_at is None or (now.time - r.gone_at).total("seconds") < KEEP_GONE_SEC]
    judged = [_judged(row, kept) for row in kept]
    return now.model_copy(update={"workers": in_order(judged)[:MOST_WORKERS]})


def _judged(row: WorkerRow, every: Iterable[WorkerRow]) -> WorkerRow:
    """The row with its restarts and what is wrong with it."""
    restarts = sum(
        other.state is WorkerState.GONE
        and (other.namespace, other.task_queue, other.host) == (row.namespace, row.task_queue, row.host)
        and row.started is not None
        and other.last_heartbeat <= row.started
        for other in every
    )
    live = row.state is WorkerState.LIVE
    settled = row.started is None or (row.last_heartbeat - row.started).total("seconds") > FIRST_POLLS_SEC
    kinds = {"workflow": row.workflow, "activity": row.activity, "nexus": row.nexus}
    trouble = {
        "its heartbeat is overdue": row.state is WorkerState.STALE,
        f"started again {restarts} times within an hour": row.state is not WorkerState.GONE and restarts >= OFTEN,
        **{f"all {kind} slots are in use": live and each.full for kind, each in kinds.items()},
        "no pollers": live and settled and not any(each.pollers for each in kinds.values()),
    }
    said = tuple(text for text, so in trouble.items() if so)
    return row.model_copy(update={"restarts": restarts, "trouble": said})


def in_order(rows: Sequence[WorkerRow]) -> tuple[WorkerRow, ...]:
    """Grouped by task queue: the queue with the worst trouble first, and in it the worst worker; vanished ones last."""

    def badness(row: WorkerRow) -> tuple[bool, bool, int]:
        return row.state is WorkerState.GONE, not row.trouble, -len(row.trouble)

    worst: dict[tuple[str, str], tuple[bool, bool, int]] = {}
    for row in rows:
        key = (row.namespace, row.task_queue)
        worst[key] = min(badness(row), worst.get(key, badness(row)))
    return tuple(
        sorted(
            rows,
            key=lambda r: (
                worst[r.namespace, r.task_queue], r.namespace, r.task_queue, badness(r), r.host, r.instance,
            ),
        )
    )  # fmt: skip
