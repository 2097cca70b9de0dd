"""What happens to an imagined cluster, and what is right to say of it when."""

from dataclasses import dataclass, field

from copilot.pipeline import replay
from copilot.rules.model import Evaluation
from tests.imagined_cluster import Imagined

FAULT = 120.0
"""The trouble begins so many seconds after the run."""
H, S, C = frozenset({"happy"}), frozenset({"stressed"}), frozenset({"critical"})


@dataclass(frozen=True)
class Incident:
    """`right`: (from, to, states) that are right then; `warm` are before the fault. `cause`: acceptable first
    findings in (from, to, names)."""

    what: str
    cluster: Imagined
    right: tuple[tuple[float, float, frozenset[str]], ...]
    cause: tuple[float, float, frozenset[str]] | None = None
    bottleneck: frozenset[str] = field(default_factory=frozenset)
    warm: frozenset[str] = H

    def wrong(self, seed: int) -> list[str]:
        """What is said that should not be."""
        evaluations = list(replay(self.cluster.ticks(seed), self.cluster.context))
        start = evaluations[0].time
        return [text for e in evaluations for text in self._wrong(e, (e.time - start).total("seconds"))]

    def _wrong(self, e: Evaluation, at: float) -> list[str]:
        state, found = e.verdict.health_state.value, []
        for since, until, states in ((0.0, FAULT, self.warm), *self.right):
            if since <= at < until and state not in states:
                found.append(f"{at:.0f} s: {state}, not {' or '.join(sorted(states))}; fired {e.verdict.fired()}")
        if self.cause and self.cause[0] <= at < self.cause[1] and state != "happy":
            if e.top_factor not in self.cause[2]:
                found.append(f"{at:.0f} s: cause {e.top_factor}")
            if self.bottleneck and e.bottleneck.value not in self.bottleneck:
                found.append(f"{at:.0f} s: bottleneck {e.bottleneck.value}")
        return found
