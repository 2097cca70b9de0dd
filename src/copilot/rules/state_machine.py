"""From gates and memory to a state (requirements §3.3). Time comes from the signals; same inputs, same verdict."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from whenever import Instant, TimeDelta

from copilot.rules.flow import ARRIVES, SERVED, WAITS
from copilot.rules.gates.context import COMFORT
from copilot.rules.gates.registry import CRITICAL, FINISHED_WORK, IMMEDIATE
from copilot.rules.memory import NEVER_FIRED, GateMemory, Memory
from copilot.rules.model import Coverage, GateResult, HealthState, ReportedState, Severity, Transition, Verdict
from copilot.rules.signals.readings import Signals
from copilot.rules.signals.taxonomy import SPECS, Kind, ids
from copilot.rules.staleness import stale_after_sec, unknown_after_sec

USABLE_COVERAGE = 0.60
TICKS_TO_STRESS = 2
TICKS_TO_CRITICAL = 3
TICKS_TO_CALM = 3
TICKS_TO_UNCRITICAL = 2
HOLD_CRITICAL = TimeDelta(seconds=60)
QUIET_FOR = TimeDelta(minutes=5)
MEMORY_LASTS = TimeDelta(minutes=15)
_KINDS: tuple[Kind, ...] = ("primary", "amplifier", "worker")
_RANK = {i: rank for rank, i in enumerate(i for kind in _KINDS for i in ids(kind))}


@lru_cache(maxsize=64)
def _expected(mentioned: tuple[str, ...]) -> dict[Kind, int]:
    """How many ids of each kind are among those that are mentioned: the same tick after tick."""
    return dict(Counter(SPECS[i].kind for i in mentioned if i in SPECS))


def coverage(signals: Signals) -> Coverage:
    """Shares of the expected ids that were read, per kind; an id is expected when the signals mention it."""
    readings, quiet = signals.readings, frozenset(signals.no_traffic)
    unmentioned = [i for i in signals.missing if i not in readings]
    expected = _expected((*readings, *unmentioned))
    unread = [i for i, value in readings.items() if value is None and i not in quiet and i in SPECS]
    unread += [i for i in unmentioned if i not in quiet and i in SPECS]
    of_kind = Counter(SPECS[i].kind for i in unread) if unread else {}
    shares = {kind: (n - of_kind.get(kind, 0)) / n for kind, n in expected.items()}
    return Coverage(
        primary=shares.get("primary", 0.0),
        amplifiers=shares.get("amplifier"),
        worker=shares.get("worker"),
        missing=tuple(sorted(unread, key=_RANK.__getitem__)),
    )


def usable(signals: Signals, covered: Coverage) -> bool:
    """Whether a tick can carry a verdict: enough primaries, with arrives, waits and served among them. A frontend that
    was asked and does not answer is evidence enough by itself."""
    if signals.value("frontend.reachable") == 0:
        return True
    parts = (ARRIVES, WAITS, SERVED)
    return covered.primary >= USABLE_COVERAGE and all(any(signals.covered(i) for i in part) for part in parts)


@dataclass(slots=True)
class _Tick:
    """What the transition looks at: `fired` are the gates that fire or are held, `unjudged` those that could not be
    judged, and `close` whether one that does not fire is not well inside its threshold."""

    fired: list[GateResult]
    unjudged: list[GateResult]
    close: bool
    past: dict[str, GateMemory]
    now: Instant
    served: bool
    quiet: bool
    window: TimeDelta

    def stressing(self) -> bool:
        """Whether a gate asks for stressed. One slow moment stays in a p99 for a whole window, so a quantile must have
        been over its threshold for that long to be more than one bad sample."""
        for gate in self.fired:
            past = self.past[gate.name]
            twice = past.streak >= TICKS_TO_STRESS
            if gate.name in FINISHED_WORK and past.first_fired is not None:
                twice = twice and self.now - past.first_fired >= self.window
            if gate.name in IMMEDIATE or twice:
                return True
        return False

    def critical(self) -> bool:
        """Whether a critical gate has held long enough, with fresh evidence."""
        for gate in self.fired:
            past = self.past[gate.name]
            if gate.unjudged or gate.severity is not Severity.CRITICAL or past.first_fired is None:
                continue
            held = past.streak >= TICKS_TO_CRITICAL or self.now - past.first_fired >= HOLD_CRITICAL
            if past.streak >= TICKS_TO_STRESS and held:
                return True
        return False

    def lately_missing(self, gate: GateResult) -> bool:
        """Whether the gate's input is missing, and not for so long that it is simply not to be had here."""
        since = self.past[gate.name].missing_since
        return gate.unjudged == "missing" and (since is None or self.now - since < MEMORY_LASTS)

    def calm(self) -> bool:
        """Whether nothing fires and every gate that was judged is well inside its threshold. A missing input forbids
        calm, for a while: nothing becomes happy because data went away."""
        if self.close or any(not g.unjudged for g in self.fired):
            return False
        return not any(self._spoils_calm(g) for g in self.unjudged)

    def relieved(self) -> bool:
        """Whether no critical gate fires, or might."""
        return not any(
            g.fired or self.lately_missing(g) for g in (*self.fired, *self.unjudged) if g.severity is Severity.CRITICAL
        )

    def fires_critically(self) -> bool:
        """Whether a critical gate fires afresh. Where none does and one could not be judged, the tick counts neither
        for nor against relief, whatever else is wrong."""
        return any(not g.unjudged and g.severity is Severity.CRITICAL for g in self.fired)

    def only_absence_spoils(self) -> bool:
        """Whether nothing fired afresh or came close: what spoils the tick is absence, which decides nothing."""
        return not self.close and all(g.unjudged for g in self.fired)

    def _spoils_calm(self, gate: GateResult) -> bool:
        """Whether a gate that could not be judged forbids calling this tick calm."""
        fired = self.past[gate.name].fired
        if gate.unjudged == "missing":
            return fired or self.lately_missing(gate)
        return gate.unjudged == "no_traffic" and fired and not self.quiet


