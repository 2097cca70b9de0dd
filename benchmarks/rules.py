"""What one evaluation of the rules costs, on a healthy cluster and in an incident."""

import time
from collections.abc import Iterator

from benchmarks import Row
from copilot.core.signals import Signals
from tests.cluster_signals import healthy, play, workers_down

TICKS = 400


def _microseconds(signals: Signals) -> float:
    began = time.process_time()
    play([signals] * TICKS)
    return (time.process_time() - began) / TICKS * 1e6


def rows() -> Iterator[Row]:
    """CPU time of an evaluation."""
    yield Row("evaluation: healthy", _microseconds(healthy()), "us")
    yield Row("evaluation: nobody polls", _microseconds(workers_down(90.0)), "us")
