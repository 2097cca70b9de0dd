"""What the workflows are started with, asked and told: one model per message, and what a loop carries on."""

from typing import Any

from pydantic import BaseModel, Field

from copilot.loops.messages import Document, Message

WINDOW_TICKS = 20
OBSERVE = "ObserveClusterWorkflow"
SCHEDULED = "ScheduledAssessmentWorkflow"
ASSESS = "AssessHealthWorkflow"
STORE_BACKLOG = "StoreBacklogWorkflow"
PRUNE = "PruneStoreWorkflow"
NOTIFY = "NotifyWorkflow"
VERDICT_CHANGED = "verdict_changed"
CLUSTER_MEMO = "cluster"
DEFINITION_MEMO = "definition"


def observe_id(cluster: str) -> str:
    """Workflow id of a cluster's observing loop."""
    return f"observe-{cluster}"


def scheduled_id(cluster: str) -> str:
    """Workflow id of the loop that has a cluster assessed on schedule."""
    return f"scheduled-{cluster}"


def prune_id(cluster: str) -> str:
    """Workflow id of the loop that prunes what the store holds of a cluster."""
    return f"prune-{cluster}"


def notify_id(cluster: str) -> str:
    """Workflow id of the loop that tells people of a cluster."""
    return f"notify-{cluster}"


def assess_id(cluster: str, tick: int, trigger: str) -> str:
    """Workflow id of one assessment."""
    return f"assess-{cluster}-{tick}-{trigger}"


def backlog_id(first_evaluation: str) -> str:
    """Workflow id of a backlog that begins with an evaluation."""
    return f"store-{first_evaluation}"


class Definition(Message):
    """What a loop is to do, and how many of its cycles make a run. A loop told a different one carries on under it with
    all it knows. `notifies`: an observing loop tells the notifying one of changes."""

    interval_sec: float
    ticks_per_run: int = 200
    notifies: bool = False


def memo(cluster: str, definition: Definition) -> dict[str, Any]:
    """What a loop is found and recognised by."""
    return {CLUSTER_MEMO: cluster, DEFINITION_MEMO: definition.model_dump()}


class LastError(Message):
    """What last went wrong in the loop (unix seconds), and whether a tick has succeeded since."""

    time: int
    what: str
    over: bool = False


class Window(BaseModel):
    """The readings of the last ticks, first in first out: `readings[id][i]` was read at `times[i]` (unix seconds)."""

    times: list[int] = []
    readings: dict[str, list[float | None]] = {}

    def push(self, time: int, readings: dict[str, float | None], keep: int = WINDOW_TICKS) -> None:
        """Add a tick and let go of what is older than the last `keep`."""
        before = len(self.times)
        self.times = [*self.times, time][-keep:]
        for signal_id in {**self.readings, **readings}:
            column = self.readings.get(signal_id, [None] * before)
            self.readings[signal_id] = [*column, readings.get(signal_id)][-keep:]
        self.readings = {i: column for i, column in self.readings.items() if any(v is not None for v in column)}


class LoopKnown(BaseModel):
    """What any loop knows, carried over every continue-as-new: what last went wrong, and how many runs it had."""

    last_error: LastError | None = None
    runs: int = 1


class Known(LoopKnown):
    """What the observing loop knows. `last_tick`: the newest tick begun; `last_evaluated`: that
    of `newest`; `assessed`: the newest one it had assessed; `backlog`: the id of the last StoreBacklogWorkflow, behind
    which all later snapshots queue."""

    resumed: bool = False
    memory: Document | None = None
    newest: Document | None = None
    assessed_state: str | None = None
    assessed: int | None = None
    last_tick: int | None = None
    last_evaluated: int | None = None
    backlog: str | None = None
    window: Window = Field(default_factory=Window)
    logs: Document | None = None
    log_spike: bool = False
    cycle_sec: float | None = None
    ticks: int = 0


class ObserveCluster(Message):
    """Start of a loop; `known` comes from the run before."""

    cluster: str
    definition: Definition
    known: Known | None = None


