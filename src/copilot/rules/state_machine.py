"""From gates and memory to a state. Time comes from the signals; the same inputs give the same verdict."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from whenever import Instant, TimeDelta

from copilot.rules.flow import BACKLOG, DEMAND, PROGRESS
from copilot.rules.gates.context import RECOVERY_MARGIN
from copilot.rules.gates.progress import server_away
from copilot.rules.gates.registry import CRITICAL, IMMEDIATE, OF_COMPLETED_WORK
from copilot.rules.memory import NEVER_FIRED, GateMemory, Memory
from copilot.rules.model import Coverage, GateResult, HealthState, ReportedState, Severity, Transition, Verdict
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.rules.signals.spec import Kind
from copilot.rules.signals.taxonomy import SPECS, ids
from copilot.rules.staleness import stale_after_sec, unknown_after_sec

USABLE_COVERAGE = 0.60
TICKS_TO_STRESS = 2
TICKS_TO_CRITICAL = 3
CLEAR_TICKS = 3
NOT_CRITICAL_TICKS = 2
HOLD_CRITICAL = TimeDelta(seconds=60)
RELAPSE_WITHIN = TimeDelta(minutes=10)
"""What comes back so soon after a recovery is the same incident. Then only as long without it is a recovery."""
QUIET_FOR = TimeDelta(minutes=5)
MEMORY_LASTS = TimeDelta(minutes=15)
LIVE_SOURCES = ("api", "api or metrics")
LIVE = ("demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec", "matching.backlog_age_sec")
"""What is live although metrics come late: sources of signals, and ids that the API gives then."""
_KINDS: tuple[Kind, ...] = ("primary", "amplifier", "worker")
_RANK = {i: rank for rank, i in enumerate(i for kind in _KINDS for i in ids(kind))}


@lru_cache(maxsize=64)
def _expected(mentioned: tuple[str, ...]) -> dict[Kind, int]:
    """How many ids of each kind are among those that are mentioned: the same tick after tick."""
    return dict(Counter(SPECS[i].kind for i in mentioned if i in SPECS))


def coverage(signals: Signals) -> Coverage:
    """Shares of the expected ids that were read, per kind; an id is expected when the signals mention it and the server
    can have it."""
    none_has = frozenset(i for i, why in signals.missing.items() if why.code is MissingCode.NO_SOURCE)
    readings, quiet = signals.readings, frozenset(signals.no_traffic) | none_has
    unmentioned = [i for i in signals.missing if i not in readings]
    expected = _expected(tuple(i for i in (*readings, *unmentioned) if i not in none_has))
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
    """Whether a tick can carry a verdict: enough primaries, with demand, backlog and progress among them. A frontend
    that does not answer its health check, or no worker, is evidence enough by itself."""
    if server_away(signals):
        return True
    parts = (DEMAND, BACKLOG, PROGRESS)
    return covered.primary >= USABLE_COVERAGE and all(any(signals.covered(i) for i in part) for part in parts)


@dataclass(slots=True)
class _Tick:
    """What a transition looks at: `fired` are the firing and held gates, `unjudged` those that could not be
    judged, and `close` says whether one that does not fire is within the recovery margin, or all workers are gone."""

    fired: list[GateResult]
    unjudged: list[GateResult]
    close: bool
    memory: dict[str, GateMemory]
    now: Instant
    progress: bool
    quiet: bool
    window: TimeDelta
    metrics_at: Instant | None = None

    def at(self, gate: GateResult) -> Instant:
        """The time that the gate's evidence is of: that of its minute where metrics come late."""
        return evidence_time(gate, self.now, self.metrics_at)

    def stressing(self) -> bool:
        """Whether a gate asks for stressed. One slow moment stays in a p99 for a whole window, so a quantile must have
        been over its threshold for that long to be more than one bad sample."""
        for gate in self.fired:
            past = self.memory[gate.name]
            twice = past.streak >= TICKS_TO_STRESS
            if gate.name in OF_COMPLETED_WORK and past.first_fired is not None:
                twice = twice and self.at(gate) - past.first_fired >= self.window
            if gate.name in IMMEDIATE or twice:
                return True
        return False

    def critical(self) -> bool:
        """Whether a critical gate has held long enough, with fresh evidence."""
        for gate in self.fired:
            past = self.memory[gate.name]
            if gate.unjudged or gate.severity is not Severity.CRITICAL or past.first_fired is None:
                continue
            held = past.streak >= TICKS_TO_CRITICAL or self.at(gate) - past.first_fired >= HOLD_CRITICAL
            if past.streak >= TICKS_TO_STRESS and held:
                return True
        return False

    def lately_missing(self, gate: GateResult) -> bool:
        """Whether the gate's input is missing, but not for 15 minutes: then it is simply not available here."""
        since = self.memory[gate.name].missing_since
        return gate.unjudged == "missing" and (since is None or self.now - since < MEMORY_LASTS)

    def clear(self) -> bool:
        """Whether nothing fires and every judged gate is inside its threshold by the recovery margin. A missing input
        prevents that for a while: nothing becomes happy because data went away."""
        if self.close or any(not g.unjudged for g in self.fired):
            return False
        return not any(self._prevents_clear(g) for g in self.unjudged)

    def not_critical(self) -> bool:
        """Whether no critical gate is firing, or might be."""
        return not any(
            g.fired or self.lately_missing(g) for g in (*self.fired, *self.unjudged) if g.severity is Severity.CRITICAL
        )

    def fires_critically(self) -> bool:
        """Whether a critical gate is firing on fresh evidence. Where none is and one could not be judged, the tick
        counts neither for nor against leaving critical."""
        return any(not g.unjudged and g.severity is Severity.CRITICAL for g in self.fired)

    def only_absence(self) -> bool:
        """Whether nothing fired newly or came close: only absence keeps the tick from being clear."""
        return not self.close and all(g.unjudged for g in self.fired)

    def _prevents_clear(self, gate: GateResult) -> bool:
        """Whether a gate that could not be judged prevents the tick from counting as clear."""
        fired = self.memory[gate.name].fired
        if gate.unjudged == "missing":
            return fired or self.lately_missing(gate)
        return gate.unjudged == "no_traffic" and fired and not self.quiet


