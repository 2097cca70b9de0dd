"""What the log watcher is started with, asked and tells."""

from copilot.activities.messages import Document, Message
from copilot.workflows.shared import Definition, LastError, LoopKnown

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
