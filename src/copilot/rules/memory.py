"""What the rules remember between ticks. It is carried by the loop, stored with every snapshot, and bounded."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, FiniteFloat
from whenever import Instant, TimeDelta

from copilot.rules.flow import Flow
from copilot.rules.model import BottleneckClassification, HealthState, Issue, ReportedState
from copilot.rules.signals.readings import Frozen, Signals

REMEMBERED_QUEUES = 60
AGES_REACH = TimeDelta(seconds=90)
AGES_APART = TimeDelta(seconds=20)
USUAL_OVER_SEC = 1800.0
QUIET_OVER_SEC = 86_400.0
EARLY_TICKS = 12
USUAL_AFTER_SEC = 50.0
BURST_STARTS = 10.0
TENTH_RETRY_SEC = 330.0
LONGEST_RETRY_SEC = 610.0
_SLOTS = tuple((k, f"workers.{k}_slots_available", f"workers.{k}_slots_used") for k in ("activity", "workflow"))


@dataclass(frozen=True, slots=True)
class GateMemory:
    """One gate's past: consecutive evaluations it fired, since when, and since when its input is missing."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    fired: bool = False
    streak: Annotated[int, Field(ge=0)] = 0
    first_fired: Instant | None = None
    missing_since: Instant | None = None


NEVER_FIRED = GateMemory()


@dataclass(frozen=True, slots=True)
class QueueMemory:
    """One flow's past: tasks waiting at the last tick; its usual share of arrivals; when a task last arrived; ages of
    its oldest task (seconds) over the last minute and a half, as (when, age), oldest first: so a gauge written once a
    minute shows a rise too."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    waiting: FiniteFloat | None = None
    ages: tuple[tuple[Instant, FiniteFloat], ...] = ()
    usual_share: FiniteFloat | None = None
    last_arrival: Instant | None = None
    last_seen: Instant | None = None

    def ageing(self, age: float | None, window_sec: float, now: Instant) -> float | None:
        """How fast the oldest task has grown older of late, in seconds a second, over half a window at least: in a
        queue served in order, the share of what arrives that is not served. None where it was not seen for so long."""
        then = next((s for s in reversed(self.ages) if (now - s[0]).total("seconds") >= window_sec / 2), None)
        return None if then is None or age is None else (age - then[1]) / (now - then[0]).total("seconds")


NEVER_SEEN = QueueMemory()


class Memory(Frozen):
    """`Memory()` remembers nothing. `state` is the last real state, `reported` what was last said; `waiting_since` is
    the first usable tick of a verdict that still waits; `full_slots` the type of slots last seen all taken;
    `cause` and `bottleneck` what was last found while a gate fired, until the cluster is happy again;
    `burst_since` when the burst of load that goes on began, `burst_at` when one was last seen; `stuck_at` when
    workflow tasks were last seen to fail again and again, at `stuck_attempts`."""

    state: HealthState | None = None
    since: Instant | None = None
    reported: ReportedState | None = None
    reported_since: Instant | None = None
    last_usable: Instant | None = None
    gates: dict[str, GateMemory] = Field(default_factory=dict)
    queues: dict[str, QueueMemory] = Field(default_factory=dict)
    calm: Annotated[int, Field(ge=0)] = 0
    uncritical: Annotated[int, Field(ge=0)] = 0
    quiet_since: Instant | None = None
    recovering_until: Instant | None = None
    waiting_since: Instant | None = None
    cause: Issue | None = None
    bottleneck: BottleneckClassification | None = None
    full_slots: str | None = None
    full_at: Instant | None = None
    burst_since: Instant | None = None
    burst_at: Instant | None = None
    demand_since: Instant | None = None
    usual_starts: FiniteFloat | None = None
    demand_ticks: Annotated[int, Field(ge=0)] = 0
    last_tick: Instant | None = None
    stuck_attempts: FiniteFloat | None = None
    stuck_at: Instant | None = None

    def stuck_for_sec(self, now: Instant) -> float:
        """For how long workflow tasks that failed again and again may not be tried again, in seconds: the server's
        back-off after a tenth attempt, and its longest (rules/gates/context.py). 0 where none does."""
        if self.stuck_at is None or self.stuck_attempts is None:
            return 0.0
        retry = LONGEST_RETRY_SEC if self.stuck_attempts > 10 else TENTH_RETRY_SEC
        return max(0.0, retry - (now - self.stuck_at).total("seconds"))


def flows_learned(
    memory: Memory, flows: dict[str, Flow], shares: dict[str, float | None], now: Instant
) -> dict[str, QueueMemory]:
    """The queues' memory after this tick. A flow that was not read keeps its past; the longest unseen are dropped."""
    queues = dict(memory.queues)
    for key, flow in flows.items():
        past = queues.get(key, NEVER_SEEN)
        waiting = past.waiting if flow.waiting is None else flow.waiting
        ages = past.ages if flow.age is None else _ages(past.ages, flow.age, now)
        arrived = now if flow.arrives else past.last_arrival
        queues[key] = QueueMemory(waiting, ages, shares[key], arrived, now)
    if len(queues) <= REMEMBERED_QUEUES:
        return queues
    newest = sorted(queues, key=lambda k: queues[k].last_seen or Instant.MIN, reverse=True)[:REMEMBERED_QUEUES]
    return {key: queues[key] for key in newest}


