"""The readings of one tick.

A reading is a *value*, *no traffic* (the target was read, but there was nothing to measure) or *missing* with a code;
missing is never zero. `Signals` has the shape of a line of a recording: workflows, store and replay share the model.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from whenever import Instant

from copilot.redaction.redactor import Clean
from copilot.rules.signals.change import Change
from copilot.rules.signals.expressions import Role


class MissingCode(StrEnum):
    """Why a reading is missing."""

    TARGET_DOWN = "target_down"  # the target that has it was not read
    ABSENT = "absent"  # the target was read and does not have it
    TIMEOUT = "timeout"  # did not answer before the deadline
    FORBIDDEN = "forbidden"  # 401 or 403
    PARSE = "parse"  # the answer could not be understood
    NO_SOURCE = "no_source"  # nothing configured measures it, or nothing at all
    DROPPED = "dropped"  # skipped: over budget or over a limit


class Frozen(BaseModel):
    """Base of the value models: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Missing(Frozen):
    """Why a reading is missing: a code for machines, a detail for people, without secrets."""

    code: MissingCode
    detail: Clean = ""

    @property
    def not_there(self) -> bool:
        """Whether nothing was lost: what was read does not have it, or nothing measures it here."""
        return self.code in (MissingCode.ABSENT, MissingCode.NO_SOURCE)


class BreakdownRow(Frozen):
    """One part of a reading: its labels (task queue, cause, operation, version …) and its value in the id's unit."""

    labels: dict[str, str]
    value: FiniteFloat

    def label(self, name: str) -> str:
        """The label's value, without the server's prefix of error types."""
        return self.labels.get(name, "").removeprefix("serviceerror_")


@dataclass(frozen=True, slots=True)
class ProcessRead:
    """One target, that is one process, at one tick. `instance`: its address or the URL of its page; `job` that of its
    Prometheus, if any.

    `services`: the server's services in it. `version`: the server's release, or a worker's SDK as its page names it.
    `shards`: how many it owns. `started`: when the process began, where its page tells. `restarts`: how often it
    restarted within five minutes. `read_at`: the last good read, where that is not this tick's. None or empty: not
    known. `missing`: why it is not read; None: it is."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    instance: str
    role: Role
    job: str = ""
    services: tuple[str, ...] = ()
    version: str = ""
    shards: FiniteFloat | None = None
    started: Instant | None = None
    restarts: FiniteFloat = 0.0
    read_at: Instant | None = None
    missing: Missing | None = None

    @property
    def name(self) -> str:
        """What tells it apart: the address, and the job where there is one."""
        return f"{self.instance} ({self.job})" if self.job else self.instance


class LogPattern(Frozen):
    """A pattern in recent logs of a service.

    `count`: lines of the last twenty readings. `level`: the worst of its lines; empty: they have none. `mined`: a
    template of lines that no known pattern matches. `sample`: one of its lines, redacted and shortened."""

    pattern: str
    count: Annotated[int, Field(ge=0)]
    service: str
    last_seen: Instant
    first_seen: Instant | None = None
    level: Literal["", "debug", "info", "warn", "error", "fatal"] = ""
    mined: bool = False
    sample: str = ""


class ServerFacts(Frozen):
    """The watched cluster's own description. Empty or 0: unknown."""

    version: str = ""
    cluster_name: str = ""
    cluster_id: str = ""
    history_shards: Annotated[int, Field(ge=0)] = 0


MAX_BREAKDOWN_ROWS = 20
MAX_PROCESSES = 100


