"""The cluster as a flow: add rate, backlog and dispatch rate, and the pollers, per task queue and for the cluster.

Flows are kept per (namespace, task queue, task type) where breakdowns exist. In metrics, task queues
have the names that tally makes of them, in the API their own: flows are joined by the former and named by the latter.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from copilot.rules.signals.expressions import HIDDEN
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, BreakdownRow, Signals

DEMAND = ("demand.tasks_added_per_sec", "demand.starts_per_sec", "demand.requests_per_sec")
BACKLOG = (
    "matching.backlog_count",
    "matching.workflow_backlog_age_sec",
    "matching.activity_backlog_age_sec",
    "matching.tasks_spooled_per_sec",
)
AGES = BACKLOG[1:3]
PROGRESS = (
    "matching.tasks_dispatched_per_sec",
    "workflow_tasks.completed_per_sec",
    "activity_tasks.completed_per_sec",
    "history.tasks_acked_per_sec",
    "workflow_completion.success_per_sec",
)
_ROWS = {
    "demand.tasks_added_per_sec": "add_rate",
    "matching.tasks_dispatched_per_sec": "dispatch_rate",
    "matching.tasks_spooled_per_sec": "spooled",
    "matching.backlog_count": "backlog",
    "matching.workflow_backlog_age_sec": "backlog_age_sec",
    "matching.activity_backlog_age_sec": "backlog_age_sec",
    "poller.pending_polls": "pending_polls",
    "poller.recent_pollers": "pollers",
}
OWN_BACKLOG, OWN_DISPATCHED, OWN_POLLS = (
    f"system_workers.{what}" for what in ("backlog_age_sec", "tasks_dispatched_per_sec", "pending_polls")
)
_OWN_ROWS = {OWN_BACKLOG: "backlog_age_sec", OWN_DISPATCHED: "dispatch_rate", OWN_POLLS: "pending_polls"}
WORKER_ROWS = {
    f"workers.{kind}_{what}": kind
    for kind in ("workflow", "activity")
    for what in ("pollers", "slots_available", "slots_used")
}
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")
_RANDOM = re.compile(
    r"[0-9a-fA-F]{8}(_?[0-9a-fA-F]{4}){3}_?[0-9a-fA-F]{12}"
    r"|(?:^|_)(?=[0-9a-zA-Z]*[0-9][a-zA-Z]+[0-9])(?=(?:[a-zA-Z]*[0-9]){3})[0-9a-zA-Z]{8,}(?:$|_)"
    r"|(?:^|_)[0-9]{10,}(?:$|_)"
)


@lru_cache(maxsize=4096)
def sanitized(text: str) -> str:
    """The name as tally sanitizes it."""
    return _UNSAFE.sub("_", text)


@lru_cache(maxsize=4096)
def random_name(text: str) -> bool:
    """Whether a machine made the name for one use: part of it is a UUID, a long mix of letters and digits, or a moment
    in seconds or finer."""
    return bool(_RANDOM.search(sanitized(text)))


@lru_cache(maxsize=4096)
def _key(namespace: str, task_queue: str, task_type: str) -> str:
    return f"{sanitized(namespace)}/{sanitized(task_queue)}/{sanitized(task_type)}"


@dataclass(slots=True)
class Flow:
    """The flow of one task queue, or of the cluster. Rates in 1/s, `backlog` in tasks, `backlog_age_sec`;
    `spooled`: the rate of tasks stored because no poller took them; `pollers` are those that Temporal's API saw lately.
    None: unknown. `task_queue` is empty for the queues whose names are hidden, together. `on_worker_pages`: workers'
    own pages list it, with pollers or slots, be they 0; `worker_polls`: how many pollers they have on it."""

    namespace: str = ""
    task_queue: str = ""
    task_type: str = ""
    add_rate: float | None = None
    dispatch_rate: float | None = None
    spooled: float | None = None
    backlog: float | None = None
    backlog_age_sec: float | None = None
    pending_polls: float | None = None
    pollers: float | None = None
    on_worker_pages: bool = False
    worker_polls: float | None = None

    @property
    def has_api_stats(self) -> bool:
        """Whether Temporal's API described it at this tick: then `backlog` and `backlog_age_sec` are current; a stock
        server's gauges are up to a minute old."""
        return self.pollers is not None

    @property
    def key(self) -> str:
        """Its key in the memory."""
        return _key(self.namespace, self.task_queue, self.task_type)

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"{self.task_queue} ({self.task_type})"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of a firing gate."""
        return {"namespace": self.namespace, "task_queue": self.task_queue, "task_type": self.task_type}


def cluster_flow(signals: Signals) -> Flow:
    """The whole cluster as one flow."""
    ages = [a for i in AGES if (a := signals.value(i)) is not None]
    return Flow(
        add_rate=_at_least_stored(
            signals.value("demand.tasks_added_per_sec"), signals.value("matching.tasks_spooled_per_sec")
        ),
        dispatch_rate=signals.value("matching.tasks_dispatched_per_sec"),
        spooled=signals.value("matching.tasks_spooled_per_sec"),
        backlog=signals.value("matching.backlog_count"),
        backlog_age_sec=max(ages) if ages else None,
        pending_polls=signals.value("poller.pending_polls"),
        pollers=signals.value("poller.recent_pollers"),
    )


def subtract(cluster: Flow, left_out: Sequence[Flow], others: Iterable[Flow]) -> Flow:
    """The cluster's flow without that of some queues, as far as their part is known."""

    def less(field: str) -> float | None:
        whole = getattr(cluster, field)
        return None if whole is None else max(0.0, whole - sum(getattr(f, field) or 0.0 for f in left_out))

    backlog = less("backlog")
    ages = [f.backlog_age_sec for f in others if f.backlog_age_sec is not None]
    age = None if cluster.backlog_age_sec is None else max(ages, default=None if backlog else 0.0)
    return replace(
        cluster,
        add_rate=less("add_rate"),
        dispatch_rate=less("dispatch_rate"),
        spooled=less("spooled"),
        backlog=backlog,
        backlog_age_sec=age,
    )


