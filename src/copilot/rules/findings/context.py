"""What a finding is, what it looks at, and what it detects."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from whenever import TimeDelta

from copilot.rules.bottleneck import WorkerEvidence, draining, silent_service
from copilot.rules.flow import Flow
from copilot.rules.gates import pressure, progress
from copilot.rules.gates.context import Component, Gate, GateContext
from copilot.rules.gates.registry import SERVER_REFUSES
from copilot.rules.model import ActionType, Evidence, GateResult
from copilot.rules.signals.readings import BreakdownRow

WAKE_LASTS = TimeDelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Action:
    """Something a person can do: its key in the finding's catalogue, kind, target, the template of its text, and how
    sure (0 to 1) and how risky it is. Scaling is always up. What is more than a low risk (a restart, a roll-back, a
    higher limit, a deletion) is offered on its own evidence only (`Found.sure`)."""

    key: str
    kind: ActionType
    target: str
    text: str
    confidence: float
    risk: Literal["low", "medium", "high"] = "low"


@dataclass(frozen=True, slots=True)
class Found:
    """What `detect` returns: the gates it explains (none: worth knowing only), the evidence its texts are made from,
    what tells it apart from another finding of its kind, and signals beyond the gates' own. `sure`: whether there is
    evidence of its own for what is risky to do, and it is no consequence of something else."""

    gates: list[GateResult]
    evidence: Evidence = field(default_factory=dict)
    subject: str = ""
    signals: tuple[str, ...] = ()
    sure: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of finding. `title`, `cause` and the actions' texts are templates of the evidence
    (explain/templates.py). `note`: worth knowing, never a cause. `weak`: named when nothing points at anything else.
    `kept_sec`: for how long a note is kept after it was last seen, where what it rests on is rare or read rarely.
    `logs`: names of the log patterns that fit it, the one that says most first; they confirm it and never make one.
    `looks_like`: the finding most like it, and what tells them apart. The runbook is
    docs/rag/`name`.md."""

    name: str
    detect: Callable[["FindingContext"], Found | None]
    component: Component
    title: str
    cause: str
    actions: tuple[Action, ...]
    note: bool = False
    weak: bool = False
    kept_sec: float = 0.0
    logs: tuple[str, ...] = ()
    looks_like: tuple[str, str] = ("", "")

    @property
    def meaning(self) -> str:
        """What is found, in a sentence."""
        return self.detect.__doc__ or ""


@dataclass(frozen=True)
class FindingContext:
    """What findings look at: what gates look at, the gates' results by name, what the workers show, and whether there
    is too little evidence for a verdict."""

    view: GateContext
    gates: dict[str, GateResult]
    workers: WorkerEvidence
    stale: bool

    def firing(self, *gates: Gate | str) -> list[GateResult]:
        """Those of the gates that are firing."""
        firing = self._firing
        if not firing:
            return []
        names = (gate if isinstance(gate, str) else gate.name for gate in gates)
        return [firing[name] for name in names if name in firing]

    @cached_property
    def _firing(self) -> dict[str, GateResult]:
        return {name: gate for name, gate in self.gates.items() if gate.fired}

    @cached_property
    def server_refuses(self) -> bool:
        """Whether the server refuses or fails work."""
        return bool(self.firing(*SERVER_REFUSES))

    @cached_property
    def silent_service(self) -> tuple[str, float]:
        """The server's service that does not answer the others, and how many of their calls fail so (1/s)."""
        return silent_service(self.view)

    def settled(self, finding: str) -> bool:
        """Whether what the finding sees cannot be a consequence of something else: the frontend answers, no server process
        is away, or restarted, joined or left within five minutes, and the server was not critical for another cause as
        lately."""
        view, memory = self.view, self.view.memory
        changed, other = memory.members_at, memory.critical_cause
        if self.firing(progress.FRONTEND_UNREACHABLE):
            return False
        if self.value("deploy.membership_changes_per_min") or view.signals.unread.get("server"):
            return False
        if any(row.value > 0 for row in view.signals.rows("deploy.task_restarts")):
            return False
        if changed is not None and view.now - changed <= WAKE_LASTS:
            return False
        return other is None or other[1] == finding or view.now - other[0] > WAKE_LASTS

    @cached_property
    def draining(self) -> bool:
        """Whether every backlog drains."""
        return draining(self.view)

    @cached_property
    def late_workflow_tasks(self) -> list[GateResult]:
        """The gate of failing workflow tasks where they only time out while a backlog drains, and none fails: workers
        get more than they can answer in time."""
        gates = self.firing(pressure.WORKFLOW_TASK_FAILURES)
        failing = ("workflow_tasks.failed_per_sec", "worker_tasks.workflow_task_failures_per_sec")
        if not gates or self.firing(pressure.WORKFLOW_TASK_ATTEMPTS) or any(self.value(i) for i in failing):
            return []
        return gates if self.draining else []

    def events(self, signal_id: str) -> float:
        """How many events of a rate there were in the window; 0 where that was not read."""
        return (self.value(signal_id) or 0.0) * self.view.window_sec

    def lasts(self, gate: str) -> bool:
        """Whether the gate has fired for a whole window."""
        past = self.view.memory.gates.get(gate)
        since = past.first_fired if past else None
        return since is not None and (self.view.now - since).total("seconds") >= self.view.window_sec

    def value(self, signal_id: str) -> float | None:
        """A signal's value; None where there is none."""
        return self.view.signals.value(signal_id)

    def durations(self, **signal_ids: str) -> Evidence:
        """Evidence of these signals' values, and in `at_least` which of them are lower bounds."""
        signals = self.view.signals
        over = tuple(key for key, signal_id in signal_ids.items() if signal_id in signals.at_least)
        return present(**{key: signals.value(signal_id) for key, signal_id in signal_ids.items()}, at_least=over)

    def top_row(self, signal_id: str) -> BreakdownRow | None:
        """The largest row of a breakdown; None where there is none."""
        return max(self.view.signals.rows(signal_id), key=lambda r: r.value, default=None)

    def top_label(self, signal_id: str, label: str) -> str:
        """A label of the largest row of a breakdown; empty where there is none."""
        row = self.top_row(signal_id)
        return row.label(label) if row else ""

    @property
    def throttled_by_persistence(self) -> bool:
        """Whether most of history's throttled attempts are throttled by a persistence limit."""
        return self.top_label("history.throttled_per_sec", "resource_exhausted_cause").startswith("Persistence")


def present(**values: str | float | tuple[str, ...] | bool | None) -> Evidence:
    """Evidence of those values that are there: neither None, empty, zero nor false. True becomes a flag."""
    return {key: "yes" if value is True else value for key, value in values.items() if value}


def backlog_of(flows: Iterable[Flow], *, name_at_most: int | None = None) -> Evidence:
    """The backlog of flows as evidence: tasks, age of the oldest in seconds, and the task queues' names (all of them,
    or none when they are more than `name_at_most`)."""
    flows = list(flows)
    queues = tuple(sorted({f.task_queue for f in flows if f.task_type}))
    return present(
        backlog=sum(f.backlog or 0.0 for f in flows),
        age=max((f.backlog_age_sec or 0.0 for f in flows), default=0.0),
        queues=queues if name_at_most is None or len(queues) <= name_at_most else None,
    )
