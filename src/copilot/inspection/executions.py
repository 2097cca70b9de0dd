"""Executions in trouble: what one inspection of a cluster found, by kind and namespace.

A part that could not be read keeps its last answer: `read_at` says of when, `problem` why there is no newer one.
"""

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from whenever import Instant


class _Document(BaseModel):
    """Base of the models: immutable; what a newer release adds is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ExecutionsKind(StrEnum):
    """What a part of an inspection is about. Closed ones are counted over the last window."""

    REPORTED_PROBLEMS = "reported_problems"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    TERMINATED = "terminated"
    OPEN_LONG = "open_long"
    OLDEST_OPEN = "oldest_open"
    OPEN = "open"


class Execution(_Document):
    """One open execution. `since`: when an inspection first saw it so. Ids are None where settings hide them, or where
    they held a secret; `url` is its page in Temporal's UI, None without ids or without a UI."""

    workflow_id: str | None = None
    run_id: str | None = None
    workflow_type: str
    task_queue: str
    started: Instant
    since: Instant
    cause: str = ""
    url: str | None = None


class Group(_Document):
    """How many of those listed have one type, task queue and cause; `first`: the earliest `since` of them."""

    workflow_type: str
    task_queue: str
    cause: str
    count: int
    first: Instant
    queue_url: str | None = None


class Part(_Document):
    """One kind in one namespace. `query` finds exactly these in visibility, `url` is that list in Temporal's UI (None
    without one). `count` None: never read; `at_least`: there are more. `before`: the count of the window before.
    `workflow_type` and `usual_sec`: of executions open longer than usual. `executions`: the first ten; `groups`: of
    those listed, the most first."""

    kind: ExecutionsKind
    namespace: str
    query: str
    url: str | None = None
    count: int | None = None
    at_least: bool = False
    before: int | None = None
    workflow_type: str = ""
    usual_sec: FiniteFloat | None = None
    groups: tuple[Group, ...] = ()
    executions: tuple[Execution, ...] = ()
    read_at: Instant | None = None
    problem: str = ""

    @property
    def key(self) -> tuple[ExecutionsKind, str, str]:
        """What tells it from the other parts."""
        return self.kind, self.namespace, self.workflow_type

    @property
    def in_trouble(self) -> bool:
        """Whether it has something that a person should look at: not the mere number of open ones, or the oldest."""
        return bool(self.count) and self.kind not in (ExecutionsKind.OPEN, ExecutionsKind.OLDEST_OPEN)


class NamespaceMemory(_Document):
    """What an inspection knows of a namespace for the next one. `tried`: when each kind of read was last tried;
    `durations`: seconds that closed executions took, by type, newest first, up to `learned_at`; `none_before`,
    `some_before`: no open execution started before the one time, more than a page of them before the other."""

    tried: dict[str, Instant] = Field(default_factory=dict)
    durations: dict[str, tuple[FiniteFloat, ...]] = Field(default_factory=dict)
    learned_at: Instant | None = None
    none_before: Instant | None = None
    some_before: Instant | None = None


class Inspection(_Document):
    """The executions of a cluster as read last. `problem`: why its namespaces could not be listed; `ids_hidden`: by
    settings. `listed_at`: when the namespaces were last listed. `memory` is for the next inspection alone."""

    cluster: str
    time: Instant
    ids_hidden: bool = False
    window_sec: FiniteFloat = 600.0
    namespaces: tuple[str, ...] = ()
    listed_at: Instant | None = None
    problem: str = ""
    parts: tuple[Part, ...] = ()
    memory: dict[str, NamespaceMemory] = Field(default_factory=dict)

    def chosen(self, kind: ExecutionsKind | None = None, namespace: str | None = None) -> list[Part]:
        """The parts of a kind and namespace, or of all: those in trouble first, in the order of the kinds."""
        found = [p for p in self.parts if kind in (None, p.kind) and namespace in (None, p.namespace)]
        order = list(ExecutionsKind)
        return sorted(found, key=lambda p: (not p.in_trouble, order.index(p.kind), -(p.count or 0), p.namespace))


def grouped(executions: Iterable[Execution]) -> tuple[Group, ...]:
    """Executions by type, task queue and cause, the most first."""
    groups: dict[tuple[str, str, str], Group] = {}
    for e in executions:
        key = (e.workflow_type, e.task_queue, e.cause)
        known = groups.get(key)
        groups[key] = Group(
            workflow_type=e.workflow_type,
            task_queue=e.task_queue,
            cause=e.cause,
            count=1 + (known.count if known else 0),
            first=min(e.since, known.first) if known else e.since,
        )
    return tuple(sorted(groups.values(), key=lambda g: (-g.count, g.first, g.workflow_type)))
