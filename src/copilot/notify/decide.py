"""Hours in which people are not told what can wait."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat
from whenever import Instant, Time

from copilot.rules.model import ReportedState
from copilot.rules.signals.readings import Frozen


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


Kind: TypeAlias = Literal["opened", "worse", "eased", "reminder", "resolved", "test"]

RANK = {
    ReportedState.HAPPY: 0,
    ReportedState.STRESSED: 1,
    ReportedState.UNKNOWN: 2,
    ReportedState.CRITICAL: 3,
}
RESOLVED = "resolved"
# A cluster that is watched since a moment ago is unknown until enough was read.
FIRST_LOOK_SEC = 300.0
GIVE_UP_SEC = 3600.0
BACKOFF_SEC, LONGEST_BACKOFF_SEC = 5.0, 300.0


class ChannelRules(Frozen):
    """Of which clusters (empty: of all) and states a channel hears, and when. Times in seconds; `remind_every_sec`
    None: nobody is reminded of a cluster that stays critical."""

    name: str
    clusters: tuple[str, ...] = ()
    states: frozenset[ReportedState] = frozenset({ReportedState.CRITICAL, ReportedState.UNKNOWN})
    quiet_hours: QuietHours | None = None
    repeat_after_sec: float = 600.0
    remind_every_sec: float | None = None

    def hears_of(self, cluster: str) -> bool:
        """Whether a cluster is its business."""
        return not self.clusters or cluster in self.clusters


class Kept(BaseModel):
    """Base of what a loop carries from release to release: what another release added is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Seen(Kept):
    """What is so: the state since when, as of the evaluation at `time`; `incident`: when the cluster left happy, None
    while it is; `first_look`: there was never evidence enough for a state."""

    state: ReportedState
    since: Instant
    time: Instant
    incident: Instant | None = None
    first_look: bool = False


def seen_after(before: Seen | None, state: ReportedState, since: Instant, time: Instant, *, first_look: bool) -> Seen:
    """What is so after one more evaluation."""
    began = None if state is ReportedState.HAPPY else (before and before.incident) or time
    return Seen(state=state, since=since, time=time, incident=began, first_look=first_look)


class Say(Kept):
    """Something to tell a channel: what kind, of which state, and as its how-manieth message. The same thing tried
    again is equal."""

    kind: Kind
    state: ReportedState
    number: int
    incident: Instant

    def event_id(self, cluster: str) -> str:
        """The same for every attempt at this message on a channel, and no other's."""
        what = self.kind if self.kind in (RESOLVED, "reminder", "test") else self.state.value
        return f"{incident_id(cluster, self.incident)}:{self.number}:{what}"


def incident_id(cluster: str, began: Instant) -> str:
    """What ties the messages of one incident together."""
    return f"{cluster}:{began.timestamp()}"


class Attempt(Kept):
    """Something that did not arrive yet: how often it was tried, first when, and from when on again."""

    say: Say
    tries: int
    first: Instant
    again: Instant


class Told(Kept):
    """What a channel knows. `state`: what it was told in the incident that is open for it; None: none is. `reached`:
    whether anything of that incident arrived, or may have; `arrived`: the last state that did. `said`: when each state,
    and a resolve, was said last."""

    state: ReportedState | None = None
    arrived: ReportedState | None = None
    incident: Instant | None = None
    reached: bool = False
    number: int = 0
    said: dict[str, Instant] = Field(default_factory=dict)
    last: Instant | None = None
    attempt: Attempt | None = None


class Outcome(Frozen):
    """What came of an attempt. Not `delivered`: `why` in a line, `final` if trying again is of no use, `doubtful` if it
    may have arrived all the same, and after how many seconds the other side wants to be asked again."""

    delivered: bool
    why: str = ""
    final: bool = False
    doubtful: bool = False
    retry_after_sec: NonNegativeFloat | None = None


class Decision(Frozen):
    """`say` now; or look again at `look_at` (None: when something changes). `becomes`: what the channel knows, where
    nothing need be said for that."""

    say: Say | None = None
    look_at: Instant | None = None
    becomes: Told | None = None


