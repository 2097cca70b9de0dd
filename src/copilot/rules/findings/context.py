"""What findings look at, and how one is written down."""

from dataclasses import dataclass
from functools import cached_property

from copilot.explain.actions import LOOK_BY_HAND, WAIT_AND_SEE, actions_for
from copilot.explain.conditions import told
from copilot.explain.numbers import count, listed, lowered, span
from copilot.rules.bottleneck import SERVER_REFUSES, WorkerEvidence
from copilot.rules.flow import Flow
from copilot.rules.gates.context import View
from copilot.rules.model import GateResult, Issue, Severity, SuggestedAction
from copilot.rules.scaling import permitted
from copilot.rules.signals.readings import BreakdownRow


@dataclass(frozen=True)
class Facts:
    """What findings look at: the view, the gates by name, what the workers show, and whether evidence is lacking."""

    view: View
    gates: dict[str, GateResult]
    workers: WorkerEvidence
    blind: bool

    def fired(self, *names: str) -> list[GateResult]:
        """Those of the named gates that fired."""
        gates = self._fired
        return [gates[n] for n in names if n in gates] if gates else []

    @cached_property
    def _fired(self) -> dict[str, GateResult]:
        return {name: gate for name, gate in self.gates.items() if gate.fired}

    def lasts(self, name: str) -> bool:
        """Whether the gate has fired for a whole window."""
        past = self.view.memory.gates.get(name)
        since = past.first_fired if past else None
        return since is not None and (self.view.now - since).total("seconds") >= self.view.window_sec

    def top_row(self, signal_id: str) -> BreakdownRow | None:
        """The largest row of a breakdown."""
        rows = self.view.signals.rows(signal_id)
        return max(rows, key=lambda r: r.value, default=None)

    def throttle_cause(self) -> str:
        """The commonest cause history's attempts are refused for."""
        row = self.top_row("history.throttled_per_sec")
        return row.labels.get("resource_exhausted_cause", "") if row else ""


def queues_named(queues: list[str]) -> str:
    """`task queue a`, `task queues a, b and c`."""
    return f"task queue{'s' if len(queues) > 1 else ''} {listed(queues)}"


def waiting_words(flows: list[Flow], where: str = "") -> str:
    """How many tasks wait (` on` where) and how long the oldest has, in words."""
    waiting = sum(f.waiting or 0.0 for f in flows)
    oldest = max((f.age or 0.0 for f in flows), default=0.0)
    some = f"{count(waiting, 'task')} {'waits' if round(waiting) == 1 else 'wait'}" if waiting else "tasks wait"
    return f"{some}{where}, the oldest for {span(oldest)}" if oldest else f"{some}{where}"


def past(cause: Issue) -> Issue:
    """A cause that was seen while something was over its limit, when nothing is any more."""
    title, words = cause.title, f"Not seen any more. The cause seen last: {lowered(cause.likely_cause)}"
    if cause.finding == "backlog_draining":
        title, words = "A backlog has drained", "What had piled up is done."
    return cause.model_copy(
        update={
            "severity": Severity.WARNING,
            "title": title,
            "description": "Nothing is over its limit now.",
            "likely_cause": words,
            "suggested_actions": (WAIT_AND_SEE.model_copy(update={"runbook": cause.finding}),),
        }
    )


def unsure(cause: Issue) -> Issue:
    """A cause that was seen last, when too little can be read to say whether it is still there."""
    return cause.model_copy(
        update={
            "description": "Too little can be read to say whether anything is over its limit.",
            "likely_cause": f"The cause seen last: {lowered(cause.likely_cause)}",
            "suggested_actions": (LOOK_BY_HAND.model_copy(update={"runbook": cause.finding}),),
        }
    )


def issue(
    finding: str,
    facts: Facts,
    gates: list[GateResult],
    title: str,
    why: str,
    *,
    subject: str = "",
    description: str = "Worth knowing; it does not move the state.",
    signals: tuple[str, ...] = (),
    parameters: dict[str, str | int | float] | None = None,
) -> Issue:
    critical = any(g.severity is Severity.CRITICAL for g in gates)
    related = tuple(dict.fromkeys((*signals, *(i for g in gates for i in g.evidence))))
    refused = bool(facts.fired(*SERVER_REFUSES))
    offered: tuple[SuggestedAction, ...] = actions_for(finding, parameters or {})
    if refused:
        offered = tuple(a for a in offered if a.target_service != "workers")
    return Issue(
        finding=finding,
        subject=subject,
        severity=Severity.CRITICAL if critical else Severity.WARNING,
        title=title,
        description=told(gates) or description,
        likely_cause=why,
        contributing_factors=tuple(g.name for g in gates),
        related_signals=related,
        suggested_actions=permitted(offered, facts.view.signals),
    )
