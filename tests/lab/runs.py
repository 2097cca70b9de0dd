"""Imagined runs for tests of the judge, and where the recorded ones lie."""

from typing import Any

from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import RecordingHeader, Signals
from lab.judge import RunScore, judge
from lab.labels import Label
from lab.recorded_run import RECORDINGS, Marks, RecordedRun, Taken, find_runs
from tests.evaluations import NOON, evaluation, signals

RECORDED = find_runs(RECORDINGS)
assert RECORDED, f"no recordings in {RECORDINGS}"

BEFORE_SEC, FAULT_SEC, AFTER_SEC, INTERVAL_SEC, WINDOW_SEC = 60, 300, 120, 10, 30


def run(name: str = "workers-down", *, waiting_until_sec: float = FAULT_SEC, **changed: Any) -> RecordedRun:
    """60 s before a fault, 300 s of it, 120 s after it, read every ten seconds with a window of 30 s. A task as old as
    the fault waits in it, until `waiting_until_sec` after it began."""
    marks = Marks(
        before=NOON.subtract(seconds=BEFORE_SEC),
        fault=NOON,
        after=NOON.add(seconds=FAULT_SEC),
        end=NOON.add(seconds=FAULT_SEC + AFTER_SEC),
    )
    header = RecordingHeader(
        cluster=name, interval_sec=INTERVAL_SEC, window_sec=WINDOW_SEC, sources=("api", "scrape"), taxonomy="1"
    )
    taken = Taken(scenario=name, marks=marks, taken="2026-11-22", machine={"cpus": 2}, **changed)
    return RecordedRun(taken, header, tuple(_tick(t, waiting_until_sec) for t in times()))


def _tick(at: int, waiting_until_sec: float) -> Signals:
    age = float(max(0, at)) if at < waiting_until_sec else 0.0
    return signals(NOON.add(seconds=at), matching__workflow_backlog_age_sec=age)


def times() -> range:
    """The run's ticks, in seconds from the beginning of the fault."""
    return range(-BEFORE_SEC, FAULT_SEC + AFTER_SEC, INTERVAL_SEC)


def said(*changes: tuple[int, str], **fields: Any) -> list[Evaluation]:
    """What was said in a run: happy, and from each of these seconds on another state. `fields` replace fields of those
    in the fault."""

    def state(at: int) -> str:
        return next((s for since, s in reversed(changes) if at >= since), "happy")

    return [evaluation(state(t), NOON.add(seconds=t), **(fields if 0 <= t < FAULT_SEC else {})) for t in times()]


def scored(label: dict[str, Any], *changes: tuple[int, str], of: RecordedRun | None = None, **fields: Any) -> RunScore:
    """The score of what was said against a label."""
    return judge(of or run(), Label.model_validate(label), said(*changes, **fields))
