"""A week of a cluster's life for the load test, told by the rules over one recorded incident again and again."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from whenever import Instant

from copilot import pipeline
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, Snapshot
from copilot.sources.recorded import read_recording

CLUSTER = "load"
INTERVAL_SEC = 30.0
RECORDING = Path(__file__).parents[1] / "lab" / "recordings" / "workers-down.jsonl.gz"


def judged(count: int, last: Instant, recording: Path = RECORDING) -> Iterator[Snapshot]:
    """Snapshots of `count` ticks of a recording again and again, of which the last is of `last`."""
    context = Context(cluster=CLUSTER, interval_sec=INTERVAL_SEC, window_sec=2 * INTERVAL_SEC)
    memory = Memory()
    for n, tick in enumerate(islice(cycle(read_recording(recording)[1]), count)):
        time = last.subtract(seconds=INTERVAL_SEC * (count - 1 - n))
        evaluation, after = evaluate(tick.model_copy(update={"time": time}), memory, context)
        yield pipeline.snapshot(evaluation, memory, context)
        memory = after


def newest(now: Instant) -> Evaluation:
    """What a running loop would say now: critical, with all it says then."""
    *_, last = judged(25, now)
    return last.evaluation
