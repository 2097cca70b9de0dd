"""What is known of each target, that is of each process that is read: from the readings of all ticks so far.

A tick tells which processes there are and which of them are read. Only memory tells what a process that is not read
was, since when it is not, how often it restarted within an hour, and that one is gone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from whenever import Instant, TimeDelta

from copilot.rules.signals.expressions import RESETS_OVER_SEC
from copilot.rules.signals.readings import MAX_PROCESSES, Missing, MissingCode, ProcessRead, Signals

REMEMBERED_FOR = TimeDelta(hours=1)
VERSIONS_FOR = TimeDelta(minutes=15)
RESETS_OVER = TimeDelta(seconds=RESETS_OVER_SEC)
MOST_RESTARTS = 60
LOST = Missing(code=MissingCode.TARGET_DOWN)
"""Nothing was read of it at a tick, not even that it is down."""


@dataclass(frozen=True, slots=True)
class Process(ProcessRead):
    """A target as of a tick. `first_read`: since when it is read, without five minutes of silence; `last_read`: when it
    last was; None: never. `restarted`: when it was seen to have restarted, within an hour. `gone`: nothing lists it any
    more; it is forgotten an hour after its last read. What it was (services, version) stays known while it is not
    read."""

    first_read: Instant | None = None
    last_read: Instant | None = None
    restarted: tuple[Instant, ...] = ()
    gone: bool = False

    @property
    def state(self) -> Literal["read", "not_read", "gone"]:
        """Whether it is read; if not, whether anything still lists it."""
        return "gone" if self.gone else "not_read" if self.missing else "read"


def versions_seen(before: Mapping[str, Instant], signals: Signals) -> dict[str, Instant]:
    """When each version of the server was last seen, within a quarter of an hour: by the API and on the pages."""
    read = {p.version for p in signals.processes if p.role == "server" and p.missing is None}
    seen = {signals.server.version if signals.server else "", *(v for names in read for v in names.split(", "))} - {""}
    kept = {version: at for version, at in before.items() if signals.time - at < VERSIONS_FOR}
    return kept | dict.fromkeys(sorted(seen), signals.time)


def processes_seen(before: Iterable[Process], signals: Signals) -> tuple[Process, ...]:
    """The processes after a tick, those that are not read first, then the server's; at most a hundred."""
    past = {process.name: process for process in before}
    seen = [_seen(read, past.pop(read.name, None), signals.time) for read in signals.processes]
    # Of a longer list some are left out at each tick, and are not gone.
    unlisted = _unlisted(past.values(), signals) if len(seen) < MAX_PROCESSES else ()
    order = {"not_read": 0, "read": 1, "gone": 2}
    seen = sorted([*seen, *unlisted], key=lambda p: (order[p.state], p.role, p.services, p.name))
    return tuple(seen[:MAX_PROCESSES])


def _seen(read: ProcessRead, past: Process | None, now: Instant) -> Process:
    fields = {name: getattr(read, name) for name in ProcessRead.__slots__}
    if past is None:
        past = Process(read.instance, read.role)
    restarted = tuple(at for at in past.restarted if now - at < REMEMBERED_FOR)
    if read.missing is not None:
        known = {"services": past.services, "version": past.version, "started": past.started}
        return Process(**{**fields, **known}, first_read=past.first_read, last_read=past.last_read, restarted=restarted)
    silent = past.last_read is None or now - past.last_read > RESETS_OVER
    more = round(read.restarts - (0.0 if silent else past.restarts))
    restarted = (*restarted, *(now for _ in range(more)))[-MOST_RESTARTS:]
    began = now if more > 0 else None if silent else past.started
    fields["started"] = read.started or began
    first = now if silent or past.first_read is None else past.first_read
    return Process(**fields, first_read=first, last_read=read.read_at or now, restarted=restarted)


def _unlisted(past: Iterable[Process], signals: Signals) -> Iterator[Process]:
    """Processes that this tick does not list: gone where it lists those of their role, else not known better."""
    for process in past:
        if process.last_read is not None and signals.time - process.last_read < REMEMBERED_FOR:
            gone = process.gone or process.role in signals.targets
            yield replace(process, gone=gone, missing=process.missing or LOST)
