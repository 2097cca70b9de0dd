"""A channel that is told of a cluster hour by hour, as the notifying loop tells it, without a loop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from whenever import Instant

from copilot.notify.decide import ChannelRules, Outcome, Say, Seen, Told, after, decide, seen_after
from copilot.rules.model import ReportedState

NOON = Instant.from_utc(2026, 11, 22, 12)
DELIVERED = Outcome(delivered=True)


@dataclass
class Channel:
    """`attempts` are all that were made, with when and what came of them."""

    rules: ChannelRules
    answer: Callable[[Say], Outcome] = lambda _: DELIVERED
    told: Told = field(default_factory=Told)
    seen: Seen | None = None
    attempts: list[tuple[float, Say, Outcome]] = field(default_factory=list)

    def lives(self, story: Iterable[tuple[float, str]], until: float) -> "Channel":
        """The states of a cluster, each from some second after noon on."""
        events = [*story]
        now = events[0][0]
        while True:
            while events and events[0][0] <= now:
                time = NOON.add(seconds=events[0][0])
                self.seen = seen_after(self.seen, ReportedState(events.pop(0)[1]), time, time, first_look=False)
            look = self.looks(now)
            times = [t for t in (look, events[0][0] if events else None) if t is not None]
            if not times or min(times) > until:
                return self
            now = max(now, min(times))

    def looks(self, now: float) -> float | None:
        """Do what is to be done now; when to look again."""
        assert self.seen is not None
        moment = NOON.add(seconds=now)
        decision = decide(self.rules, self.told, self.seen, moment)
        assert decision.look_at is None or decision.look_at > moment
        if decision.becomes is not None:
            self.told = decision.becomes
            return now
        if decision.say is None:
            return (decision.look_at - NOON).total("seconds") if decision.look_at is not None else None
        outcome = self.answer(decision.say)
        self.attempts.append((now, decision.say, outcome))
        before, self.told = self.told, after(self.told, decision.say, outcome, moment)
        assert self.told != before
        self.told = Told.model_validate_json(self.told.model_dump_json())
        return now

    @property
    def heard(self) -> list[tuple[float, str, str]]:
        """What arrived: seconds after noon, kind and state."""
        return [(when, say.kind, say.state.value) for when, say, outcome in self.attempts if outcome.delivered]
