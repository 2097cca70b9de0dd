"""Changes of a watched cluster (a deploy, a config change, a restart, a scaling), and which of them are nearest to a
problem: by what they touch, then by time. They move no state."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, FiniteFloat
from whenever import Instant, TimeDelta

from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import Frozen

Kind: TypeAlias = Literal[
    "deploy", "config", "restart", "scaling", "routing", "build", "sdk_version", "server_version", "other"
]
"""`routing`: which version of a worker deployment gets tasks; `build`: a build id that is new."""
Touched: TypeAlias = Literal["namespace", "task_queue", "deployment", "build", "service", "instance"]
TOUCHED: tuple[Touched, ...] = ("namespace", "task_queue", "deployment", "build", "service", "instance")

MAX_TEXT, MAX_NAME, MAX_LINK = 300, 200, 500
BEFORE = TimeDelta(minutes=30)
MOST_BEFORE = 5
Name = Annotated[str, Field(max_length=MAX_NAME)]


class Change(Frozen):
    """One change. `at`: when it was made, or began. `who` made it. `source`: `told` by a person or a pipeline, or
    `seen` in what is read. `link`: a page about it. The other fields say what it touches; empty: not known. `text` of a
    change that is seen may grow (more workers restart)."""

    cluster: str
    at: Instant
    kind: Kind
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    who: Name = ""
    source: Literal["told", "seen"] = "told"
    link: Annotated[str, Field(max_length=MAX_LINK)] = ""
    namespace: Name = ""
    task_queue: Name = ""
    deployment: Name = ""
    build: Name = ""
    service: Name = ""
    instance: Name = ""

    @property
    def digest(self) -> str:
        """The same for the same change, however often it is reported or seen."""
        text = self.text if self.source == "told" else ""
        parts = (self.cluster, self.at.round("second").format_iso(), self.kind, self.source, text)
        return hashlib.sha256("\n".join((*parts, *(getattr(self, t) for t in TOUCHED))).encode()).hexdigest()[:32]


class ChangeBefore(Frozen):
    """A change before a problem: by how many seconds it precedes the first evidence, and what both have in common
    (fields of the change; empty: nothing that is known)."""

    change: Change
    before_sec: FiniteFloat
    shares: tuple[str, ...] = ()


def changes_before(changes: Iterable[Change], evaluation: Evaluation) -> tuple[ChangeBefore, ...]:
    """The changes within 30 minutes before the first evidence of the evaluation's problem: those that touch the same
    queue, version or process first, then those of the whole cluster, then those elsewhere; the nearest first among
    equals. Empty where there is no problem."""
    began = evaluation.began
    if began is None:
        return ()
    names = names_of_problem(evaluation)
    before = [
        ChangeBefore(change=c, before_sec=(began - c.at).total("seconds"), shares=_shared(c, names))
        for c in changes
        if TimeDelta.ZERO <= began - c.at <= BEFORE
    ]
    return tuple(sorted(before, key=lambda b: (_distance(b), b.before_sec))[:MOST_BEFORE])


def names_of_problem(evaluation: Evaluation) -> frozenset[str]:
    """The names in the problem: of queues, versions, deployments, builds, processes and services."""
    names: set[str] = set()
    for found in evaluation.findings:
        if found.contributing_factors:
            for value in (found.subject, *found.evidence.values()):
                names.update(value if isinstance(value, tuple) else value.split(", ") if isinstance(value, str) else ())
    for gate in evaluation.verdict.gates:
        if gate.fired:
            names.update(gate.labels.values())
    names |= {q.task_queue for q in evaluation.work.queues if evaluation.verdict.fired()}
    for rows in evaluation.signals.breakdowns.values():
        for row in rows:
            if (version := row.label("worker_version")) and row.label("task_queue") in names:
                names.add(version)
    names |= {part for name in names for part in name.split(":") if part and ":" in name}
    return frozenset(names - {""})


def _shared(change: Change, names: frozenset[str]) -> tuple[str, ...]:
    return tuple(t for t in TOUCHED if t != "namespace" and getattr(change, t) in names)


def _distance(before: ChangeBefore) -> int:
    if before.shares:
        return 0
    return 2 if any(getattr(before.change, t) for t in TOUCHED if t != "namespace") else 1


def newest_first(changes: Sequence[Change], limit: int) -> list[Change]:
    """The newest `limit` changes, the newest first."""
    return sorted(sorted(changes, key=lambda c: c.digest), key=lambda c: c.at, reverse=True)[:limit]
