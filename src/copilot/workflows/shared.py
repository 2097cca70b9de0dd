"""What the workflows are started with, asked and told: one model per message, and what a loop carries on."""

from pydantic import BaseModel, Field

from copilot.activities.messages import Document, Message

WINDOW_TICKS = 20
OBSERVE = "ObserveClusterWorkflow"
ASSESS = "AssessHealthWorkflow"
STORE_BACKLOG = "StoreBacklogWorkflow"
DEFINITION_MEMO = "definition"


def observe_id(cluster: str) -> str:
    """Workflow id of a cluster's loop."""
    return f"observe-{cluster}"


class Definition(Message):
    """What a loop is to do. A loop told a different one carries on under it with all it knows."""

    interval_sec: float
    ticks_per_run: int = 200


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


class Known(BaseModel):
    """What a loop knows, carried over every continue-as-new."""

    resumed: bool = False
    memory: Document | None = None
    newest: Document | None = None
    assessed_state: str | None = None
    last_tick: int | None = None
    window: Window = Field(default_factory=Window)
    last_error: LastError | None = None
    logs: Document | None = None
    log_spike: bool = False
    ticks: int = 0
    runs: int = 1


class ObserveCluster(Message):
    """Start of a loop; `known` comes from the run before."""

    cluster: str
    definition: Definition
    known: Known | None = None


class AssessHealth(Message):
    """Keep an evaluation as an assessment, and (later) have it explained."""

    cluster: str
    evaluation: Document
    trigger: str


class StoreBacklog(Message):
    """Snapshots a loop could not store, to be stored when the store is back."""

    cluster: str
    snapshots: list[Document]


class LoopStatus(Message):
    """How a loop is doing: ticks evaluated since it began, runs (continue-as-new generations), snapshots not
    stored yet."""

    definition: Definition
    ticks: int
    runs: int
    pending: int
    last_tick: int | None
    last_error: LastError | None