def _remember_gates(gates: tuple[GateResult, ...], past: dict[str, GateMemory], now: Instant) -> dict[str, GateMemory]:
    after = dict.fromkeys((gate.name for gate in gates), NEVER_FIRED)
    for gate in gates:
        if not (gate.fired or gate.unjudged):
            continue
        before = past.get(gate.name, NEVER_FIRED)
        if gate.fired:
            after[gate.name] = GateMemory(fired=True, streak=before.streak + 1, first_fired=before.first_fired or now)
        elif gate.unjudged == "missing":
            after[gate.name] = replace(before, missing_since=before.missing_since or now)
        elif gate.unjudged == "no_traffic":
            after[gate.name] = before
    return after


def _hold(gates: tuple[GateResult, ...], past: dict[str, GateMemory]) -> tuple[GateResult, ...]:
    """Gates that fired and whose input went missing stay fired until fresh evidence."""
    if not past:
        return gates
    return tuple(
        replace(g, fired=True, sentence=f"held: it fired, and since then {g.sentence}")
        if g.unjudged in ("missing", "no_traffic") and past.get(g.name, NEVER_FIRED).fired
        else g
        for g in gates
    )


def _nothing_wrong(signals: Signals) -> bool:
    """A quiet cluster that could work: reachable, polled, no errors, nothing waiting."""
    return (
        signals.value("frontend.reachable") != 0
        and (signals.value("poller.pending_polls") or 0) > 0
        and signals.value("frontend.error_rate_per_sec") == 0
        and signals.value("matching.backlog_count") == 0
    )


def _next_state(tick: _Tick, memory: Memory) -> HealthState | None:
    """The transition. Happy never goes straight to critical. The first verdict is stressed or happy, or waits, for a
    window at most, while a gate that would stress at once cannot be judged. Only a tick that is itself calm, or
    relieved, ends a state."""
    before = memory.state
    if before is None:
        early = memory.waiting_since is None or tick.now - memory.waiting_since < tick.window
        waits = early and any(tick.lately_missing(g) for g in tick.unjudged if g.name in IMMEDIATE)
        return HealthState.STRESSED if tick.stressing() else (None if waits else HealthState.HAPPY)
    if before is HealthState.HAPPY:
        return HealthState.STRESSED if tick.stressing() else HealthState.HAPPY
    if before is HealthState.STRESSED:
        if tick.critical():
            return HealthState.CRITICAL
        calm = tick.calm() and memory.calm >= TICKS_TO_CALM and (tick.served or tick.quiet)
        return HealthState.HAPPY if calm else HealthState.STRESSED
    relieved = tick.relieved() and memory.uncritical >= TICKS_TO_UNCRITICAL
    return HealthState.STRESSED if relieved else HealthState.CRITICAL


