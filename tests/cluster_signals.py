"""Signals of an imagined cluster, for tests of the rules: a healthy one, and what is changed from it."""

from dataclasses import replace

from whenever import Instant, TimeDelta

from copilot.explain import ExplainedEvaluation, explained
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import BreakdownRow, Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS

START = Instant.from_utc(2026, 11, 22, 3)
CONTEXT = Context(cluster="test", interval_sec=10.0, window_sec=30.0)

_HEALTHY: dict[str, float] = {
    "state_transitions.throughput_per_sec": 52.0,
    "workflow_completion.completion_rate": 0.99,
    "workflow_completion.success_per_sec": 2.9,
    "history.task_processing_rate_per_sec": 67.0,
    "history.tasks_acked_per_sec": 35.0,
    "history.write_latency_p99_ms": 11.0,
    "history.task_queue_latency_p99_sec": 0.09,
    "frontend.reachable": 1.0,
    "frontend.request_rate_per_sec": 30.0,
    "frontend.latency_p95_ms": 20.0,
    "frontend.latency_p99_ms": 44.0,
    "matching.tasks_dispatched_per_sec": 17.5,
    "poller.poll_success_rate": 0.99,
    "poller.poll_timeout_rate": 0.01,
    "poller.long_poll_latency_ms": 60_000.0,
    "poller.pending_polls": 34.0,
    "poller.sync_match_rate": 1.0,
    "workflow_tasks.attempts_p99": 0.99,
    "workflow_tasks.completed_per_sec": 14.0,
    "activity_tasks.completed_per_sec": 7.0,
    "persistence.latency_p95_ms": 4.0,
    "persistence.latency_p99_ms": 10.0,
    "persistence.request_rate_per_sec": 138.0,
    "demand.starts_per_sec": 3.0,
    "demand.tasks_added_per_sec": 17.5,
    "demand.requests_per_sec": 4.0,
    "demand.answered_per_sec": 4.0,
    "system_workers.pending_polls": 54.0,
    "system_workers.tasks_dispatched_per_sec": 0.1,
    "shard.owned_count": 512.0,
    "cache.hit_rate": 0.95,
    "worker_cache.sticky_hit_rate": 0.99,
    "workers.workflow_slots_available": 99.0,
    "workers.workflow_slots_used": 1.0,
    "workers.activity_slots_available": 99.0,
    "workers.activity_slots_used": 1.0,
    "workers.workflow_pollers": 24.0,
    "workers.activity_pollers": 10.0,
    "workers.wft_schedule_to_start_p95_ms": 95.0,
    "workers.activity_schedule_to_start_p95_ms": 95.0,
}


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
