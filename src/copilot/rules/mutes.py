"""Mutes: acknowledgements, silences and maintenance windows. What each holds back, and when one ends early.

A mute never touches the verdict: it only holds back notifications. Its life is a list of events that is only ever
appended to, so that several workers and people can write at once, and the list is the audit trail.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Protocol, Self, TypeAlias

from pydantic import Field, model_validator
from whenever import Instant, TimeZoneNotFoundError

from copilot.rules.findings.queues import BACKLOG_DRAINING
from copilot.rules.findings.registry import BY_NAME, EXPLAINS
from copilot.rules.model import EvidenceValue, ReportedState
from copilot.rules.signals.readings import Frozen

Kind: TypeAlias = Literal["ack", "silence", "maintenance"]
MAX_DAYS, MAX_WEEKLY_DAYS = 30, 366
MAX_TEXT, MAX_NAME = 300, 200
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
_IMPROVES = frozenset({BACKLOG_DRAINING.name})
"""Findings that show a recovery: that one of them is new is not worse."""


class _Gate(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def fired(self) -> bool | None: ...
    @property
    def labels(self) -> dict[str, str]: ...


class _Finding(Protocol):
    @property
    def finding(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def contributing_factors(self) -> tuple[str, ...]: ...
    @property
    def evidence(self) -> dict[str, EvidenceValue]: ...
    @property
    def phase(self) -> str: ...


class Problem(Frozen):
    """A finding that is no consequence of another one, for each task queue (or other `subject`) it names. `namespaces`:
    where it is, empty where nothing tells. `passing`: it is past, fading, or the sign of a recovery."""

    finding: str
    subject: str = ""
    namespaces: tuple[str, ...] = ()
    passing: bool = False


class Seen(Frozen):
    """What a mute looks at: a cluster's state and its problems at `time`."""

    time: Instant
    state: ReportedState
    problems: tuple[Problem, ...] = ()


def is_finding(name: str) -> bool:
    """Whether the rules know a finding of this name."""
    return name in BY_NAME


def seen(time: Instant, state: ReportedState, findings: Sequence[_Finding], gates: Iterable[_Gate]) -> Seen:
    """The problems of an evaluation: its first finding, and those that rest on firing gates, without the consequences
    of one before them."""
    firing = {gate.name: gate.labels for gate in gates if gate.fired}
    problems: list[Problem] = []
    explained: set[str] = set()
    for found in findings:
        if found.finding not in explained and (found.contributing_factors or not problems):
            problems += _problems(found, [firing[g] for g in found.contributing_factors if g in firing])
        explained |= EXPLAINS.get(found.finding, frozenset())
    return Seen(time=time, state=state, problems=tuple(problems))


def _problems(found: _Finding, labels: Sequence[dict[str, str]]) -> list[Problem]:
    def named(key: str) -> set[str]:
        value = found.evidence.get(key)
        return {value} if isinstance(value, str) else set(value) if isinstance(value, tuple) else set()

    of_gates = {each.get("task_queue", "") for each in labels}
    subjects = set(filter(None, found.subject.split(", "))) or named("queues") or of_gates - {""} or {""}
    spaces = named("namespace") or {each.get("namespace", "") for each in labels} - {""}
    passing = found.phase in ("past", "after", "fading") or found.finding in _IMPROVES
    return [
        Problem(finding=found.finding, subject=subject, namespaces=tuple(sorted(spaces)), passing=passing)
        for subject in sorted(subjects)
    ]


class Matcher(Frozen):
    """What is muted: all fields that are not empty must match. Without any but the cluster: all of the cluster."""

    cluster: str
    finding: Name = ""
    namespace: Name = ""
    task_queue: Name = ""

    @property
    def whole_cluster(self) -> bool:
        """Whether it matches whatever is wrong with the cluster."""
        return not (self.finding or self.namespace or self.task_queue)

    def matches(self, problem: Problem) -> bool:
        """Whether it matches a problem of its cluster; a namespace only if the problem is known to be in no other."""
        return (
            self.finding in ("", problem.finding)
            and self.task_queue in ("", problem.subject)
            and (not self.namespace or problem.namespaces == (self.namespace,))
        )

    def any_of(self, now: Seen) -> bool:
        """Whether it matches something that is wrong."""
        wrong = now.state is not ReportedState.HAPPY
        return wrong and (self.whole_cluster or any(map(self.matches, now.problems)))


