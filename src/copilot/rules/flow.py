"""The cluster as a flow: what arrives, what waits, what is served, and who could serve it (requirements §3.0).

Flows are seen per (namespace, task queue, task type) where breakdowns exist, and for the cluster. Metrics spell task
queues as tally sanitises them, the API as they are: flows are joined by the sanitised name and named by the real one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, Signals

ARRIVES = ("demand.tasks_added_per_sec", "demand.starts_per_sec", "demand.requests_per_sec")
WAITS = (
    "matching.backlog_count",
    "matching.workflow_backlog_age_sec",
    "matching.activity_backlog_age_sec",
    "matching.tasks_spooled_per_sec",
)
AGES = WAITS[1:3]
SERVED = (
    "matching.tasks_dispatched_per_sec",
    "workflow_tasks.completed_per_sec",
    "activity_tasks.completed_per_sec",
    "history.tasks_acked_per_sec",
    "workflow_completion.success_per_sec",
)
_ROWS = {
    "demand.tasks_added_per_sec": "arrives",
    "matching.tasks_dispatched_per_sec": "served",
    "matching.tasks_spooled_per_sec": "spooled",
    "matching.backlog_count": "waiting",
    "matching.workflow_backlog_age_sec": "age",
    "matching.activity_backlog_age_sec": "age",
    "poller.pending_polls": "polls",
    "poller.recent_pollers": "pollers",
}
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")


@lru_cache(maxsize=4096)
def sanitised(text: str) -> str:
    """As tally spells it."""
    return _UNSAFE.sub("_", text)


@lru_cache(maxsize=4096)
def _key(namespace: str, task_queue: str, task_type: str) -> str:
    return f"{sanitised(namespace)}/{sanitised(task_queue)}/{sanitised(task_type)}"


@dataclass(slots=True)
class Flow:
    """One queue's (or the cluster's) flow. Rates in 1/s, `waiting` in tasks, `age` in seconds; None is not known."""

    namespace: str = ""
    task_queue: str = ""
    task_type: str = ""
    arrives: float | None = None
    served: float | None = None
    spooled: float | None = None
    waiting: float | None = None
    age: float | None = None
    polls: float | None = None
    pollers: float | None = None

    @property
    def described(self) -> bool:
        """Whether Temporal's API told of it in this tick: then `waiting` and `age` are of now; a stock server's
        gauges are up to a minute old (signals.md E6)."""
        return self.pollers is not None

    @property
    def key(self) -> str:
        """What the machine's memory knows it by."""
        return _key(self.namespace, self.task_queue, self.task_type)

    @property
    def name(self) -> str:
        """What people know it by."""
        return f"{self.task_queue} ({self.task_type})"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of a gate that fired for it."""
        return {"namespace": self.namespace, "task_queue": self.task_queue, "task_type": self.task_type}


def cluster_flow(signals: Signals) -> Flow:
    """The whole cluster as one flow."""
    ages = [signals.value(i) for i in AGES]
    known = [a for a in ages if a is not None]
    return Flow(
        task_queue="the cluster",
        arrives=signals.value("demand.tasks_added_per_sec"),
        served=signals.value("matching.tasks_dispatched_per_sec"),
        spooled=signals.value("matching.tasks_spooled_per_sec"),
        waiting=signals.value("matching.backlog_count"),
        age=max(known) if known else None,
        polls=signals.value("poller.pending_polls"),
        pollers=signals.value("poller.recent_pollers"),
    )


def rest_of(cluster: Flow, left_out: Sequence[Flow], others: Iterable[Flow]) -> Flow:
    """The cluster without some of its queues, as far as it is told what they have of it."""

    def less(what: str) -> float | None:
        whole = getattr(cluster, what)
        return None if whole is None else max(0.0, whole - sum(getattr(f, what) or 0.0 for f in left_out))

    waiting = less("waiting")
    ages = [f.age for f in others if f.age is not None]
    age = None if cluster.age is None else max(ages, default=None if waiting else 0.0)
    return replace(
        cluster, arrives=less("arrives"), served=less("served"), spooled=less("spooled"), waiting=waiting, age=age
    )


def queue_flows(signals: Signals) -> dict[str, Flow]:
    """Flows by key. A queue without a row in a breakdown that is complete had none of it: zero, not unknown. But one
    that the API has no row of was not described: it may be one that it does not know."""
    flows: dict[str, Flow] = {}
    for signal_id, attribute in _ROWS.items():
        for row in signals.rows(signal_id):
            queue = row.labels.get("task_queue", "")
            if not queue:
                continue
            place = (row.labels.get("namespace", ""), queue, row.labels.get("task_type", ""))
            key = _key(*place)
            known = flows.get(key)
            if known is None:
                known = flows[key] = Flow(*place)
            elif known.task_queue != queue and sanitised(queue) != queue:
                known.task_queue = queue
            current = getattr(known, attribute)
            setattr(known, attribute, row.value if current is None else max(current, row.value))
    for signal_id, attribute in _ROWS.items():
        total, rows = signals.value(signal_id), signals.rows(signal_id)
        complete = total == 0 or 0 < len(rows) < MAX_BREAKDOWN_ROWS
        if total is None or not complete or attribute == "pollers":
            continue
        for flow in flows.values():
            of_other_type = attribute == "age" and flow.task_type not in signal_id
            if getattr(flow, attribute) is None and not of_other_type:
                setattr(flow, attribute, 0.0)
    return flows
