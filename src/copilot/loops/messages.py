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
    """`evaluation` is an Evaluation, `memory` what to remember; `words` what of it in words a notification needs; the
    rest says by which rules, for the snapshot."""

    evaluation: Document
    memory: Document
    health_state: str
    thresholds_hash: str
    taxonomy_version: str
    rules_version: str
    words: Document = {}


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
    """False if it was kept already, or no longer fits the models of this release and was left out."""

    new: bool
    unreadable: bool = False


class ExplainAssessment(Message):
    """Put a stored assessment into better words than the rules', if there is somebody who can, within `left_sec` (None:
    no matter when)."""

    evaluation: Document
    trigger: str
    left_sec: float | None = None


class Explained(Message):
    """Whose words the stored assessment is to have. `explanation` is an Explanation document to be kept, None: the
    words it has. `ask_within_sec`: a model is to be asked, within so many seconds; None: it is not."""

    explained_by: str
    explanation: Document | None = None
    ask_within_sec: float | None = None


class ResumeMemory(Message):
    """What did the last run know of this cluster, as of `now` (unix seconds)?"""

    cluster: str
    now: int


class MemoryResumed(Message):
    """The memory after the newest stored tick with its evaluation, None when it is not young enough; state and
    time of the newest assessment (`health_state`, `assessed`); and the newest stored tick, however old (unix
    seconds)."""

    memory: Document | None = None
    evaluation: Document | None = None
    health_state: str | None = None
    tick: int | None = None
    assessed: int | None = None


class GetLatestAssessment(Message):
    """The newest assessment of a cluster."""

    cluster: str


class LatestAssessment(Message):
    """A HealthAssessment document; None if there is none."""

    assessment: Document | None


class GetAssessmentsInRange(Message):
    """The assessments of a cluster with start ≤ time ≤ end (unix seconds), the newest `limit` of them."""

    cluster: str
    start: int
    end: int
    limit: int = 10


class AssessmentsInRange(Message):
    """HealthAssessment documents, oldest first."""

    assessments: list[Document]


class CheckRecentAssessment(Message):
    """Is there an assessment of a cluster later than `since` (unix seconds)?"""

    cluster: str
    since: int


class RecentAssessment(Message):
    """`time` (unix seconds) is the newest assessment's if it is recent, else None."""

    time: int | None

    @property
    def recent(self) -> bool:
        """Whether there is one."""
        return self.time is not None


class GetLiveVerdict(Message):
    """What does the observing loop say of a cluster, as of `now` (unix seconds)?"""

    cluster: str
    now: int


class LiveVerdict(Message):
    """The newest Evaluation document (None: there is none), its words for a notification, and its time; whether it is
    too old at `now` to be current; when the observer last had an evaluation assessed (unix seconds; None: never); and
    why the observer could not be asked, where it could not."""

    evaluation: Document | None = None
    words: Document | None = None
    time: int | None = None
    stale: bool = True
    assessed: int | None = None
    silent_because: str = ""


LEAST_SEC = 1.0
"""In less time no model is asked."""


class AskModel(Message):
    """Ask a model about an assessment (an Evaluation document in the rules' words), within `deadline_sec`. `passages`
    are Passage documents of runbooks."""

    evaluation: Document
    trigger: str
    deadline_sec: float
    passages: list[Document] = []


class ModelAsked(Message):
    """`explanation` is an Explanation document to be kept: the model's words, checked, or the rules' with a note that
    says why; None: nothing to change. `deeper`: the researcher is to be asked."""

    explanation: Document | None = None
    deeper: bool = False


class FetchRagContext(Message):
    """Find the passages of runbooks that fit an assessment's findings, within `deadline_sec`."""

    evaluation: Document
    deadline_sec: float


class RagContext(Message):
    """Passage documents, best first; where there are none and should be, why."""

    passages: list[Document] = []
    reason: str = ""


class ImproveExplanation(Message):
    """Put a stored assessment into the words of an Explanation document."""

    evaluation_id: str
    trigger: str
    explanation: Document


class ExplanationImproved(Message):
    """False: there is no such assessment."""

    kept: bool


class QueryLogs(Message):
    """Read on in a cluster's logs from `cursor` (None: from now on) and count what is there into `memory`."""

    cluster: str
    cursor: Document | None
    memory: Document | None
    deadline_sec: float


class LogsQueried(Message):
    """The next cursor and memory; `seen` is a LogsSeen. `watched` False: this worker's configuration knows no logs of
    the cluster (any more), and the rest is empty."""

    watched: bool = True
    cursor: Document | None = None
    memory: Document | None = None
    seen: Document | None = None
    spikes: list[str] = []


NEEDED = ("evaluation_id", "cluster", "time", "verdict", "summary", "findings")
"""What of an ExplainedEvaluation a notification needs; its signals are the largest part that it does not."""


class PlanNotices(Message):
    """What is to be told at `now` (unix seconds)? `unseen`: evaluations since the last plan, oldest first; `newest`:
    the newest there is; `told`: what each channel knows; `busy`: channels that are being told something."""

    cluster: str
    now: float
    unseen: list[Document]
    newest: Document | None
    seen: Document | None
    told: dict[str, Document]
    busy: list[str]


class Planned(Message):
    """One message for one channel."""

    channel: str
    say: Document
    notice: Document


class NoticesPlanned(Message):
    """`told`: of those channels whose knowledge changed without a message; `look_at`: when to plan again at the latest
    (unix seconds; None: when something changes)."""

    seen: Document | None
    told: dict[str, Document]
    sends: list[Planned]
    look_at: float | None


class SendNotice(Message):
    """Try once to send a message, at `now` (unix seconds)."""

    cluster: str
    now: float
    send: Planned
    told: Document | None


class NoticeSent(Message):
    """What the channel knows now, and what went wrong, if anything did."""

    told: Document
    problem: str = ""


class PruneStore(Message):
    """Delete what the store holds of a cluster beyond its retention, as of `now` (unix seconds)."""

    cluster: str
    now: int


class StorePruned(Message):
    """How many rows were deleted, and the moment they were all older than (unix seconds)."""

    deleted: int
    before: int
