"""The targets for people: a row for each process, and a sentence about all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whenever import Instant

from copilot.explain.numbers import listed, span
from copilot.rules.signals.expressions import Role
from copilot.rules.targets import REMEMBERED_FOR, Process

SERVICES = 4
SDKS = {"temporal_go": "Go SDK", "temporal_java": "Java SDK", "temporal-core-sdk": "Core SDK"}
"""As workers' pages name them. Python, TypeScript, .NET and Ruby are built on the Core SDK."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process. `kind`: what it is, in a word or two. `version`: the server's release, or a worker's SDK.
    `up_since`: when it began; with `up_at_least` it may be earlier. `restarts`: those seen within an hour. `why`: why
    it is not read. None or empty: not known."""

    instance: str
    job: str
    role: Role
    kind: str
    services: tuple[str, ...]
    version: str
    shards: int | None
    up_since: Instant | None
    up_at_least: bool
    last_read: Instant | None
    last_read_age_sec: float | None
    restarts: int
    state: Literal["read", "not_read", "gone"]
    why: str


def kind_of(process: Process) -> str:
    """What a process is: `history`, `server` (of all services), `worker role` (Temporal's own), or `worker`."""
    if process.role == "worker":
        return "worker"
    if process.services == ("worker",):
        return "worker role"
    return ", ".join(process.services) if 0 < len(process.services) < SERVICES else "server"


def process_rows(processes: Sequence[Process], now: Instant) -> list[ProcessRow]:
    """A row for each process."""
    return [_row(process, now) for process in processes]


def _row(process: Process, now: Instant) -> ProcessRow:
    read, last = process.missing is None, process.last_read
    return ProcessRow(
        instance=process.instance,
        job=process.job,
        role=process.role,
        kind=kind_of(process),
        services=process.services,
        version=", ".join(SDKS.get(each, each) for each in process.version.split(", ")),
        shards=None if process.shards is None else round(process.shards),
        up_since=(process.started or process.first_read) if read else None,
        up_at_least=read and process.started is None and process.first_read is not None,
        last_read=last,
        last_read_age_sec=None if last is None else max(0.0, round((now - last).total("seconds"), 1)),
        restarts=sum(now - at < REMEMBERED_FOR for at in process.restarted),
        state=process.state,
        why=_why(process),
    )


def _why(process: Process) -> str:
    if process.state == "gone":
        return "no longer listed"
    return (process.missing.detail or "nothing was read") if process.missing else ""


def processes_sentence(processes: Sequence[Process], now: Instant) -> str:
    """How many processes are read; the one that is not, or which are not."""
    here = [process for process in processes if not process.gone]
    lost = [process for process in here if process.missing]
    gone = f" {len(processes) - len(here)} more gone within the hour." if len(here) < len(processes) else ""
    if not here:
        return f"No process is read.{gone}"
    if not lost:
        return f"{len(here)} process{'es are' if len(here) > 1 else ' is'} read.{gone}"
    if len(lost) > 1:
        return f"{len(lost)} of {len(here)} processes are not read: {listed([f'`{p.name}`' for p in lost])}.{gone}"
    (one,), same = lost, sum(kind_of(process) == kind_of(lost[0]) for process in here)
    which = f"1 of {same} {kind_of(one)} processes" if same > 1 else f"The {kind_of(one)} process"
    since = f"last read {span((now - one.last_read).total('seconds'))} ago" if one.last_read else "never read"
    return f"{which} is not read: `{one.name}`, {since}: {_why(one)}.{gone}"
