"""Signals of an imagined cluster, for tests of the rules: a healthy one, and what is changed from it."""

import tomllib
from dataclasses import replace
from pathlib import Path

from whenever import Instant, TimeDelta

from copilot.explain import ExplainedEvaluation, explained
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.flow import cluster_flow, queue_flows
from copilot.rules.gates.context import GateContext
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import BreakdownRow, Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.thresholds import Thresholds

START = Instant.from_utc(2026, 11, 22, 3)
DATA = Path(__file__).parent / "data"
CONTEXT = Context(cluster="test", interval_sec=10.0, window_sec=30.0)

_HEALTHY: dict[str, float] = tomllib.loads((DATA / "healthy.toml").read_text(encoding="utf-8"))["imagined"]


def healthy(**changes: float | None) -> Signals:
    """A healthy cluster at START. Keyword `a__b=1` sets id `a.b`; None makes it missing."""
    readings: dict[str, float | None] = {i: _HEALTHY.get(i, 0.0) for i, s in SPECS.items() if s.source != "none"}
    readings |= {name.replace("__", "."): value for name, value in changes.items()}
    missing = {i: Missing(code=MissingCode.ABSENT) for i, v in readings.items() if v is None}
    return Signals(time=START, readings=readings, missing=missing, targets={"server": 1, "worker": 2})


def workers_down(age: float, **changes: float | None) -> Signals:
    """Nobody polls while 4 tasks/s arrive; the oldest task waits `age` seconds."""
    wrong: dict[str, float | None] = {
        "matching__tasks_dispatched_per_sec": 0.0,
        "demand__tasks_added_per_sec": 4.0,
        "matching__tasks_spooled_per_sec": 4.0,
        "matching__backlog_count": 4.0 * age,
        "matching__workflow_backlog_age_sec": age,
        "poller__pending_polls": 0.0,
        "workflow_completion__success_per_sec": 0.0,
        "workflow_tasks__completed_per_sec": 0.0,
        "activity_tasks__completed_per_sec": 0.0,
        **{f"workers__{i}": None for i in ("workflow_slots_available", "activity_slots_available")},
    }
    return healthy(**(wrong | changes)).model_copy(update={"targets": {"server": 1, "worker": 0}})


def blind(*, reachable: float | None = 1.0) -> Signals:
    """The server's metrics page is gone."""
    ids = [i for i, s in SPECS.items() if s.source != "none"]
    readings: dict[str, float | None] = dict.fromkeys(ids)
    readings["frontend.reachable"] = reachable
    why = Missing(code=MissingCode.TARGET_DOWN, detail="connection refused")
    missing = {i: why for i, v in readings.items() if v is None}
    return Signals(time=START, readings=readings, missing=missing, targets={"server": 0, "worker": 0})


def seen_by_gates(signals: Signals, memory: Memory | None = None) -> GateContext:
    """What the gates look at, with this memory."""
    flows = cluster_flow(signals), queue_flows(signals)
    return GateContext(signals, *flows, memory or Memory(), Thresholds(), CONTEXT.window_sec, signals.time)


def at(signals: Signals, seconds: float) -> Signals:
    """The same, `seconds` after START."""
    return signals.model_copy(update={"time": START + TimeDelta(seconds=seconds)})


def with_queues(signals: Signals, **rows: dict[str, float]) -> Signals:
    """With breakdowns: `with_queues(s, orders={"matching.backlog_count": 3})`."""
    breakdowns: dict[str, tuple[BreakdownRow, ...]] = {}
    for queue, values in rows.items():
        for signal_id, value in values.items():
            labels = {"namespace": "default", "task_queue": queue, "task_type": "workflow"}
            breakdowns[signal_id] = (*breakdowns.get(signal_id, ()), BreakdownRow(labels=labels, value=value))
    return signals.model_copy(update={"breakdowns": breakdowns})


def judged(
    ticks: list[Signals], context: Context = CONTEXT, memory: Memory | None = None
) -> tuple[list[Evaluation], Memory]:
    """The evaluations of these signals, one interval apart, and the memory after them."""
    memory, evaluations = memory or Memory(), []
    for number, signals in enumerate(ticks):
        evaluation, memory = evaluate(at(signals, number * context.interval_sec), memory, context)
        evaluations.append(evaluation)
    return evaluations, memory


def play(ticks: list[Signals], context: Context = CONTEXT) -> tuple[list[ExplainedEvaluation], Memory]:
    """The same, explained."""
    evaluations, memory = judged(ticks, context)
    return [explained(evaluation) for evaluation in evaluations], memory


def after(signals: Signals, ticks: int = 4) -> ExplainedEvaluation:
    """The last evaluation of a healthy cluster that came to this, explained."""
    return explained(judged([healthy()] * 5 + [signals] * ticks)[0][-1])


def states(ticks: list[Signals], context: Context = CONTEXT) -> list[str]:
    """The reported states of these ticks."""
    return [e.verdict.health_state.value for e in judged(ticks, context)[0]]


def every(seconds: float) -> Context:
    """The context at another interval, with the default window for it."""
    return replace(CONTEXT, interval_sec=seconds, window_sec=max(30.0, 2 * seconds))
