"""What the log watcher and its activity say to each other. As in messages.py: fields are only ever added."""

from copilot.activities.messages import Document, Message


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
