"""A cluster that never was, second by second: workflows start, their tasks queue, workers take them, and the Copilot
reads counters and gauges as it would of a real one (rates over a window, pages scraped at times, gauges that lag).

One team has one task queue. Each of its workflows is a workflow task, an activity and a last workflow task, so work
that is not done brings no further work, as in life."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from copilot.rules.evaluate import Context
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, BreakdownRow, Missing, MissingCode, Signals
from tests.cluster_signals import START, healthy

Curve = Callable[[float], float]
Place = tuple[str, str]
"""Team and task type."""
_Gauges = dict[Place, tuple[float, float]]

WARM_SEC = 300
GAUGES_EVERY_SEC = 60
OF_API = ("frontend.reachable", "poller.recent_pollers", "version.backlog_count", "version.pollers")
RATIOS_OF_WORK = ("workflow_completion.completion_rate", "poller.sync_match_rate", "workflow_tasks.attempts_p99")


def steady(value: float) -> Curve:
    """The same all the time."""
    return lambda _: value


def but(usual: float, *changes: tuple[float, float, float]) -> Curve:
    """A value, and in each (from, to, value) another."""
    return lambda t: next((v for since, until, v in changes if since <= t < until), usual)


def ramp(start: float, end: float, since: float, until: float) -> Curve:
    """From one value to another, in a straight line between two moments."""
    return lambda t: start + (end - start) * min(1.0, max(0.0, (t - since) / (until - since)))


NONE, PLENTY = steady(0.0), steady(50.0)


@dataclass(frozen=True)
class Team:
    """Rates in 1/s by the second: workflows started, workflow and activity tasks its workers can take, signals that
    bring a workflow task and nothing else; and the share of activity attempts that fail."""

    queue: str
    starts: Curve
    workflow_workers: Curve = PLENTY
    activity_workers: Curve = PLENTY
    signals: Curve = NONE
    failing: Curve = NONE
    namespace: str = "default"


@dataclass
class _Line:
    """What waits for one type of worker: when each came, and which task of its workflow it is."""

    waiting: deque[tuple[int, int]] = field(default_factory=deque)
    credit: float = 0.0


@dataclass(frozen=True)
class Imagined:
    """The cluster and how it is read. `refused`: share of the requests that bring work that fail by the server's fault.
    `also`: readings by the second, in place of a healthy cluster's. `lost`: ids that cannot be read. `api`: whether
    Temporal's API describes the queues; else gauges lag by up to a minute. `scraped_sec`: pages are read so often."""

    teams: tuple[Team, ...]
    lasts_sec: int
    refused: Curve = NONE
    also: dict[str, Curve] = field(default_factory=dict)
    lost: Callable[[float], tuple[str, ...]] = lambda _: ()
    api: bool = True
    interval_sec: int = 10
    window_sec: int = 30
    scraped_sec: int = 1

    @property
    def context(self) -> Context:
        """What the rules must know."""
        return Context("imagined", float(self.interval_sec), float(self.window_sec))

    def ticks(self, seed: int = 1) -> Iterator[Signals]:
        """What is read of it from second 0 on; it has run for some minutes before."""
        life, counted, gauges = _Life(self, random.Random(seed)), {}, {}
        for second in range(-WARM_SEC, self.lasts_sec):
            life.second(second)
            counted[second] = dict(life.counters)
            if self.api or second % GAUGES_EVERY_SEC == 0:
                gauges = life.gauges(second)
            if second >= 0 and second % self.interval_sec == 0:
                page = second // self.scraped_sec * self.scraped_sec
                before = counted[page - self.window_sec]
                rates = {k: (n - before.get(k, 0)) / self.window_sec for k, n in counted[page].items()}
                yield self._signals(second, rates, gauges, life)

    def _signals(self, second: int, rates: dict[tuple[str, Place], float], gauges: _Gauges, life: "_Life") -> Signals:
        def of(what: str) -> dict[Place, float]:
            return {place: rate for (name, place), rate in rates.items() if name == what}

        rows: dict[str, dict[Place, float]] = {
            "demand.tasks_added_per_sec": of("added"),
            "matching.tasks_dispatched_per_sec": of("served"),
            "matching.tasks_spooled_per_sec": of("stored"),
            "matching.backlog_count": {p: count for p, (count, _) in gauges.items()},
            "poller.pending_polls": life.polls(second),
            "poller.recent_pollers": {p: float(n > 0) * 2 for p, n in life.polls(second).items()},
        }
        total = {name: sum(rows_.values()) for name, rows_ in rows.items()}
        starts, refused, done, served = (sum(of(n).values()) for n in ("starts", "refused", "done", "served"))
        work = {
            **total,
            "matching.workflow_backlog_age_sec": _oldest(gauges, "workflow"),
            "matching.activity_backlog_age_sec": _oldest(gauges, "activity"),
            "demand.starts_per_sec": starts,
            "demand.requests_per_sec": starts + sum(of("signals").values()) + refused,
            "demand.answered_per_sec": starts + sum(of("signals").values()) + refused,
            "demand.rejected_per_sec": refused,
            "frontend.error_rate_per_sec": refused,
            "workflow_completion.success_per_sec": done,
            "workflow_completion.completion_rate": 1.0,
            "workflow_tasks.completed_per_sec": sum(r for (_, kind), r in of("served").items() if kind == "workflow"),
            "activity_tasks.completed_per_sec": sum(of("succeeded").values()),
            "activity_tasks.failed_per_sec": sum(of("failed").values()),
            "history.tasks_acked_per_sec": 2.2 * (served + starts),
            "history.task_processing_rate_per_sec": 4.4 * (served + starts),
            "state_transitions.throughput_per_sec": 3.0 * (served + starts),
            **{signal_id: curve(second) for signal_id, curve in self.also.items()},
        }
        signals = healthy(**{i.replace(".", "__"): v for i, v in work.items()})
        breakdowns = {i: _rows(self.teams, r, i) for i, r in rows.items()}
        for kind in ("workflow", "activity"):
            ages = {p: age for p, (_, age) in gauges.items() if p[1] == kind}
            breakdowns[f"matching.{kind}_backlog_age_sec"] = _rows(self.teams, ages, "")
        quiet = RATIOS_OF_WORK if served == 0 else ()
        # Workers that take nothing are dead: their pages are gone.
        alive = any(team.workflow_workers(second) or team.activity_workers(second) for team in self.teams)
        return self._as_read(signals, breakdowns, quiet, self.lost(second)).model_copy(
            update={"time": START.add(seconds=second), "targets": {"server": 1, "worker": 2 if alive else 0}}
        )

    def _as_read(
        self,
        signals: Signals,
        breakdowns: dict[str, tuple[BreakdownRow, ...]],
        quiet: tuple[str, ...],
        lost: tuple[str, ...],
    ) -> Signals:
        unasked = () if self.api else OF_API
        down = Missing(code=MissingCode.TARGET_DOWN, detail="connection refused")
        return signals.model_copy(
            update={
                "readings": {
                    i: None if i in quiet or i in lost else v for i, v in signals.readings.items() if i not in unasked
                },
                "no_traffic": tuple(i for i in quiet if i not in lost),
                "missing": {**signals.missing, **dict.fromkeys(lost, down)},
                "breakdowns": {i: r for i, r in breakdowns.items() if r and i not in unasked and i not in lost},
            }
        )


