"""Hours in which people are not told what can wait."""

from whenever import Instant, Time

from copilot.core.assessment import ReportedState
from copilot.core.signals import Frozen


class QuietHours(Frozen):
    """From `start` to `end` by the clocks of `timezone` (an IANA name), over midnight where the end is earlier; states
    in `but` are told all the same."""

    start: Time
    end: Time
    timezone: str
    but: frozenset[ReportedState] = frozenset()

    def until(self, state: ReportedState, now: Instant) -> Instant:
        """When `state` may be told: now, or at the end of the quiet hours that `now` lies in."""
        if state in self.but:
            return now
        local = now.to_tz(self.timezone)
        time = local.time()
        over_midnight = self.end < self.start
        late, early = time >= self.start, time < self.end
        if not (late or early if over_midnight else late and early):
            return now
        day = local.date().add(days=1) if over_midnight and late else local.date()
        return max(now, day.at(self.end).assume_tz(self.timezone).to_instant())
