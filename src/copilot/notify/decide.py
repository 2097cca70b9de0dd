"""When a channel is notified of a cluster's state, and after what pause. Pure: decisions from states and a time."""

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat
from whenever import Instant

from copilot.rules.model import ReportedState
from copilot.rules.mutes import MuteLife
from copilot.rules.signals.readings import Frozen
from copilot.rules.state_machine import RELAPSE_WITHIN
from copilot.settings.notify import ChannelRules

Kind: TypeAlias = Literal["firing", "worse", "improved", "repeat", "resolved", "summary", "test"]
RESOLVED = "resolved"
SUMMARY: Kind = "summary"
"""Of a maintenance window that has ended: what was held back."""
# A cluster is unknown until enough was read: a new one is not notified before that.
FIRST_VERDICT_SEC = 300.0
GIVE_UP_SEC = 3600.0
BACKOFF_SEC, MAX_BACKOFF_SEC = 5.0, 300.0


class Persisted(BaseModel):
    """Base of what a loop keeps from release to release: fields of another release are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ClusterState(Persisted):
    """A cluster's state as of the evaluation at `time`. `incident`: when it left happy, None while it is happy; `last`
    when the incident began that ended last, at `ended`. One that comes back within minutes goes on.
    `never_judged`: unknown, and there was never enough data for another state."""

    state: ReportedState
    since: Instant
    time: Instant
    incident: Instant | None = None
    never_judged: bool = False
    last: Instant | None = None
    ended: Instant | None = None


def next_cluster_state(
    before: ClusterState | None, state: ReportedState, since: Instant, time: Instant, *, never_judged: bool
) -> ClusterState:
    """The state after one more evaluation."""
    incident, last, ended = (before.incident, before.last, before.ended) if before else (None, None, None)
    if state is not ReportedState.HAPPY:
        back = ended is not None and time - ended <= RELAPSE_WITHIN
        incident = incident or (last if back else None) or time
    elif incident is not None:
        incident, last, ended = None, incident, time
    return ClusterState(
        state=state, since=since, time=time, incident=incident, never_judged=never_judged, last=last, ended=ended
    )


class Notification(Persisted):
    """A notification for a channel: its kind, the state it reports and its number on the channel. Retries are equal."""

    kind: Kind
    state: ReportedState
    number: int
    incident: Instant

    def event_id(self, cluster: str) -> str:
        """The same for every attempt at this notification; unique on the channel."""
        what = self.kind if self.kind in (RESOLVED, SUMMARY, "repeat", "test") else self.state.value
        return f"{incident_id(cluster, self.incident)}:{self.number}:{what}"


def incident_id(cluster: str, began: Instant) -> str:
    """The same for all notifications of one incident."""
    return f"{cluster}:{began.timestamp()}"


class Attempt(Persisted):
    """A notification not delivered yet: the number of tries, when the first one was, and when the next one is due."""

    notification: Notification
    tries: int
    first_at: Instant
    next_at: Instant


class ChannelState(Persisted):
    """What a channel was notified of. `state`: the last state of the incident that is open there, None if none is;
    `delivered_state`: the last one delivered; `maybe_delivered`: whether any notification of that incident was, or may
    have been. `sent_at`: when each state, and a resolve, was sent last. `summed`: when the last summary of maintenance
    was sent. `thread`: where the receiver keeps the incident's messages together."""

    state: ReportedState | None = None
    delivered_state: ReportedState | None = None
    incident: Instant | None = None
    maybe_delivered: bool = False
    number: int = 0
    sent_at: dict[str, Instant] = Field(default_factory=dict)
    last_at: Instant | None = None
    attempt: Attempt | None = None
    thread: str = ""
    summed: Instant | None = None

    def closed(self, **changed: Any) -> "ChannelState":
        """The state in which no incident is open there."""
        return ChannelState(**{"number": self.number, "sent_at": self.sent_at, "summed": self.summed, **changed})


class Outcome(Frozen):
    """The result of an attempt. Not `delivered`: `why` in one line, `final` if a retry is useless, `doubtful` if it may
    have been delivered, and after how many seconds the receiver wants the retry. `thread`: of a new message there that
    the incident's next ones belong to. `silences`: links to the receiver's own silences of it, None where not known."""

    delivered: bool
    why: str = ""
    final: bool = False
    doubtful: bool = False
    retry_after_sec: NonNegativeFloat | None = None
    thread: str = ""
    silences: tuple[str, ...] | None = None


class Decision(Frozen):
    """Send `notification` now; or check again at `next_check_at` (None: at the next change). `new_state`: the channel's
    state from now on, where no notification is needed for that."""

    notification: Notification | None = None
    next_check_at: Instant | None = None
    new_state: ChannelState | None = None


def decide(
    rules: ChannelRules, channel: ChannelState, cluster: ClusterState, now: Instant, woken: Instant | None = None
) -> Decision:
    """What to do about a channel at `now`. `woken`: when a mute stopped to hold back; what is firing is sent again."""
    pending = _pending(rules, channel, cluster, now, woken)
    if pending is None:
        return Decision()
    kind, due = pending
    if kind == RESOLVED and not channel.maybe_delivered:
        return Decision(new_state=channel.closed())
    if kind in ("worse", "improved") and cluster.state is channel.delivered_state:
        return Decision(new_state=channel.model_copy(update={"state": cluster.state}))
    due = max(due, now)
    if kind != RESOLVED:
        due = rules.muted_until(cluster.state, due)
    incident = channel.incident or cluster.incident or cluster.time
    notification = Notification(kind=kind, state=cluster.state, number=channel.number + 1, incident=incident)
    if channel.attempt is not None and channel.attempt.notification == notification:
        due = max(due, channel.attempt.next_at)
    return Decision(notification=notification) if due <= now else Decision(next_check_at=due)