def evidence_time(gate: GateResult, now: Instant, metrics_at: Instant | None) -> Instant:
    """The time that a gate's evidence, its first number, is of: that of its minute where metrics come late (Temporal
    Cloud); now where they do not, or where the API gives it, which is live."""
    first = next(iter(gate.evidence), "")
    live = first in LIVE or (first in SPECS and SPECS[first].source in LIVE_SOURCES)
    return now if metrics_at is None or live else metrics_at


def _remember_gates(
    gates: tuple[GateResult, ...],
    past: dict[str, GateMemory],
    now: Instant,
    metrics_at: Instant | None = None,
    seen: Instant | None = None,
) -> dict[str, GateMemory]:
    """The gates' memory after a tick. A minute that was `seen` at the tick before is no second evidence."""
    after = dict.fromkeys((gate.name for gate in gates), NEVER_FIRED)
    for gate in gates:
        if not (gate.fired or gate.unjudged):
            continue
        before = past.get(gate.name, NEVER_FIRED)
        if gate.fired:
            at = evidence_time(gate, now, metrics_at)
            again = before.fired and at != now and at == seen
            streak = before.streak if again else before.streak + 1
            after[gate.name] = GateMemory(fired=True, streak=streak, first_fired=before.first_fired or at)
        elif gate.unjudged == "missing":
            after[gate.name] = replace(before, missing_since=before.missing_since or now)
        elif gate.unjudged == "no_traffic":
            after[gate.name] = before
    return after


def _hold(gates: tuple[GateResult, ...], past: dict[str, GateMemory]) -> tuple[GateResult, ...]:
    """Firing gates whose input went missing stay fired until fresh evidence."""
    if not past:
        return gates
    return tuple(
        replace(g, fired=True) if g.unjudged in ("missing", "no_traffic") and past.get(g.name, NEVER_FIRED).fired else g
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


def _no_worker_left(signals: Signals, memory: Memory) -> bool:
    """Whether tasks wait and no page of a worker is read any more, though there were some beside pending polls: what
    the window remembers of their work is no sign of health."""
    gone = bool(memory.polling_workers) and signals.targets.get("worker") == 0
    return gone and bool(signals.value("matching.backlog_count"))


def _next_state(tick: _Tick, memory: Memory) -> HealthState | None:
    """The transition. Happy never goes straight to critical. The first verdict is stressed or happy, or stays pending
    for up to a window while an immediate gate cannot be judged. Only a tick that is itself clear, or not critical,
    ends a state."""
    before = memory.state
    if before is None:
        early = memory.pending_since is None or tick.now - memory.pending_since < tick.window
        pending = early and any(tick.lately_missing(g) for g in tick.unjudged if g.name in IMMEDIATE)
        return HealthState.STRESSED if tick.stressing() else (None if pending else HealthState.HAPPY)
    if before is HealthState.HAPPY:
        return HealthState.STRESSED if tick.stressing() else HealthState.HAPPY
    if before is HealthState.STRESSED:
        if tick.critical():
            return HealthState.CRITICAL
        clear = tick.clear() and memory.clear_ticks >= CLEAR_TICKS and (tick.progress or tick.quiet)
        if memory.relapses:
            clear = clear and memory.clear_since is not None and tick.now - memory.clear_since >= RELAPSE_WITHIN
        return HealthState.HAPPY if clear else HealthState.STRESSED
    not_critical = tick.not_critical() and memory.not_critical_ticks >= NOT_CRITICAL_TICKS
    return HealthState.STRESSED if not_critical else HealthState.CRITICAL


def _confidence(gates: tuple[GateResult, ...], covered: Coverage) -> float:
    """The share of the deciding gates that could be judged (all gates when none fired), at most the primary coverage
    when none fired; halved when the smallest margin is under 10 %."""
    fired = [g for g in gates if g.fired]
    deciding = fired or [g for g in gates if g.unjudged != "not_expected"]
    share = sum(g.unjudged != "missing" for g in deciding) / len(deciding) if deciding else 0.0
    close = any(g.margin is not None and abs(g.margin) < RECOVERY_MARGIN for g in deciding)
    return round((share if fired else min(share, covered.primary)) / (2 if close else 1), 4)


def evaluate_health_state(
    judged: tuple[GateResult, ...], signals: Signals, memory: Memory, interval_sec: float, window_sec: float
) -> tuple[Verdict, Memory]:
    """The verdict of one tick and the machine's memory after it (`memory.py` learns queues and demand)."""
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
        relapses=0 if memory.state is HealthState.HAPPY else memory.relapses,
    )
    return verdict, memory if memory.last_tick is now else memory.model_copy(update={"last_tick": now})


