"""Which states are right at each moment of a run: the label's states, with the time a verdict may take.

W is the rate window and I the interval, in seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from whenever import Instant

from copilot.rules.model import ReportedState
from copilot.rules.signals.readings import Signals
from lab.labels import Label
from lab.recorded_run import RecordedRun

HAPPY, STRESSED = ReportedState.HAPPY, ReportedState.STRESSED
CRITICAL, UNKNOWN = ReportedState.CRITICAL, ReportedState.UNKNOWN

# The rate limits need a restart of the server and are judged from 90 s after it.
JUDGED_FROM_SEC = {"frontend-rate-limit": 90.0, "persistence-rate-limit": 90.0}
# Stressed for at most a minute is right.
MAY_STRESS_BRIEFLY = frozenset({"server-restart"})
# A task older than this is pressure, so recovery is not over while there is one.
OLD_TASK_SEC = 30.0
_BACKLOG_AGES = ("matching.workflow_backlog_age_sec", "matching.activity_backlog_age_sec")


@dataclass(frozen=True, slots=True)
class Expected:
    """The states that are right at a moment. `judged` False: a grace period, in which the run may pass through these
    states, and any other is still a false alarm."""

    states: frozenset[ReportedState]
    judged: bool


@dataclass(frozen=True, slots=True)
class Times:
    """The time that a verdict may take, in seconds."""

    interval: float
    window: float

    @property
    def stressed(self) -> float:
        """From a fault to stressed: W + 2·I."""
        return self.window + 2 * self.interval

    @property
    def critical(self) -> float:
        """From a fault to critical: W + max(60, 3·I) + 5."""
        return self.window + max(60.0, 3 * self.interval) + 5

    @property
    def unknown(self) -> float:
        """From the loss of metrics to unknown: max(3·I, 90) from the last usable evaluation, visible at the next."""
        return max(3 * self.interval, 90.0) + self.interval

    @property
    def relieved(self) -> float:
        """From the end of a fault to no longer critical: W until it leaves the rates, and two evaluations without it,
        the first of them up to I later."""
        return self.window + 3 * self.interval

    @property
    def recovered(self) -> float:
        """From the end of a fault to happy: W until it leaves the rates, W until it leaves the quantiles of completed
        work, two evaluations to leave critical and three to leave stressed."""
        return 2 * self.window + 5 * self.interval


class Expectation:
    """What is right at each moment of one run; `truth`: its ticks before readings were removed."""

    def __init__(self, run: RecordedRun, label: Label, truth: Iterable[Signals] | None = None) -> None:
        self.marks = run.taken.marks
        self.states = frozenset(label.states)
        self.times = Times(run.header.interval_sec, run.header.window_sec)
        self.late = max(JUDGED_FROM_SEC.get(run.name, 0.0), run.taken.label_judged_after_sec or 0.0)
        self.always_happy = self.states == {HAPPY} and STRESSED in label.never
        self.path = self.states | {HAPPY}
        if CRITICAL in self.states or run.name in MAY_STRESS_BRIEFLY:
            self.path |= {STRESSED}
        self.recovery_from = _drained(run.ticks if truth is None else truth, self.marks.after)

    def elapsed(self, time: Instant) -> float:
        """Seconds since the fault began; negative before."""
        return (time - self.marks.fault).total("seconds")

    def in_fault(self, time: Instant) -> bool:
        """Whether the moment is in the fault phase."""
        return self.marks.fault <= time < self.marks.after

    def explained(self, time: Instant) -> bool:
        """Whether cause and bottleneck are due: in the fault phase, once stressed is due."""
        due = self.times.unknown if UNKNOWN in self.states else self.times.stressed
        return self.in_fault(time) and self.elapsed(time) >= max(due, self.late)

    def at(self, time: Instant) -> Expected:
        """What is right at a moment."""
        happy = Expected(frozenset({HAPPY}), judged=True)
        if time < self.marks.fault or self.always_happy:
            return happy
        if time >= self.marks.after:
            over_for = (time - self.recovery_from).total("seconds")
            if over_for >= max(self.times.recovered, self.late):
                return happy
            relieved = over_for >= max(self.times.relieved, self.late)
            return Expected(self.path - {CRITICAL} if relieved else self.path, judged=False)
        return self._in_fault(self.elapsed(time))

    def _in_fault(self, elapsed: float) -> Expected:
        if UNKNOWN in self.states:
            due = self.times.unknown
        elif HAPPY in self.states:
            due = self.times.critical
        else:
            due = self.times.critical
            if max(self.times.stressed, self.late) <= elapsed < due:
                return Expected(self.path - {HAPPY}, judged=True)
        if elapsed < max(due, self.late):
            return Expected(self.path, judged=False)
        return Expected(self.states, judged=True)


def _drained(ticks: Iterable[Signals], after: Instant) -> Instant:
    """When recovery begins: the fault is over and the backlog has no old task."""
    last = after
    for tick in ticks:
        if tick.time >= after and any((tick.value(i) or 0.0) >= OLD_TASK_SEC for i in _BACKLOG_AGES):
            last = tick.time
    return last
