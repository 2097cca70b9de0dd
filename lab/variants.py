"""The same run as another cluster, or another way of watching it, would have shown it.

A thinned run is read at a longer interval; its rates stay those of the recorded window, so it is judged as a cluster
whose interval was lengthened and whose window was left as it was (a window of its own would need the pages again).
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from copilot.rules.signals.readings import BreakdownRow, Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS
from lab.cloud import of_cloud
from lab.recorded_run import RecordedRun

SEEDS = range(2)
DROPPED_SHARE = 0.10
INTERVALS_SEC = (30.0, 60.0)
LONG_INTERVAL_SEC, LONG_FAULT_SEC = 60.0, 300.0
LOADS = (0.05, 20.0)
GAUGES_REFRESHED_SEC = 60.0
CLOUD = "Temporal Cloud"

# Rates that do not grow with demand, and counts that do; every other rate does, every other count does not.
_FIXED_RATES = frozenset({"history.shard_churn_rate_per_sec"})
_COUNTS_BY_DEMAND = frozenset({"matching.backlog_count", "grpc.in_flight_requests", "queue.task_backlog_depth"})


@dataclass(frozen=True, slots=True)
class Variant:
    """A changed run. `kind` names what was changed, `name` which of them; `sources`: what there is to know cause and
    bottleneck by."""

    kind: str
    name: str
    run: RecordedRun
    sources: frozenset[str] = frozenset({"sdk"})


def scales_with_load(signal_id: str) -> bool:
    """Whether a reading is proportional to demand: rates and counts of work; not latencies, ages, ratios, booleans,
    slots and pollers."""
    if SPECS[signal_id].unit == "1/s":
        return signal_id not in _FIXED_RATES
    return signal_id in _COUNTS_BY_DEMAND


def variants(run: RecordedRun) -> Iterator[Variant]:
    """All variants of a run."""
    for seed in SEEDS:
        yield Variant("10 % of readings dropped", f"seed {seed}", dropped(run, seed))
    for interval in INTERVALS_SEC:
        if interval > run.header.interval_sec and long_enough(run, interval):
            for first in range(round(interval / run.header.interval_sec)):
                yield Variant(f"every {interval:.0f} s", f"from tick {first}", thinned(run, interval, first))
    for factor in LOADS:
        yield Variant(f"load ×{factor:g}", "", loaded(run, factor))
    yield Variant("no SDK metrics", "", without_sdk(run), frozenset())
    yield Variant(CLOUD, "", of_cloud(run), frozenset())
    yield Variant(f"{CLOUD}, SDK metrics", "", of_cloud(run, sdk=True))


def long_enough(run: RecordedRun, interval_sec: float) -> bool:
    """Whether a fault lasts so long that it can be judged at this interval."""
    fault_sec = (run.taken.marks.after - run.taken.marks.fault).total("seconds")
    return interval_sec < LONG_INTERVAL_SEC or fault_sec >= LONG_FAULT_SEC - run.header.interval_sec


def dropped(run: RecordedRun, seed: int, share: float = DROPPED_SHARE) -> RecordedRun:
    """The run with some readings of each tick lost, by chance; the same seed loses the same."""
    chance = random.Random(f"{run.name} {seed}")

    def lose(tick: Signals) -> Signals:
        lost = [i for i in tick.readings if tick.covered(i) and chance.random() < share]
        why = Missing(code=MissingCode.DROPPED, detail="left out of this variant")
        return tick.model_copy(
            update={
                "readings": {**tick.readings, **dict.fromkeys(lost)},
                "no_traffic": tuple(i for i in tick.no_traffic if i not in lost),
                "missing": {**tick.missing, **dict.fromkeys(lost, why)},
                "breakdowns": {i: rows for i, rows in tick.breakdowns.items() if i not in lost},
            }
        )

    return _each(run, lose)


def thinned(run: RecordedRun, interval_sec: float, first: int = 0) -> RecordedRun:
    """The run read at a longer interval, beginning with a given tick."""
    kept: list[Signals] = []
    for tick in run.ticks[first:]:
        if not kept or (tick.time - kept[-1].time).total("seconds") >= interval_sec - run.header.interval_sec / 2:
            kept.append(tick)
    return replace(run, header=run.header.model_copy(update={"interval_sec": interval_sec}), ticks=tuple(kept))


def loaded(run: RecordedRun, factor: float) -> RecordedRun:
    """The run of a cluster with so many times the load."""

    def scale(tick: Signals) -> Signals:
        readings = {i: v * factor if v is not None and scales_with_load(i) else v for i, v in tick.readings.items()}
        breakdowns = {
            i: tuple(BreakdownRow(labels=r.labels, value=r.value * factor) for r in rows)
            if scales_with_load(i)
            else rows
            for i, rows in tick.breakdowns.items()
        }
        return tick.model_copy(update={"readings": readings, "breakdowns": breakdowns})

    return _each(run, scale)


def _of_sdk(signal_id: str) -> bool:
    """Whether only the workers' own pages hold a signal."""
    return SPECS[signal_id].role == "worker" and SPECS[signal_id].source != "api"


def without_sdk(run: RecordedRun) -> RecordedRun:
    """The run of a cluster whose workers show no metrics: their ids are not expected, and no target is theirs."""

    def strip(tick: Signals) -> Signals:
        targets = {role: n for role, n in tick.targets.items() if role not in ("worker", "sdk")}
        return _without(tick, _of_sdk).model_copy(update={"targets": targets})

    return _each(run, strip)


def without_api(run: RecordedRun) -> RecordedRun:
    """The run of a cluster of which only metrics are read: what the API alone tells is not expected, and backlogs are
    the server's gauges, which a stock server refreshes once a minute."""
    held: Signals | None = None

    def strip(tick: Signals) -> Signals:
        nonlocal held
        if held is None or (tick.time - held.time).total("seconds") >= GAUGES_REFRESHED_SEC:
            held = tick
        gauges = (i for i, value in tick.readings.items() if SPECS[i].source == "api or metrics" and value is not None)
        of_gauges = {i: value for i in gauges if (value := held.value(i)) is not None}
        rows = {i: held.breakdowns[i] for i in of_gauges if i in held.breakdowns}
        others = {i: r for i, r in tick.breakdowns.items() if i not in of_gauges}
        update = {"readings": {**tick.readings, **of_gauges}, "breakdowns": {**others, **rows}}
        return _without(tick.model_copy(update=update), lambda i: SPECS[i].source == "api")

    return _each(run, strip)


def _without(tick: Signals, left_out: Callable[[str], bool]) -> Signals:
    return tick.model_copy(
        update={
            "readings": {i: v for i, v in tick.readings.items() if not left_out(i)},
            "no_traffic": tuple(i for i in tick.no_traffic if not left_out(i)),
            "missing": {i: m for i, m in tick.missing.items() if not left_out(i)},
            "breakdowns": {i: rows for i, rows in tick.breakdowns.items() if not left_out(i)},
        }
    )


def _each(run: RecordedRun, change: Callable[[Signals], Signals]) -> RecordedRun:
    return replace(run, ticks=tuple(change(tick) for tick in run.ticks))