class Signals(Frozen):
    """Everything read at one tick. An id in `readings` with None is missing unless it is in `no_traffic`; an id that is
    not mentioned is not expected from the sources there are (outside the coverage denominator). `targets`: how many are
    read, `unread`: names of those that do not answer while others do, by role; `processes`: each of them, the first
    hundred. `sources` names whose reading was taken
    where two sources know an id, and the family where a substitute was. `at_least`: ids whose values are
    lower bounds. `metrics_at`: when the minute began that the metrics are of, where they come late (Temporal Cloud).
    `changes`: those seen within the last quarter of an hour, the newest first."""

    time: Instant
    readings: dict[str, FiniteFloat | None]
    no_traffic: tuple[str, ...] = ()
    at_least: tuple[str, ...] = ()
    missing: dict[str, Missing] = Field(default_factory=dict)
    targets: dict[str, int] = Field(default_factory=dict)
    unread: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    processes: tuple[ProcessRead, ...] = ()
    breakdowns: dict[str, tuple[BreakdownRow, ...]] = Field(default_factory=dict)
    logs: tuple[LogPattern, ...] = ()
    sources: dict[str, str] = Field(default_factory=dict)
    server: ServerFacts | None = None
    metrics_at: Instant | None = None
    changes: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unmentioned = [i for i in (*self.no_traffic, *self.missing) if self.readings.get(i) is not None]
        if unmentioned:
            raise ValueError(f"these ids have a value and are also missing or without traffic: {unmentioned}")
        return self

    def value(self, signal_id: str) -> float | None:
        """The value, or None where there is none (missing or no traffic)."""
        return self.readings.get(signal_id)

    def quiet(self, signal_id: str) -> bool:
        """Whether the id was read and had no traffic."""
        return signal_id in self.no_traffic

    def covered(self, signal_id: str) -> bool:
        """Whether the id counts as covered: a value, or no traffic."""
        return self.readings.get(signal_id) is not None or signal_id in self.no_traffic

    def mentions(self, signal_id: str) -> bool:
        """Whether the id is expected from the sources there are."""
        return signal_id in self.readings or signal_id in self.missing

    def why_missing(self, signal_id: str) -> Missing | None:
        """Why an expected id has neither value nor no-traffic; None if it is covered or not expected."""
        if self.covered(signal_id) or not self.mentions(signal_id):
            return None
        return self.missing.get(signal_id, Missing(code=MissingCode.ABSENT))

    def without(self, doubtful: Mapping[str, Missing]) -> "Signals":
        """The same, where these ids are missing."""
        return self.model_copy(
            update={
                "readings": {**self.readings, **dict.fromkeys(doubtful)},
                "no_traffic": tuple(i for i in self.no_traffic if i not in doubtful),
                "missing": {**self.missing, **doubtful},
                "breakdowns": {i: rows for i, rows in self.breakdowns.items() if i not in doubtful},
            }
        )

    def rows(self, signal_id: str) -> tuple[BreakdownRow, ...]:
        """The breakdown of an id, largest first; empty where none was read."""
        return self.breakdowns.get(signal_id, ())


class RecordingHeader(Frozen):
    """The first line of a recording."""

    recording: Annotated[int, Field(ge=1, le=1)] = 1
    cluster: str
    interval_sec: FiniteFloat
    window_sec: FiniteFloat
    sources: tuple[str, ...]
    taxonomy: str


def nested(flat: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`{"a.b": 1}` → `{"a": {"b": 1}}`, the shape of the API's signal groups."""
    groups: dict[str, dict[str, Any]] = {}
    for signal_id, value in flat.items():
        group, _, name = signal_id.partition(".")
        groups.setdefault(group, {})[name] = value
    return groups


def merge(preferred: Signals, fallback: Signals, *, better: Collection[str] = ()) -> Signals:
    """One reading of two sources: per id the preferred source wins unless only the other has a value, or only the other
    was read at all. Breakdowns follow the same rule; targets add up. `better`: ids of which the fallback is
    preferred."""
    readings: dict[str, float | None] = {}
    no_traffic: list[str] = []
    at_least: list[str] = []
    missing: dict[str, Missing] = {}
    breakdowns: dict[str, tuple[BreakdownRow, ...]] = dict(fallback.breakdowns)
    for signal_id in {**preferred.readings, **fallback.readings}:
        first, second = (fallback, preferred) if signal_id in better else (preferred, fallback)
        winner = next(
            (s for s in (first, second) if s.value(signal_id) is not None),
            next((s for s in (first, second) if s.quiet(signal_id)), None),
        )
        readings[signal_id] = winner.value(signal_id) if winner else None
        if winner is None:
            why = first.why_missing(signal_id) or second.why_missing(signal_id)
            if why is not None:
                missing[signal_id] = why
        elif winner.quiet(signal_id):
            no_traffic.append(signal_id)
        elif signal_id in winner.at_least:
            at_least.append(signal_id)
        if winner is preferred:
            breakdowns.pop(signal_id, None)
            if rows := preferred.rows(signal_id):
                breakdowns[signal_id] = rows
    targets = {
        role: preferred.targets.get(role, 0) + fallback.targets.get(role, 0)
        for role in {**preferred.targets, **fallback.targets}
    }
    return Signals(
        time=max(preferred.time, fallback.time),
        readings=readings,
        no_traffic=tuple(sorted(no_traffic)),
        at_least=tuple(sorted(at_least)),
        missing=missing,
        targets=targets,
        unread={**fallback.unread, **preferred.unread},
        processes=(preferred.processes + fallback.processes)[:MAX_PROCESSES],
        breakdowns=breakdowns,
        logs=preferred.logs + fallback.logs,
        sources={**fallback.sources, **preferred.sources},
        server=preferred.server or fallback.server,
        metrics_at=preferred.metrics_at or fallback.metrics_at,
        changes=preferred.changes + fallback.changes,
    )