def decide(rules: ChannelRules, told: Told, seen: Seen, now: Instant) -> Decision:
    """What to tell a channel now."""
    wanted = _wanted(rules, told, seen, now)
    if wanted is None:
        return Decision()
    kind, due = wanted
    if kind == RESOLVED and not told.reached:
        return Decision(becomes=Told(number=told.number, said=told.said))
    if kind in ("worse", "eased") and seen.state is told.arrived:
        return Decision(becomes=told.model_copy(update={"state": seen.state}))
    due = max(due, now)
    if kind != RESOLVED and rules.quiet_hours is not None:
        due = rules.quiet_hours.until(seen.state, due)
    say = Say(kind=kind, state=seen.state, number=told.number + 1, incident=_incident(told, seen))
    if told.attempt is not None and told.attempt.say == say:
        due = max(due, told.attempt.again)
    return Decision(say=say) if due <= now else Decision(look_at=due)


def after(told: Told, say: Say, outcome: Outcome, now: Instant) -> Told:
    """What a channel knows after an attempt. One that was refused, or failed for an hour, is not made again."""
    if outcome.delivered:
        return _said(told, say, now, reached=True, arrived=say.state)
    past = told.attempt if told.attempt is not None and told.attempt.say == say else None
    tries, first = (past.tries + 1, past.first) if past else (1, now)
    pause = max(min(LONGEST_BACKOFF_SEC, BACKOFF_SEC * 2 ** min(tries - 1, 20)), outcome.retry_after_sec or 0.0)
    reached = told.reached or outcome.doubtful
    again = now.add(seconds=min(pause, GIVE_UP_SEC))
    if outcome.final or (again - first).total("seconds") > GIVE_UP_SEC:
        return _said(told, say, now, reached=reached, arrived=told.arrived)
    attempt = Attempt(say=say, tries=tries, first=first, again=again)
    incident = told.incident or (say.incident if outcome.doubtful else None)
    return told.model_copy(update={"attempt": attempt, "reached": reached, "incident": incident})


def _wanted(rules: ChannelRules, told: Told, seen: Seen, now: Instant) -> tuple[Kind, Instant] | None:
    """What a channel should hear, and from when on."""
    heard = seen.state in rules.states
    if told.state is None:
        if heard:
            return "opened", seen.since.add(seconds=FIRST_LOOK_SEC) if seen.first_look else now
        # It may have been told, though nobody knows.
        return ("resolved", now) if told.reached and _over(None, seen) else None
    if seen.state is told.state:
        return _reminder(rules, told, seen) if heard else None
    if heard and RANK[seen.state] > RANK[told.state]:
        return "worse", now
    if heard:
        return "eased", _again(rules, told, seen.state.value, now)
    if not _over(told.state, seen):
        return None
    if seen.state is ReportedState.HAPPY:
        return "resolved", _again(rules, told, RESOLVED, now)
    return "resolved", seen.since.add(seconds=rules.repeat_after_sec)


def _over(was: ReportedState | None, seen: Seen) -> bool:
    if seen.state is ReportedState.HAPPY:
        return True
    return seen.state is ReportedState.STRESSED and was is not ReportedState.STRESSED


def _reminder(rules: ChannelRules, told: Told, seen: Seen) -> tuple[Kind, Instant] | None:
    if rules.remind_every_sec is None or seen.state is not ReportedState.CRITICAL or told.last is None:
        return None
    return "reminder", told.last.add(seconds=rules.remind_every_sec)


def _again(rules: ChannelRules, told: Told, what: str, now: Instant) -> Instant:
    said = told.said.get(what)
    return now if said is None else said.add(seconds=rules.repeat_after_sec)


def _incident(told: Told, seen: Seen) -> Instant:
    return told.incident or seen.incident or seen.time


def _said(told: Told, say: Say, now: Instant, *, reached: bool, arrived: ReportedState | None) -> Told:
    if say.kind == RESOLVED:
        return Told(number=say.number, said={**told.said, RESOLVED: now})
    return Told(
        state=say.state,
        arrived=arrived,
        incident=say.incident,
        reached=reached,
        number=say.number,
        said={**told.said, say.state.value: now},
        last=now,
    )
