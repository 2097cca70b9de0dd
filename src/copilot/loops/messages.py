"""Inputs and results of the activities, one model each.

An evaluation, a memory or a cursor crosses the workflows as the JSON document that an activity made of it: validation
in the sandbox costs milliseconds at every replay, and a loop that has run for months must replay under a release whose
models differ. For the same reason fields are only added, with a default, and a renamed one accepts its old name.
"""

from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from whenever import Instant

Document: TypeAlias = dict[str, Any]
"""JSON that workflows never look into, except for an Evaluation's id, time, state and readings."""


def tick_of(evaluation: Document) -> int:
    """The tick that was evaluated (unix seconds)."""
    return Instant.parse_iso(evaluation["time"]).timestamp()


class Message(BaseModel):
    """Base of all messages."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class ClusterNow(Message):
    """A cluster, and the time by the workflow's clock (unix seconds)."""

    cluster: str
    now: int


class FetchSignals(Message):
    """Read every source of a cluster for the tick at `tick` (unix seconds), within `deadline_sec`."""

    cluster: str
    tick: int
    deadline_sec: float


class SignalsFetched(Message):
    """`signals` is a Signals whose time is the tick."""

    signals: Document


class EvaluateHealth(Message):
    """Apply the rules to a tick. `signals` None: nothing could be read, because of `missing_reason`; every expected
    signal is then missing. `memory` None: the first tick. `logs` is a LogsSeen; None: no logs are watched.
    `assessed_state`: of the newest assessment; an evaluation in another one gets `words`."""

    cluster: str
    tick: int
    signals: Document | None
    memory: Document | None
    missing_reason: str = Field(default="", validation_alias="why_blind")
    logs: Document | None = None
    assessed_state: str | None = None


class RuleVersions(Message):
    """What decided: thresholds, taxonomy and rules."""

    thresholds_hash: str
    taxonomy_version: str
    rules_version: str


class HealthEvaluated(RuleVersions):
    """The evaluation, the memory for the next tick, for the snapshot the versions of what decided, and `words`: the
    part of its ExplainedEvaluation that a notification needs; empty where none is sent. `read_again_early`: the next
    tick should not wait for the interval."""

    evaluation: Document
    memory: Document
    health_state: str
    words: Document = {}
    read_again_early: bool = False

    @property
    def tick(self) -> int:
        """The tick as the history has it: in a replay the workflow's clock may differ from it."""
        return tick_of(self.evaluation)

    @property
    def readings(self) -> dict[str, float | None]:
        """The tick's readings by signal id."""
        return dict(self.evaluation["signals"]["readings"])

    def snapshot(self, memory_before: Document | None) -> "SnapshotDocument":
        """What the store keeps of it."""
        return SnapshotDocument(**{**dict(self), "memory_before": memory_before or {}})


class SnapshotDocument(RuleVersions):
    """A Snapshot."""

    evaluation: Document
    memory_before: Document

    @property
    def evaluation_id(self) -> str:
        """The id of its evaluation."""
        return str(self.evaluation["evaluation_id"])


class StoreSnapshots(Message):
    """Store snapshots of one cluster, oldest first."""

    cluster: str
    snapshots: list[SnapshotDocument]


class SnapshotsStored(Message):
    """How many were new, and how many were left out because this release cannot read them."""

    stored: int
    unreadable: int = 0


class Assessment(Message):
    """An evaluation to store as an assessment, with its issues, and what triggered it."""

    evaluation: Document
    trigger: str


class AssessmentStored(Message):
    """`new` False: it was stored before, or left out because this release cannot read it (`unreadable`)."""

    new: bool
    unreadable: bool = False


class MemoryResumed(Message):
    """The memory after the newest stored tick, and its evaluation: None when it is too old; state and time of the
    newest assessment (`health_state`, `assessed`); the newest stored tick, however old (unix seconds)."""

    memory: Document | None = None
    evaluation: Document | None = None
    health_state: str | None = None
    tick: int | None = None
    assessed: int | None = None


class CheckRecentAssessment(Message):
    """Is there an assessment of a cluster later than `since` (unix seconds)?"""

    cluster: str
    since: int


class RecentAssessment(Message):
    """The time (unix seconds) of the newest assessment; None if it is not recent."""

    time: int | None