def _clear_since(tick: _Tick, memory: Memory, *, absent: bool) -> Instant | None:
    if tick.clear():
        return memory.clear_since or tick.now
    return memory.clear_since if absent else None


def _incidents(memory: Memory, state: HealthState | None, now: Instant) -> dict[str, Any]:
    """What memory learns of incidents at a change of state: when one ended, and whether one came back."""
    if state is HealthState.HAPPY:
        return {"recovered_at": now if memory.state else None}
    if memory.state is not HealthState.HAPPY:
        return {}
    back = memory.recovered_at is not None and now - memory.recovered_at <= RELAPSE_WITHIN
    return {"relapses": memory.relapses + 1 if back else 0}


def _usable_tick(
    judged: tuple[GateResult, ...], signals: Signals, memory: Memory, window_sec: float
) -> tuple[tuple[GateResult, ...], Memory]:
    now = signals.time
    gates = _hold(judged, memory.gates)
    metrics_at = signals.metrics_at
    repeated = metrics_at is not None and metrics_at == memory.metrics_at
    past = _remember_gates(judged, memory.gates, now, metrics_at, memory.metrics_at)
    quiet_since = (memory.quiet_since or now) if _nothing_wrong(signals) else None
    progress = any((signals.value(i) or 0) > 0 for i in PROGRESS)
    quiet, window = quiet_since is not None and now - quiet_since >= QUIET_FOR, TimeDelta(seconds=window_sec)
    tick = _Tick(
        fired=[g for g in gates if g.fired],
        unjudged=[g for g in gates if g.unjudged],
        close=_no_worker_left(signals, memory)
        or any(g.fired is False and g.margin is not None and g.margin < RECOVERY_MARGIN for g in gates),
        memory=past,
        now=now,
        progress=progress,
        quiet=quiet,
        window=window,
        metrics_at=metrics_at,
    )
    for gate in gates:
        gate.since = past[gate.name].first_fired if gate.fired else None
    ended = any(m.fired and name in CRITICAL and not past[name].fired for name, m in memory.gates.items())
    absent = tick.only_absence()
    fresh = int(not repeated)
    not_critical = 0 if tick.fires_critically() else memory.not_critical_ticks + fresh * int(tick.not_critical())
    memory = memory.model_copy(
        update={
            "gates": {name: m for name, m in past.items() if m is not NEVER_FIRED},
            "clear_ticks": memory.clear_ticks + fresh if tick.clear() else (memory.clear_ticks if absent else 0),
            "clear_since": _clear_since(tick, memory, absent=absent),
            "not_critical_ticks": not_critical,
            "quiet_since": quiet_since,
            "last_usable": now,
            "last_tick": now,
            "metrics_at": metrics_at,
            "recovering_until": now + window if ended else memory.recovering_until,
        }
    )
    state = _next_state(tick, memory)
    pending_since = (memory.pending_since or now) if state is None else None
    if pending_since is not memory.pending_since:
        memory = memory.model_copy(update={"pending_since": pending_since})
    if state is not memory.state:
        counts = {"clear_ticks": 0, "clear_since": None, "not_critical_ticks": 0, **_incidents(memory, state, now)}
        memory = memory.model_copy(update={"state": state, "since": now, **counts})
    return gates, memory
