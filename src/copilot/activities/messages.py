"""What workflows and activities say to each other: one input and one output model per activity.

A `Document` is a core model as JSON. The loops hand it on without looking inside, so a release whose models differ can
still replay and take over a loop that has been running for months. Unknown fields are ignored for the same reason;
fields are only ever added, with a default.
"""

from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict

Document: TypeAlias = dict[str, Any]


class Message(BaseModel):
    """Base of all messages."""

    model_config = ConfigDict(frozen=True)


class FetchSignals(Message):
    """Read every source of a cluster for the tick at `tick` (unix seconds), within `deadline_sec`."""

    cluster: str
    tick: int
    deadline_sec: float


class SignalsFetched(Message):
    """`signals` is a Signals whose time is the tick."""

    signals: Document


class EvaluateHealth(Message):
    """Judge a tick. `signals` None: nothing could be read because of `why_blind`; all that the
    sources were expected to read is missing then. `memory` None: nothing is remembered. `logs` is a LogsSeen; None: no
    logs are watched."""

    cluster: str
    tick: int
    signals: Document | None
    memory: Document | None
    why_blind: str = ""
    logs: Document | None = None


class HealthEvaluated(Message):
    """`evaluation` is an Evaluation, `memory` what to remember; the rest says by which rules, for the snapshot."""

    evaluation: Document
    memory: Document
    health_state: str
    thresholds_hash: str
    taxonomy_version: str
    rules_version: str


class StoreSnapshots(Message):
    """Keep snapshots (Snapshot documents) of one cluster, oldest first."""

    cluster: str
    snapshots: list[Document]


class SnapshotsStored(Message):
    """How many were new, and how many no longer fit the models of this release and were left out."""

    stored: int
    unreadable: int = 0


class StoreAssessment(Message):
    """Keep an assessment (an Evaluation document and its trigger) with its issues."""

    evaluation: Document
    trigger: str


class AssessmentStored(Message):
    """False if it was kept already."""

    new: bool


class ResumeMemory(Message):
    """What did the last run know of this cluster, as of `now` (unix seconds)?"""

    cluster: str
    now: int


class MemoryResumed(Message):
    """The memory after the newest stored tick, that tick and its reported state; all None when nothing is
    young enough."""

    memory: Document | None = None
    evaluation: Document | None = None
    health_state: str | None = None
    tick: int | None = None


class GetLatestAssessment(Message):
    """The newest assessment of a cluster."""

    cluster: str


class LatestAssessment(Message):
    """A HealthAssessment document; None if there is none."""

    assessment: Document | None