class LiveVerdict(Message):
    """The newest evaluation (None: there is none), its words for a notification and its time (unix seconds); whether it
    is stale at `now`; when the loop last started an assessment (unix seconds; None: never); `unavailable`: why the loop
    gave no answer, else empty."""

    evaluation: Document | None = None
    words: Document | None = None
    time: int | None = None
    stale: bool = True
    assessed: int | None = None
    unavailable: str = Field(default="", validation_alias="silent_because")


LEAST_SEC = 1.0
"""No model is asked in less time."""


class ExplainAssessment(Assessment):
    """How is a stored assessment to be explained? `left_sec`: how much time is left for it; None: no limit."""

    left_sec: float | None = None


class Explained(Message):
    """`explanation` is an Explanation document to store; None: the stored one stays. `ask_within_sec`: ask a model, and
    for how long at most; None: ask none. `explanation` is then for the case that no model answers. `depth`: `quick` or
    `deep`; None: an earlier release, which left that to the model."""

    explained_by: str
    explanation: Document | None = None
    ask_within_sec: float | None = None
    depth: str | None = None


class AskModel(Assessment):
    """Ask a model about an assessment (an Evaluation document with the rules' explanation), within `deadline_sec`.
    `passages` are Passage documents of runbooks."""

    deadline_sec: float
    passages: list[Document] = []


class ModelAsked(Message):
    """`explanation` is an Explanation document to store: the model's, checked, or the rules' with a note that says why;
    None: nothing changes. `deeper`: in earlier releases the quick model could ask for a deep explanation."""

    explanation: Document | None = None
    deeper: bool = False


class FetchRagContext(Message):
    """Find the passages of runbooks that fit an assessment's findings, within `deadline_sec`."""

    evaluation: Document
    deadline_sec: float


class RagContext(Message):
    """Passage documents, best first; where some are expected and there are none, the reason."""

    passages: list[Document] = []
    reason: str = ""


class ImproveExplanation(Message):
    """Replace a stored assessment's explanation by an Explanation document."""

    evaluation_id: str
    trigger: str
    explanation: Document


class ExplanationImproved(Message):
    """`kept` False: there is no such assessment."""

    kept: bool


class QueryLogs(Message):
    """Read a cluster's logs from `cursor` on (None: from now on) and count them into `memory`."""

    cluster: str
    cursor: Document | None
    memory: Document | None
    deadline_sec: float


class LogsQueried(Message):
    """The next cursor and memory; `seen` is a LogsSeen. `watched` False: this worker's configuration has no logs of the
    cluster, and the rest is empty."""

    watched: bool = True
    cursor: Document | None = None
    memory: Document | None = None
    seen: Document | None = None
    spikes: list[str] = []


class ExecutionsInspected(Message):
    """The inspection is stored. `watched` False: this worker's configuration has no Temporal address of the cluster."""

    watched: bool = True


class PlanNotifications(Message):
    """Which notifications are due at `now` (unix seconds)? `evaluations`: those since the last plan, oldest first;
    `newest`: the newest there is; `channels`: what each channel was sent; `busy`: channels with a notification under
    way."""

    cluster: str
    now: float
    evaluations: list[Document] = Field(validation_alias="unseen")
    newest: Document | None
    situation: Document | None = Field(validation_alias="seen")
    channels: dict[str, Document] = Field(validation_alias="told")
    busy: list[str]


class PlannedNotification(Message):
    """One notification for one channel: what identifies it, and its message."""

    channel: str
    event: Document = Field(validation_alias="say")
    message: Document = Field(validation_alias="notice")


class NotificationPlan(Message):
    """The notifications that are due; `channels`: those whose state changed without one; `plan_again_at`: when to plan
    again at the latest (unix seconds; None: when something changes)."""

    situation: Document | None = Field(validation_alias="seen")
    channels: dict[str, Document] = Field(validation_alias="told")
    due: list[PlannedNotification] = Field(validation_alias="sends")
    plan_again_at: float | None = Field(validation_alias="look_at")


class SendNotification(Message):
    """Try once to send a notification, at `now` (unix seconds). `channel_state`: what the channel was sent so far."""

    cluster: str
    now: float
    planned: PlannedNotification = Field(validation_alias="send")
    channel_state: Document | None = Field(validation_alias="told")


class NotificationSent(Message):
    """The channel's state after it, and what failed, else empty."""

    channel_state: Document = Field(validation_alias="told")
    problem: str = ""


class StorePruned(Message):
    """How many rows were deleted, and the moment before which (unix seconds)."""

    deleted: int
    before: int