def own_flows(signals: Signals) -> dict[str, Flow]:
    """Flows of Temporal's own task queues by key; none while no task waits on them."""
    return queue_flows(signals, _OWN_ROWS) if signals.value(OWN_BACKLOG) else {}


def queue_flows(signals: Signals, fields: Mapping[str, str] = _ROWS) -> dict[str, Flow]:
    """Flows by key; `fields` are the breakdowns they are made of. A queue without a row in a complete breakdown had
    none of it: zero, not unknown. A queue without a row from the API was not described: the API may not know it."""
    flows: dict[str, Flow] = {}
    for signal_id, field in fields.items():
        for row in signals.rows(signal_id):
            queue = _queue(row)
            place = (row.labels.get("namespace", ""), queue, row.labels.get("task_type", ""))
            flow = flows.setdefault(_key(*place), Flow(*place))
            if flow.task_queue != queue and sanitized(queue) != queue:
                flow.task_queue = queue
            current = getattr(flow, field)
            setattr(flow, field, row.value if current is None else max(current, row.value))
    for signal_id, field in fields.items():
        total, rows = signals.value(signal_id), signals.rows(signal_id)
        named = all(map(_queue, rows))
        complete = total == 0 or (0 < len(rows) < MAX_BREAKDOWN_ROWS and named)
        if total is None or not complete or field == "pollers":
            continue
        for flow in flows.values():
            of_other_type = field == "backlog_age_sec" and flow.task_type not in signal_id
            if getattr(flow, field) is None and not of_other_type:
                setattr(flow, field, 0.0)
    for signal_id, task_type in WORKER_ROWS.items():
        for row in signals.rows(signal_id):
            key = _key(row.labels.get("namespace", ""), row.labels.get("task_queue", ""), task_type)
            if key in flows:
                flows[key].on_worker_pages = True
                if signal_id.endswith("_pollers"):
                    flows[key].worker_polls = (flows[key].worker_polls or 0.0) + row.value
    _share_unnamed_pollers(signals, flows)
    for flow in flows.values():
        flow.add_rate = _at_least_stored(flow.add_rate, flow.spooled)
    return flows


def _share_unnamed_pollers(signals: Signals, flows: Mapping[str, Flow]) -> None:
    """Pollers whose row names no queue, as in Core: they are of the only queue that workers' pages list."""
    for kind in ("workflow", "activity"):
        for row in (r for r in signals.rows(f"workers.{kind}_pollers") if not _queue(r)):
            of = kind, sanitized(row.labels.get("namespace", ""))
            mine = [f for f in flows.values() if f.on_worker_pages and (f.task_type, sanitized(f.namespace)) == of]
            if len(mine) == 1:
                mine[0].worker_polls = row.value


def _queue(row: BreakdownRow) -> str:
    """The name of the row's task queue; empty where it is hidden, or the label is missing."""
    name = row.labels.get("task_queue", "")
    return "" if name in HIDDEN else name


def _at_least_stored(add_rate: float | None, spooled: float | None) -> float | None:
    """The add rate: what is stored was added. Before server 1.32 the add rate is that of tasks offered to a poller, and
    a queue without pollers offers none."""
    return max(add_rate, spooled) if add_rate is not None and spooled is not None else add_rate