def decide_while_muted(rules: ChannelRules, channel: ChannelState, now: Instant) -> Decision:
    """What is still sent on a channel whose notification is held back: an alert that is open there and would end by
    itself is pushed again as it was, or it would read as resolved."""
    if not rules.pushes_again or channel.state is None or channel.incident is None or channel.last_at is None:
        return Decision()
    due = channel.last_at.add(seconds=rules.repeat_interval_sec or 0.0)
    if due > now:
        return Decision(next_check_at=due)
    again = Notification(kind="repeat", state=channel.state, number=channel.number + 1, incident=channel.incident)
    return Decision(notification=again)


def decide_summary(
    rules: ChannelRules, channel: ChannelState, state: ReportedState, known: Iterable[MuteLife], now: Instant
) -> tuple[MuteLife | None, Decision]:
    """The maintenance that has ended and held back something on this channel, if its summary is due, or will be."""
    for life in known if rules.takes_summaries else ():
        window = life.last_window(now)
        if life.mute.kind != "maintenance" or window is None or window[1] > now:
            continue
        late = (now - window[1]).total("seconds") > GIVE_UP_SEC
        told = channel.summed is not None and channel.summed >= window[1]
        if late or told or not life.held_in(window, rules.name):
            continue
        notification = Notification(kind=SUMMARY, state=state, number=channel.number + 1, incident=window[0])
        attempt = channel.attempt
        if attempt and attempt.notification == notification and attempt.next_at > now:
            return life, Decision(next_check_at=attempt.next_at)
        return life, Decision(notification=notification)
    return None, Decision()


def after_attempt(
    channel: ChannelState,
    notification: Notification,
    outcome: Outcome,
    now: Instant,
    repeat_interval_sec: float | None = None,
) -> ChannelState:
    """The channel's state after an attempt. One that was refused, or failed for an hour, is given up. A retry comes no
    later than a repeat would."""
    before = channel.attempt if channel.attempt and channel.attempt.notification == notification else None
    tries, first_at = (before.tries + 1, before.first_at) if before else (1, now)
    backoff_sec = min(MAX_BACKOFF_SEC, repeat_interval_sec or MAX_BACKOFF_SEC, BACKOFF_SEC * 2 ** min(tries - 1, 20))
    pause = max(backoff_sec, outcome.retry_after_sec or 0.0)
    next_at = now.add(seconds=min(pause, GIVE_UP_SEC))
    maybe_delivered = channel.maybe_delivered or outcome.doubtful or outcome.delivered
    if outcome.delivered or outcome.final or (next_at - first_at).total("seconds") > GIVE_UP_SEC:
        what = RESOLVED if notification.kind == RESOLVED else notification.state.value
        sent = {"number": notification.number, "sent_at": {**channel.sent_at, what: now}}
        if notification.kind == SUMMARY:
            done = {"number": notification.number, "summed": now, "attempt": None}
            return channel.model_copy(update=done)
        if what == RESOLVED:
            return channel.closed(**sent)
        delivered = notification.state if outcome.delivered else channel.delivered_state
        reported = {"state": notification.state, "delivered_state": delivered, "incident": notification.incident}
        thread = outcome.thread or channel.thread
        return channel.closed(**sent, **reported, maybe_delivered=maybe_delivered, last_at=now, thread=thread)
    attempt = Attempt(notification=notification, tries=tries, first_at=first_at, next_at=next_at)
    if notification.kind == SUMMARY:
        return channel.model_copy(update={"attempt": attempt})
    incident = channel.incident or (notification.incident if outcome.doubtful else None)
    update = {"attempt": attempt, "maybe_delivered": maybe_delivered, "incident": incident}
    return channel.model_copy(update=update)


def _pending(
    rules: ChannelRules, channel: ChannelState, cluster: ClusterState, now: Instant, woken: Instant | None
) -> tuple[Kind, Instant] | None:
    """The kind of the next notification and when it is due; None: there is none."""
    firing = cluster.state.value in rules.states
    if channel.state is None:
        if firing:
            return "firing", cluster.since.add(seconds=FIRST_VERDICT_SEC) if cluster.never_judged else now
        # An attempt that failed may have been delivered.
        return ("resolved", now) if channel.maybe_delivered and _resolves(cluster, None) else None
    if cluster.state is channel.state:
        if not firing or channel.last_at is None:
            return None
        if woken is not None and channel.last_at < woken:
            return "repeat", now
        if rules.repeat_interval_sec is None:
            return None
        return "repeat", channel.last_at.add(seconds=rules.repeat_interval_sec)
    if firing and cluster.state.rank > channel.state.rank:
        return "worse", now
    if firing:
        return "improved", _after_gap(rules, channel, cluster.state.value, now)
    if not _resolves(cluster, channel.state):
        return None
    if cluster.state is ReportedState.HAPPY:
        return "resolved", _after_gap(rules, channel, RESOLVED, now)
    return "resolved", cluster.since.add(seconds=rules.min_gap_sec)


def _resolves(cluster: ClusterState, notified: ReportedState | None) -> bool:
    if cluster.state is ReportedState.HAPPY:
        return True
    return cluster.state is ReportedState.STRESSED and notified is not ReportedState.STRESSED


def _after_gap(rules: ChannelRules, channel: ChannelState, what: str, now: Instant) -> Instant:
    sent_at = channel.sent_at.get(what)
    return now if sent_at is None else sent_at.add(seconds=rules.min_gap_sec)
