"""One tick of the rules: signals and memory in, everything that is said out."""

from dataclasses import dataclass

from copilot.core.assessment import Evaluation
from copilot.core.signals import Signals
from copilot.core.state_machine import Memory
from copilot.core.thresholds import Thresholds

RULES_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Context:
    """What the rules must know besides the readings: the cluster's name, interval and rate window in seconds,
    thresholds, and the task queues the operator wants ignored."""

    cluster: str
    interval_sec: float
    window_sec: float
    thresholds: Thresholds = Thresholds()
    ignore_task_queues: tuple[str, ...] = ()


def evaluate(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:
    """The verdict with its findings and words, and what to remember for the next tick. Same inputs, same answer."""
    raise NotImplementedError
