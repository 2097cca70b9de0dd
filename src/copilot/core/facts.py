"""What findings look at, and how one is written down."""

from dataclasses import dataclass
from functools import cached_property

from copilot.core.actions import actions_for
from copilot.core.assessment import GateResult, Issue, Severity, SuggestedAction
from copilot.core.bottleneck import SERVER_REFUSES, WorkerEvidence
from copilot.core.scaling import permitted
from copilot.core.signals import BreakdownRow
from copilot.core.view import View


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


def issue(
    finding: str,
    facts: Facts,
    gates: list[GateResult],
    title: str,
    why: str,
    *,
    subject: str = "",
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
        description=" ".join(f"{g.sentence[:1].upper()}{g.sentence[1:]}." for g in gates) or f"{title}.",
        likely_cause=why,
        contributing_factors=tuple(g.name for g in gates),
        related_signals=related,
        suggested_actions=permitted(offered, facts.view.signals),
    )
