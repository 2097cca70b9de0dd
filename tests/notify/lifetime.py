"""A channel over the life of a cluster, notified as the loop does it, without a loop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from whenever import Instant

from copilot.notify.decide import (
    ChannelState,
    ClusterState,
    Notification,
    Outcome,
    after_attempt,
    decide,
    next_cluster_state,
)
from copilot.rules.model import ReportedState
from copilot.settings.notify import ChannelRules

NOON = Instant.from_utc(2026, 11, 22, 12)
DELIVERED = Outcome(delivered=True)


@dataclass
class Channel:
    """`attempts` are all that were made: when, of what, with which outcome."""

    rules: ChannelRules
    respond: Callable[[Notification], Outcome] = lambda _: DELIVERED
    state: ChannelState = field(default_factory=ChannelState)
    cluster: ClusterState | None = None
    attempts: list[tuple[float, Notification, Outcome]] = field(default_factory=list)

    def run(self, states: Iterable[tuple[float, str]], until: float) -> "Channel":
        """Run with a cluster that changes to each state at some second after noon."""
        events = [*states]
        now = events[0][0]
        while True:
            while events and events[0][0] <= now:
                time = NOON.add(seconds=events[0][0])
                state = ReportedState(events.pop(0)[1])
                self.cluster = next_cluster_state(self.cluster, state, time, time, never_judged=False)
            check = self.check(now)
            times = [t for t in (check, events[0][0] if events else None) if t is not None]
            if not times or min(times) > until:
                return self
            now = max(now, min(times))

    def check(self, now: float) -> float | None:
        """Do what is due; returns when to check again."""
        assert self.cluster is not None
        moment = NOON.add(seconds=now)
        decision = decide(self.rules, self.state, self.cluster, moment)
        assert decision.next_check_at is None or decision.next_check_at > moment
        if decision.new_state is not None:
            self.state = decision.new_state
            return now
        if decision.notification is None:
            return (decision.next_check_at - NOON).total("seconds") if decision.next_check_at is not None else None
        outcome = self.respond(decision.notification)
        self.attempts.append((now, decision.notification, outcome))
        before, self.state = (
            self.state,
            after_attempt(self.state, decision.notification, outcome, moment, self.rules.repeat_interval_sec),
        )
        assert self.state != before
        self.state = ChannelState.model_validate_json(self.state.model_dump_json())
        return now

    @property
    def delivered(self) -> list[tuple[float, str, str]]:
        """What was delivered: seconds after noon, kind and state."""
        return [(when, n.kind, n.state.value) for when, n, outcome in self.attempts if outcome.delivered]
