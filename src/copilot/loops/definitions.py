"""The workflows from outside: names, ids, inputs, state and status.

A loop is a workflow that runs for months. It carries its state from run to run by continue-as-new; what was renamed
since an older release is still read by its old name.
"""

from typing import Any, Generic, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from copilot.loops.messages import Assessment, Document, Message, StoreSnapshots

OBSERVE = "ObserveClusterWorkflow"
SCHEDULED = "ScheduledAssessmentWorkflow"
LOG_WATCHER = "LogWatcherWorkflow"
ASSESS = "AssessHealthWorkflow"
STORE_BACKLOG = "StoreBacklogWorkflow"
PRUNE = "PruneStoreWorkflow"
NOTIFY = "NotifyWorkflow"
INSPECT = "InspectExecutionsWorkflow"

VERDICT_CHANGED = "verdict_changed"
LOGS_SEEN = "logs_seen"
CLUSTER_MEMO = "cluster"
DEFINITION_MEMO = "definition"
CHANNELS_MEMO = "told"

WINDOW_TICKS = 20
TICKS_PER_RUN = 200


# Workflow ids: of a cluster's loops by its name, of a backlog by its first evaluation's id, of an assessment by
# cluster, tick and trigger.
observe_id = "observe-{}".format
scheduled_id = "scheduled-{}".format
log_watcher_id = "logs-{}".format
prune_id = "prune-{}".format
notify_id = "notify-{}".format
executions_id = "executions-{}".format
backlog_id = "store-{}".format
assess_id = "assess-{}-{}-{}".format


class Definition(Message):
    """How often a loop works (seconds), and how many cycles make a run. `notifies`: an observing loop signals changes
    to the notifying one. A running loop takes a new definition at once, in a new run with the same state."""

    interval_sec: float
    ticks_per_run: int = TICKS_PER_RUN
    notifies: bool = False


def memo(cluster: str, definition: Definition) -> dict[str, Any]:
    """The memo that `copilot start` finds a loop and its definition by."""
    return {CLUSTER_MEMO: cluster, DEFINITION_MEMO: definition.model_dump()}


class LastError(Message):
    """What last failed in the loop, when (unix seconds), and whether a cycle has succeeded since (`over`)."""

    time: int
    what: str
    over: bool = False


CYCLES = AliasChoices("cycles", "ticks", "looks", "readings", "prunings", "plans")


class LoopState(BaseModel):
    """What every loop carries over continue-as-new: its last error, how many runs it had, and how many cycles."""

    model_config = ConfigDict(populate_by_name=True)

    last_error: LastError | None = None
    runs: int = 1
    cycles: int = Field(default=0, validation_alias=CYCLES)


class Window(BaseModel):
    """The readings of the last ticks, oldest first: `readings[id][i]` was read at `times[i]` (unix seconds)."""

    times: list[int] = []
    readings: dict[str, list[float | None]] = {}

    def push(self, time: int, readings: dict[str, float | None], keep: int = WINDOW_TICKS) -> None:
        """Add a tick and drop those before the last `keep`."""
        before = len(self.times)
        self.times = [*self.times, time][-keep:]
        for signal_id in {**self.readings, **readings}:
            column = self.readings.get(signal_id, [None] * before)
            self.readings[signal_id] = [*column, readings.get(signal_id)][-keep:]
        self.readings = {i: column for i, column in self.readings.items() if any(v is not None for v in column)}


class ObserveState(LoopState):
    """State of the observing loop (times in unix seconds). `resumed`: the store was asked for what an earlier loop
    knew; `last_tick`: the newest tick begun; `last_evaluated`: the tick of `newest`; `assessed`: the newest tick that
    was assessed, `assessed_state` its state; `backlog`: id of the last StoreBacklogWorkflow, which later snapshots wait
    for; `logs`: a LogsSeen; `cycle_sec`: how long the last tick took; `early`: which early tick in a row comes next (0:
    the next comes as planned)."""

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
    early: int = 0


class ScheduleState(LoopState):
    """State of the loop of scheduled assessments (times in unix seconds). `assessed`: the newest assessment it knows
    of; `made`: assessments it started. `since`: from when on it knows of every assessment (None: not begun; 0: the
    store has answered for the time before). It counts as the time of an assessment, for there may have been one."""

    since: int | None = None
    assessed: int | None = None
    made: int = 0


class PruneState(LoopState):
    """State of the pruning loop (times in unix seconds). `since`: when it began; `tried`: its last attempt; `deleted`:
    rows in all. A cycle is an attempt that succeeded."""

    since: int | None = None
    tried: int | None = None
    deleted: int = 0


class LogWatcherState(LoopState):
    """State of the log watcher. `seen` is a LogsSeen; a cycle is a reading that succeeded."""

    cursor: Document | None = None
    memory: Document | None = None
    seen: Document | None = None
    last_tick: int | None = None


class InspectState(LoopState):
    """State of the loop that inspects executions. A cycle is an inspection that was stored."""

    last_tick: int | None = None


class NotifyState(LoopState):
    """State of the notifying loop; its memo holds all but the evaluations. `situation`: the cluster's state as last
    planned with; `channels`: what each channel was sent; `newest`: the newest evaluation; `evaluations`: those not yet
    planned with; `sent`: notifications delivered. A cycle is a plan."""

    situation: Document | None = Field(default=None, validation_alias="seen")
    channels: dict[str, Document] = Field(default_factory=dict, validation_alias="told")
    newest: Document | None = None
    evaluations: list[Document] = Field(default_factory=list, validation_alias="unseen")
    sent: int = 0


S = TypeVar("S", bound=LoopState)


class LoopInput(Message, Generic[S]):
    """Input of a loop's run. `state` comes from the run before; None: the first run."""

    cluster: str
    definition: Definition
    state: S | None = Field(default=None, validation_alias="known")


ObserveInput = LoopInput[ObserveState]
ScheduleInput = LoopInput[ScheduleState]
PruneInput = LoopInput[PruneState]
LogWatcherInput = LoopInput[LogWatcherState]
NotifyInput = LoopInput[NotifyState]
InspectInput = LoopInput[InspectState]


class AssessInput(Assessment):
    """Store an evaluation as an assessment and have it explained."""

    cluster: str


class StoreBacklogInput(StoreSnapshots):
    """Snapshots that a loop could not store; they are stored once the backlog `after` is."""

    after: str | None = None


class LogsUpdate(Message):
    """A LogsSeen document (None: logs are no longer watched) and the patterns that spike."""

    logs: Document | None = None
    spikes: list[str] = []


class LoopStatus(Message):
    """How a loop is doing: definition, runs, cycles and last error of every loop; the rest where the loop has it.
    `pending`: snapshots not stored yet; `last_tick`, `assessed`: newest tick begun and assessed (unix seconds);
    `cycle_sec`: how long the last tick took; `made`: scheduled assessments; `deleted`: rows pruned; `sent`:
    notifications delivered."""

    definition: Definition
    runs: int
    cycles: int = Field(validation_alias=CYCLES)
    last_error: LastError | None
    pending: int | None = None
    last_tick: int | None = None
    assessed: int | None = None
    cycle_sec: float | None = None
    made: int = 0
    deleted: int = 0
    sent: int = 0