class KnownSchedule(LoopKnown):
    """What the scheduling loop knows (unix seconds). `assessed`: the newest
    assessment it has heard of; `looks` and `made`: how often it looked, and found something to have assessed.

    `since`: when it began to know of all that is assessed (None: not begun; 0: the store has told it of the time
    before). It counts as the time of an assessment: there may have been one."""

    since: int | None = None
    assessed: int | None = None
    looks: int = 0
    made: int = 0


class ScheduleAssessments(Message):
    """Start of a scheduling loop; `known` comes from the run before."""

    cluster: str
    definition: Definition
    known: KnownSchedule | None = None


class KnownPruning(LoopKnown):
    """What the pruning loop knows (unix seconds). `since`: when it began; `tried`:
    when it last pruned or failed to; `prunings` and `deleted`: how often it did, and the rows in all."""

    since: int | None = None
    tried: int | None = None
    prunings: int = 0
    deleted: int = 0


class PruneRegularly(Message):
    """Start of a pruning loop; `known` comes from the run before."""

    cluster: str
    definition: Definition
    known: KnownPruning | None = None


class AssessHealth(Message):
    """Keep an evaluation as an assessment, and have it explained."""

    cluster: str
    evaluation: Document
    trigger: str


class StoreBacklog(Message):
    """Snapshots a loop could not store, to be stored when the store is back and the backlog `after` is through."""

    cluster: str
    snapshots: list[Document]
    after: str | None = None


class LoopStatus(Message):
    """How a loop is doing: ticks evaluated since it began, runs (continue-as-new generations), snapshots not
    stored yet, the newest tick it had assessed, how long the last one took to be read and judged."""

    definition: Definition
    ticks: int
    runs: int
    pending: int
    last_tick: int | None
    last_error: LastError | None
    assessed: int | None = None
    cycle_sec: float | None = None


class ScheduleStatus(Message):
    """How a scheduling loop is doing."""

    definition: Definition
    looks: int
    made: int
    runs: int
    assessed: int | None
    last_error: LastError | None


class PruningStatus(Message):
    """How a pruning loop is doing."""

    definition: Definition
    prunings: int
    deleted: int
    runs: int
    tried: int | None
    last_error: LastError | None


LOG_WATCHER = "LogWatcherWorkflow"
LOGS_SEEN = "logs_seen"
"""The observing loop's signal."""


def log_watcher_id(cluster: str) -> str:
    """Workflow id of a cluster's log watcher."""
    return f"logs-{cluster}"


class LogsKnown(LoopKnown):
    """What the log watcher knows."""

    cursor: Document | None = None
    memory: Document | None = None
    seen: Document | None = None
    last_tick: int | None = None
    readings: int = 0


class WatchLogs(Message):
    """Start of a log watcher; `known` comes from the run before."""

    cluster: str
    definition: Definition
    known: LogsKnown | None = None


class LogsTold(Message):
    """What the observing loop is told: a LogsSeen document (None: logs are not watched any more), and which patterns
    spike."""

    logs: Document | None = None
    spikes: list[str] = []


class LogWatcherStatus(Message):
    """How a log watcher is doing: readings since it began, runs (continue-as-new generations)."""

    definition: Definition
    readings: int
    runs: int
    last_tick: int | None
    last_error: LastError | None


TOLD_MEMO = "told"


class KnownNotices(LoopKnown):
    """What the notifying loop knows, kept (but for the evaluations) in its memo.
    `told`: what each channel knows; `newest`: the newest evaluation it heard of; `unseen`: those it has not planned
    with; `plans`: how often it planned."""

    seen: Document | None = None
    told: dict[str, Document] = Field(default_factory=dict)
    newest: Document | None = None
    unseen: list[Document] = Field(default_factory=list)
    plans: int = 0
    sent: int = 0


class Notify(Message):
    """Start of a notifying loop; `known` comes from the run before."""

    cluster: str
    definition: Definition
    known: KnownNotices | None = None


class NotifyStatus(Message):
    """How a notifying loop is doing: how often it looked what is to be told, and messages that arrived."""

    definition: Definition
    looks: int
    sent: int
    runs: int
    last_error: LastError | None
