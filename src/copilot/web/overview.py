"""Several clusters at a glance, the worst first."""

from collections.abc import Iterable
from dataclasses import dataclass

from whenever import Instant

from copilot.explain import ExplainedEvaluation
from copilot.rules.model import ReportedState

WORST_FIRST = (ReportedState.CRITICAL, ReportedState.STRESSED, ReportedState.UNKNOWN, ReportedState.HAPPY)
"""As /clusters has it."""


@dataclass(frozen=True, slots=True)
class ClusterCard:
    """One cluster; `evaluation` as it must be read now, None before the first."""

    name: str
    evaluation: ExplainedEvaluation | None

    @property
    def state(self) -> ReportedState:
        """The state; unknown before the first evaluation."""
        return self.evaluation.verdict.health_state if self.evaluation else ReportedState.UNKNOWN

    @property
    def stale(self) -> bool:
        """Whether the state is held without fresh evidence."""
        return self.evaluation.verdict.stale if self.evaluation else True

    @property
    def first_action(self) -> str | None:
        """What to do first, where something is wrong and fresh."""
        actions = self.evaluation.findings[0].suggested_actions if self.evaluation and self.evaluation.findings else ()
        return actions[0].description if actions and not self.stale else None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the overview shows."""

    clusters: tuple[ClusterCard, ...]
    now: Instant
    degraded_because: str | None = None
    logged_in: bool = False

    @property
    def ranked(self) -> list[ClusterCard]:
        """The worst first, the stale before the fresh."""
        return sorted(self.clusters, key=lambda c: (WORST_FIRST.index(c.state), not c.stale))

    @property
    def state(self) -> ReportedState:
        """The worst state there is."""
        return self.ranked[0].state

    @property
    def counts(self) -> list[tuple[ReportedState, int]]:
        """How many clusters are in each state there is, the worst state first."""
        counted = [(state, sum(c.state is state for c in self.clusters)) for state in WORST_FIRST]
        return [(state, n) for state, n in counted if n]


def said(cards: Iterable[tuple[str, ExplainedEvaluation | None]]) -> tuple[ClusterCard, ...]:
    """Cards of names with evaluations."""
    return tuple(ClusterCard(name, evaluation) for name, evaluation in cards)
