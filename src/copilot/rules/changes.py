"""Changes of a watched cluster (a deploy, a config change, a restart, a scaling), and which of them are nearest to a
problem: by what they touch, then by time. They move no state."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import FiniteFloat
from whenever import Instant, TimeDelta

from copilot.rules.model import Evaluation
from copilot.rules.signals.change import MAX_NAME, MAX_TEXT, TOUCHED, Change, Kind
from copilot.rules.signals.readings import Frozen
from copilot.rules.targets import Process, versions_seen

BEFORE = TimeDelta(minutes=30)
MOST_BEFORE = 5
RECENT = TimeDelta(minutes=15)
APART = TimeDelta(minutes=5)
"""Restarts that are no further apart are one change."""


def changes_seen(evaluation: Evaluation, versions_before: Mapping[str, object]) -> tuple[Change, ...]:
    """The changes that an evaluation shows: those that were read, and of the server's processes. `versions_before`: the
    versions of the server in the memory before the tick."""
    return (*evaluation.signals.changes, *_server_restarts(evaluation), *_server_versions(evaluation, versions_before))


def _server_restarts(evaluation: Evaluation) -> Iterator[Change]:
    """One change for restarts of a service's processes that follow each other."""
    services: dict[str, list[Process]] = {}
    for process in evaluation.processes:
        if process.role == "server" and not process.gone:
            services.setdefault(", ".join(process.services), []).append(process)
    for service, processes in services.items():
        times = sorted((at for p in processes for at in p.restarted), reverse=True)
        if not times or evaluation.time - times[0] > RECENT:
            continue
        began = times[0]
        for at in times[1:]:
            began = at if began - at <= APART else began
        some = [p.name for p in processes if any(at >= began for at in p.restarted)]
        of = f"`{some[0]}`" if len(processes) == 1 else f"{len(some)} of {len(processes)} processes"
        text = f"{of} of the server restarted" + f" ({service})" * bool(service)
        yield _of_server(evaluation, began, "restart", text, service=service)


def _server_versions(evaluation: Evaluation, before: Mapping[str, object]) -> Iterator[Change]:
    for version in sorted(versions_seen({}, evaluation.signals).keys() - before.keys()) if before else ():
        text = f"the server runs version {version}, before: {', '.join(sorted(before))}"
        yield _of_server(evaluation, evaluation.time, "server_version", text, build=version)


def _of_server(evaluation: Evaluation, at: Instant, kind: Kind, text: str, **touches: str) -> Change:
    names: dict[str, Any] = {name: value[:MAX_NAME] for name, value in touches.items()}
    return Change(cluster=evaluation.cluster, at=at, kind=kind, text=text[:MAX_TEXT], source="seen", **names)


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
    return tuple(sorted(before, key=lambda b: (_distance(b), b.before_sec, b.change.kind == "build"))[:MOST_BEFORE])


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
    return tuple(t for t in TOUCHED if t != "namespace" and names & set(getattr(change, t).split(", ")))


def _distance(before: ChangeBefore) -> int:
    if before.shares:
        return 0
    return 2 if any(getattr(before.change, t) for t in TOUCHED if t != "namespace") else 1


def newest_first(changes: Sequence[Change], limit: int) -> list[Change]:
    """The newest `limit` changes, the newest first."""
    return sorted(sorted(changes, key=lambda c: c.digest), key=lambda c: c.at, reverse=True)[:limit]
