"""The pages of incidents: the list, and one of them with its states as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from whenever import Instant

from copilot.explain.numbers import duration
from copilot.store.incidents import Incident
from copilot.web import drawing


@dataclass(frozen=True, slots=True)
class IncidentPicture:
    """An incident at `now`: how long it lasts or lasted, and its states as stretches of 0…1000."""

    incident: Incident
    now: Instant

    @property
    def lasted(self) -> str:
        """For how long, as text."""
        return duration(round(((self.incident.ended or self.now) - self.incident.began).total("seconds")))

    @property
    def stretches(self) -> Sequence[drawing.Stretch]:
        """Its states over time, without the one that ended it."""
        start, end = self.incident.began, self.incident.ended or self.now
        if end <= start:
            return ()
        times = [*(s.time for s in self.incident.states if s.time < end), end]
        found = []
        for state, (begin, until) in zip(self.incident.states, pairwise(times), strict=False):
            x, right = (round(drawing.place(t, start, end), 2) for t in (begin, until))
            width = max(1.5, right - x)
            found.append(drawing.Stretch(x, width, state.health_state.value, stale=False, begin=begin, end=until))
        return found