def _ages(past: tuple[tuple[Instant, float], ...], age: float, now: Instant) -> tuple[tuple[Instant, float], ...]:
    """The remembered ages with this one: samples at least 20 s apart, none older than 90 s."""
    kept = past
    while kept and now - kept[0][0] > AGES_REACH:
        kept = kept[1:]
    return kept if kept and now - kept[-1][0] < AGES_APART else (*kept, (now, age))


def full_slots(signals: Signals) -> str | None:
    """`activity` or `workflow` where all slots of that type are taken, else None."""
    for kind, available, taken in _SLOTS:
        free = signals.readings.get(available)
        if free is not None and free < 1 and (signals.value(taken) or 0) > 0:
            return kind
    return None


def slots_learned(signals: Signals) -> dict[str, Any]:
    """What memory learns of the type of slots that are all taken now."""
    kind = full_slots(signals)
    return {} if kind is None else {"full_slots": kind, "full_at": signals.time}


def bursting(memory: Memory, starts: float | None, now: Instant, window_sec: float, burst_factor: float) -> bool:
    """Whether far more workflows are started than usual, where long enough was seen to know what is usual."""
    usual = memory.usual_starts
    if starts is None or not usual or memory.demand_since is None or starts <= burst_factor * usual:
        return False
    known_sec = (now - memory.demand_since).total("seconds")
    return known_sec >= USUAL_AFTER_SEC and (starts - usual) * window_sec >= BURST_STARTS


def demand_learned(
    memory: Memory, starts: float | None, now: Instant, since_sec: float, window_sec: float, burst_factor: float
) -> dict[str, Any]:
    """What memory learns of the usual rate of starts (1/s): the mean at first, then an exponential average that rises
    over half an hour, dragged slowly by a burst that has not lasted as long, and falls over a day: a quiet night does
    not make the morning a burst. Early on, less counts for more: what was seen first may have been a burst."""
    if starts is None:
        return {}
    usual, ticks = memory.usual_starts or 0.0, memory.demand_ticks + 1
    known = memory.demand_since is not None and (now - memory.demand_since).total("seconds") > USUAL_OVER_SEC
    slowly = min(1.0, since_sec / (QUIET_OVER_SEC if known and starts < usual else USUAL_OVER_SEC))
    weight = slowly if known else max(1 / ticks, slowly)
    if ticks <= EARLY_TICKS and starts < usual:
        weight = max(weight, 0.5)
    taken = starts
    lasted = memory.burst_since is not None and (now - memory.burst_since).total("seconds") > USUAL_OVER_SEC
    if ticks > 3 and 0 < burst_factor * usual < starts and not lasted:
        taken, weight = burst_factor * usual, slowly
    bursts = bursting(memory, starts, now, window_sec, burst_factor)
    return {
        "burst_since": (memory.burst_since or now) if bursts else None,
        "burst_at": now if bursts else memory.burst_at,
        "usual_starts": usual + weight * (taken - usual),
        "demand_ticks": ticks,
        "demand_since": memory.demand_since or now,
    }