def _oldest(gauges: _Gauges, kind: str) -> float:
    return max((age for (_, k), (_, age) in gauges.items() if k == kind), default=0.0)


def _rows(teams: tuple[Team, ...], values: dict[Place, float], signal_id: str) -> tuple[BreakdownRow, ...]:
    """At most twenty rows, the largest (of pollers the smallest, for zero tells something there)."""
    zero_tells = signal_id.startswith("poller.")
    of = {team.queue: team for team in teams}
    chosen = sorted(
        ((v, p) for p, v in values.items() if v or zero_tells), key=lambda vp: (vp[0] if zero_tells else -vp[0], vp[1])
    )[:MAX_BREAKDOWN_ROWS]
    return tuple(
        BreakdownRow(labels={"namespace": of[queue].namespace, "task_queue": queue, "task_type": kind}, value=value)
        for value, (queue, kind) in chosen
    )


class _Life:
    """What happens in the cluster."""

    def __init__(self, cluster: Imagined, chance: random.Random) -> None:
        self.counters: dict[tuple[str, Place], float] = {}
        self._cluster, self._chance = cluster, chance
        self._lines = {(team.queue, kind): _Line() for team in cluster.teams for kind in ("workflow", "activity")}
        self._retries: list[tuple[float, str, int]] = []

    def second(self, now: int) -> None:
        """One second passes."""
        while self._retries and self._retries[0][0] <= now:
            _, queue, attempt = heapq.heappop(self._retries)
            self._add((queue, "activity"), now, attempt)
        for team in self._cluster.teams:
            workflow, activity = (team.queue, "workflow"), (team.queue, "activity")
            for _ in range(self._some(team.starts(now))):
                requests_rejected = self._chance.random() < self._cluster.refused(now)
                self._count("refused" if requests_rejected else "starts", workflow)
                if not requests_rejected:
                    self._add(workflow, now, 0)
            for _ in range(self._some(team.signals(now))):
                self._count("signals", workflow)
                self._add(workflow, now, 2)
            for stage in self._served(workflow, team.workflow_workers(now)):
                if stage == 0:
                    self._add(activity, now, 1)
                elif stage == 1:
                    self._count("done", workflow)
            for attempt in self._served(activity, team.activity_workers(now)):
                if self._chance.random() < team.failing(now):
                    self._count("failed", activity)
                    heapq.heappush(self._retries, (now + min(100.0, 2.0 ** (attempt - 1)), team.queue, attempt + 1))
                else:
                    self._count("succeeded", activity)
                    self._add(workflow, now, 1)
        for place, line in self._lines.items():
            kept = takewhile(lambda task: task[0] == now, reversed(line.waiting))
            self._count("stored", place, sum(1 for _ in kept))

    def gauges(self, now: int) -> _Gauges:
        """How much waits at each place, and for how many seconds the oldest has."""
        return {
            place: (float(len(line.waiting)), float(now - line.waiting[0][0]) if line.waiting else 0.0)
            for place, line in self._lines.items()
        }

    def polls(self, now: int) -> dict[Place, float]:
        """Polls that wait at each place: some where workers have time, one where they are behind."""
        can = {
            t.queue: {"workflow": t.workflow_workers(now), "activity": t.activity_workers(now)}
            for t in self._cluster.teams
        }
        return {p: 0.0 if can[p[0]][p[1]] <= 0 else 1.0 if line.waiting else 5.0 for p, line in self._lines.items()}

    def _add(self, place: Place, now: int, stage: int) -> None:
        self._count("added", place)
        self._lines[place].waiting.append((now, stage))

    def _served(self, place: Place, can: float) -> list[int]:
        line = self._lines[place]
        line.credit = min(line.credit + can, max(1.0, can)) if can > 0 else 0.0
        stages = []
        while line.waiting and line.credit >= 1:
            line.credit -= 1
            stages.append(line.waiting.popleft()[1])
        self._count("served", place, len(stages))
        return stages

    def _count(self, what: str, place: Place, many: int = 1) -> None:
        self.counters[what, place] = self.counters.get((what, place), 0) + many

    def _some(self, rate: float) -> int:
        """How many come in a second, by chance, at a mean rate."""
        many, left = 0, rate
        while left > 0 and (left := left - self._chance.expovariate(1.0)) > 0:
            many += 1
        return many