class Mute(Frozen):
    """A mute, from `start` to `end`. A `weekly` one comes back each week, at the same time of day in `zone`, until
    `until`, which is `end` for all others. `breaks_when_worse`: it ends when the state is worse than at its beginning,
    or when there is a finding that was not there then. `ends_when_resolved`: it ends when the cluster is happy."""

    id: str
    kind: Kind
    matcher: Matcher
    start: Instant
    end: Instant
    owner: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
    reason: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    created_at: Instant
    created_from: Text = ""
    breaks_when_worse: bool = True
    ends_when_resolved: bool = True
    weekly: bool = False
    until: Instant
    zone: str = "UTC"

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        long = MAX_WEEKLY_DAYS if self.weekly else MAX_DAYS
        try:
            self.start.to_tz(self.zone)
        except TimeZoneNotFoundError:
            raise ValueError(f"{self.zone!r} is no time zone: write Europe/Berlin or UTC") from None
        if self.end <= self.start:
            raise ValueError("it ends before it starts")
        if self.weekly and (self.end - self.start).total("hours") >= 7 * 24:
            raise ValueError("a weekly window must be shorter than a week")
        if self.until < self.end:
            raise ValueError("`until` is before the end of the first window")
        if (self.until - self.start).total("hours") > 24 * long:
            raise ValueError(f"it lasts more than {long} days: mute it for less, or fix the cause or its threshold")
        return self

    def window(self, now: Instant) -> tuple[Instant, Instant] | None:
        """The last window that had begun at `now`; None before the first."""
        weeks = int((min(now, self.until) - self.start).total("hours") // (7 * 24)) + 1 if self.weekly else 0
        for week in range(max(weeks, 0), max(weeks - 3, -1), -1):
            begin = self.start.to_tz(self.zone).add(weeks=week).to_instant() if week else self.start
            if begin <= now and begin < self.until:
                return begin, min(begin + (self.end - self.start), self.until)
        return None


class HeldBack(Frozen):
    """A notification that was not sent: to which channel, its kind, the state and its event id there."""

    channel: str
    notification: str
    state: ReportedState
    event_id: str


EventKind: TypeAlias = Literal["created", "matched", "held", "broke", "resolved", "ended"]
OVER = ("broke", "resolved", "ended")


class MuteEvent(Frozen):
    """One event of a mute's life. `created` has the mute; `matched` what was wrong when it first matched something;
    `held` a notification; `broke` (and why), `resolved` and `ended` (by a person) end it. `who` and `origin` say by
    whom and from where, where it was a person."""

    mute_id: str
    kind: EventKind
    at: Instant
    who: Name = ""
    origin: Text = ""
    why: Text = ""
    mute: Mute | None = None
    baseline: Seen | None = None
    held: HeldBack | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The same for the same event, however often it is written."""
        held = (self.held.channel, self.held.event_id) if self.held else ()
        return (self.mute_id, self.kind, *held)


class MuteLife(Frozen):
    """A mute with its events: `baseline` is what was wrong when it first matched (None: nothing yet), `over` the event
    that ended it early, `held` what it held back, oldest first."""

    mute: Mute
    created: MuteEvent
    baseline: Seen | None = None
    over: MuteEvent | None = None
    held: tuple[MuteEvent, ...] = ()

    def active(self, now: Instant) -> bool:
        """Whether it holds back at `now`."""
        window = self.mute.window(now)
        return window is not None and now < window[1] and not self.is_over(now)

    def is_over(self, now: Instant) -> bool:
        """Whether it will hold back nothing any more."""
        return now >= self.over_at

    @property
    def over_at(self) -> Instant:
        """When it ended, or will end at the latest."""
        return min(self.over.at, self.mute.until) if self.over else self.mute.until

    def last_window(self, now: Instant) -> tuple[Instant, Instant] | None:
        """The last window that had begun at `now`, with the end that it really had; None before the first."""
        window = self.mute.window(now)
        return None if window is None else (window[0], min(window[1], max(self.over_at, window[0])))

    def held_in(self, window: tuple[Instant, Instant], channel: str = "") -> tuple[MuteEvent, ...]:
        """What it held back in one of its windows, on one channel or on all."""
        held = (e for e in self.held if window[0] <= e.at <= window[1])
        return tuple(e for e in held if e.held and channel in ("", e.held.channel))

    def mattered_in(self, window: tuple[Instant, Instant]) -> bool:
        """Whether something was wrong in one of its windows that it is about."""
        matched = self.baseline is not None and window[0] <= self.baseline.time <= window[1]
        return matched or bool(self.held_in(window))


def lives(events: Iterable[MuteEvent]) -> list[MuteLife]:
    """The mutes of these events, in any order; the newest mute first."""
    of_each: dict[str, list[MuteEvent]] = {}
    for event in sorted(events, key=lambda e: e.at):
        of_each.setdefault(event.mute_id, []).append(event)
    found = []
    for each in of_each.values():
        created = next((e for e in each if e.mute is not None), None)
        if created is not None and created.mute is not None:
            baseline = next((e.baseline for e in each if e.baseline is not None), None)
            over = next((e for e in each if e.kind in OVER), None)
            held = tuple(e for e in each if e.kind == "held")
            found.append(MuteLife(mute=created.mute, created=created, baseline=baseline, over=over, held=held))
    return sorted(found, key=lambda life: life.mute.created_at, reverse=True)


class Judged(Frozen):
    """The mutes against a verdict. `by`: the one that holds back its notifications, and `until` when; None: they are
    sent. `lives`: the mutes afterwards, and `events` what happened to them."""

    by: MuteLife | None
    until: Instant | None
    lives: tuple[MuteLife, ...]
    events: tuple[MuteEvent, ...]


def judge(known: Iterable[MuteLife], now: Seen) -> Judged:
    """What the mutes do about what is seen: some match for the first time, some end early, the others hold back."""
    known = list(known)
    events: list[MuteEvent] = []
    after: list[MuteLife] = []
    for life in known:
        others = [o for o in known if o is not life and o.active(now.time)]
        event = _event(life, others, now)
        if event is not None:
            events.append(event)
            changed = {"baseline": event.baseline} if event.kind == "matched" else {"over": event}
            life = life.model_copy(update=changed)  # noqa: PLW2901
        after.append(life)
    by = _holding([life for life in after if life.active(now.time)], now)
    window = by.last_window(now.time) if by else None
    return Judged(by=by, until=window[1] if window else None, lives=tuple(after), events=tuple(events))


def _event(life: MuteLife, others: Sequence[MuteLife], now: Seen) -> MuteEvent | None:
    mute, before = life.mute, life.baseline
    if not life.active(now.time):
        return None
    if before is None:
        matched = mute.matcher.any_of(now)
        return MuteEvent(mute_id=mute.id, kind="matched", at=now.time, baseline=now) if matched else None
    if now.state is ReportedState.HAPPY:
        resolved = mute.ends_when_resolved and now.time >= before.time
        return MuteEvent(mute_id=mute.id, kind="resolved", at=now.time) if resolved else None
    why = worse_than(before, now, others) if mute.breaks_when_worse else ""
    return MuteEvent(mute_id=mute.id, kind="broke", at=now.time, why=why[:MAX_TEXT]) if why else None


def worse_than(before: Seen, now: Seen, others: Sequence[MuteLife] = ()) -> str:
    """The state, or the first finding, by which `now` is worse than `before`; empty if it is not. What one of the
    `others` mutes is not worse."""
    if now.state.rank > before.state.rank:
        return now.state.value
    known = {(p.finding, p.subject) for p in before.problems}
    explained = {name for p in before.problems for name in EXPLAINS.get(p.finding, ())}
    for problem in now.problems:
        new = (problem.finding, problem.subject) not in known and problem.finding not in explained
        if new and not problem.passing and not any(o.mute.matcher.matches(problem) for o in others):
            return f"{problem.finding} {problem.subject}".strip()
    return ""


def _holding(active: Sequence[MuteLife], now: Seen) -> MuteLife | None:
    """The mute that holds back the cluster's notifications: of the whole cluster, else, if each problem is muted, the
    one among theirs that ends first."""

    def ends(life: MuteLife) -> Instant:
        window = life.last_window(now.time)
        return window[1] if window else now.time

    longest = sorted(active, key=ends, reverse=True)
    whole = next((life for life in longest if life.mute.matcher.whole_cluster), None)
    if whole is not None or now.state is ReportedState.HAPPY:
        return whole
    each = [next((life for life in longest if life.mute.matcher.matches(p)), None) for p in now.problems]
    muted = [life for life in each if life is not None]
    return min(muted, key=ends, default=None) if len(muted) == len(each) else None


def woken_at(known: Iterable[MuteLife], now: Instant) -> Instant | None:
    """When the last mute stopped to hold back something that it had matched or held back, without its being resolved;
    None: never, or none of these. What is firing then is notified again."""
    times = []
    for life in known:
        window = life.last_window(now)
        resolved = life.over is not None and life.over.kind == "resolved"
        if window is None or window[1] > now or resolved:
            continue
        if life.mattered_in(window):
            times.append(window[1])
    return max(times, default=None)