def _confidence(gates: tuple[GateResult, ...], covered: Coverage) -> float:
    """The share of the deciding gates that could be judged (all gates when none fired), at most the primary coverage
    when none fired; halved when the smallest margin is under 10 %."""
    fired = [g for g in gates if g.fired]
    deciding = fired or [g for g in gates if g.unjudged != "not_expected"]
    share = sum(g.unjudged != "missing" for g in deciding) / len(deciding) if deciding else 0.0
    close = any(g.margin is not None and abs(g.margin) < COMFORT for g in deciding)
    return round((share if fired else min(share, covered.primary)) / (2 if close else 1), 4)


def evaluate_health_state(
    judged: tuple[GateResult, ...], signals: Signals, memory: Memory, interval_sec: float, window_sec: float
) -> tuple[Verdict, Memory]:
    """The verdict of one tick and the machine's memory after it (queues and demand are remembered elsewhere)."""
    now, covered = signals.time, coverage(signals)
    if usable(signals, covered):
        if memory.last_usable is not None and now - memory.last_usable >= MEMORY_LASTS:
            memory = Memory(reported=memory.reported, reported_since=memory.reported_since)
        gates, memory = _usable_tick(judged, signals, memory, window_sec)
        reported, stale = ReportedState(memory.state or ReportedState.UNKNOWN), False
    else:
        gates = _hold(judged, memory.gates)
        age = None if memory.last_usable is None else now - memory.last_usable
        stale = age is None or age > TimeDelta(seconds=stale_after_sec(interval_sec))
        blind = age is None or age >= TimeDelta(seconds=unknown_after_sec(interval_sec))
        reported = ReportedState.UNKNOWN if blind or memory.state is None else ReportedState(memory.state)
    transition = None
    if reported is not memory.reported:
        fired = tuple(g.name for g in gates if g.fired)
        transition = Transition(before=memory.reported, after=reported, time=now, gates=fired)
        memory = memory.model_copy(update={"reported": reported, "reported_since": now})
    verdict = Verdict(
        health_state=reported,
        last_known_state=memory.state,
        since=memory.reported_since or now,
        stale=stale,
        coverage=covered,
        confidence=_confidence(gates, covered),
        gates=gates,
        transition=transition,
        usable_at=memory.last_usable,
    )
    return verdict, memory if memory.last_tick is now else memory.model_copy(update={"last_tick": now})


def _usable_tick(
    judged: tuple[GateResult, ...], signals: Signals, memory: Memory, window_sec: float
) -> tuple[tuple[GateResult, ...], Memory]:
    now = signals.time
    gates = _hold(judged, memory.gates)
    past = _remember_gates(judged, memory.gates, now)
    quiet_since = (memory.quiet_since or now) if _nothing_wrong(signals) else None
    served = any((signals.value(i) or 0) > 0 for i in SERVED)
    quiet, window = quiet_since is not None and now - quiet_since >= QUIET_FOR, TimeDelta(seconds=window_sec)
    tick = _Tick(
        fired=[g for g in gates if g.fired],
        unjudged=[g for g in gates if g.unjudged],
        close=any(g.fired is False and g.margin is not None and g.margin < COMFORT for g in gates),
        past=past,
        now=now,
        served=served,
        quiet=quiet,
        window=window,
    )
    ended = any(m.fired and name in CRITICAL and not past[name].fired for name, m in memory.gates.items())
    absent = tick.only_absence_spoils()
    uncritical = 0 if tick.fires_critically() else memory.uncritical + int(tick.relieved())
    memory = memory.model_copy(
        update={
            "gates": {name: m for name, m in past.items() if m is not NEVER_FIRED},
            "calm": memory.calm + 1 if tick.calm() else (memory.calm if absent else 0),
            "uncritical": uncritical,
            "quiet_since": quiet_since,
            "last_usable": now,
            "last_tick": now,
            "recovering_until": now + window if ended else memory.recovering_until,
        }
    )
    state = _next_state(tick, memory)
    waiting_since = (memory.waiting_since or now) if state is None else None
    if waiting_since is not memory.waiting_since:
        memory = memory.model_copy(update={"waiting_since": waiting_since})
    if state is not memory.state:
        memory = memory.model_copy(update={"state": state, "since": now, "calm": 0, "uncritical": 0})
    return gates, memory
