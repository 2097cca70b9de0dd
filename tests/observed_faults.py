"""Real faults as somebody else's Prometheus saw them: series at 5 s (tests/data/observed), turned into signals.

There is no API, no SDK page for some, and the stock server's backlog gauges lag by a minute: what a replay against a
Prometheus looks like. Columns are those of the lab's catalogue; an empty cell is an absent series, NaN is NaN."""

import csv
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whenever import Instant

from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import BreakdownRow, Missing, MissingCode, Signals

FOLDER = Path(__file__).parent / "data" / "observed"
WINDOW_SEC = 30.0
TYPES = ("Workflow", "Activity")

# id: column and factor. A lazy family that is absent while its target is up has counted nothing.
_SERVER: dict[str, tuple[str, float]] = {
    "state_transitions.throughput_per_sec": ("p1_state_transitions", 1),
    "workflow_completion.success_per_sec": ("p3_wf_success", 1),
    "history.task_processing_rate_per_sec": ("p5_task_rate", 1),
    "history.tasks_acked_per_sec": ("x_no_progress_success_side", 1),
    "history.write_latency_p99_ms": ("p2a_write_p99", 1000),
    "history.task_queue_latency_p99_sec": ("p4a_task_latency_queue_p99_xfer", 1),
    "frontend.latency_p99_ms": ("p8_fe_p99", 1000),
    "frontend.request_rate_per_sec": ("p8_fe_rps", 1),
    "poller.sync_match_rate": ("p10_sync_match_ratio_Workflow", 1),
    "workflow_tasks.attempts_p99": ("a_wft_attempt_p99", 1),
    "activity_tasks.completed_per_sec": ("a_activity_success_srv", 1),
    "persistence.latency_p99_ms": ("p11_pers_p99", 1000),
    "persistence.request_rate_per_sec": ("p12_pers_rps", 1),
    "demand.starts_per_sec": ("p3_start_rate", 1),
    "demand.requests_per_sec": ("p3_start_rate", 1),
    "workflow_tasks.completed_per_sec": ("p10_poll_success_Workflow", 1),
    "matching.workflow_backlog_age_sec": ("p9_backlog_age_Workflow", 1),
    "matching.activity_backlog_age_sec": ("p9_backlog_age_Activity", 1),
}
_LAZY = {
    "workflow_completion.failed_per_sec": "p3_wf_failed",
    "workflow_completion.timed_out_per_sec": "p3_wf_timeout",
    "frontend.error_rate_per_sec": "p7_fe_unexpected_errors",
    "frontend.throttled_per_sec": "p7_fe_resource_exhausted",
    "workflow_tasks.failed_per_sec": "a_failed_wft",
    "activity_tasks.failed_per_sec": "a_activity_task_fail_srv",
    "persistence.error_rate_per_sec": "p12_pers_errors",
    "persistence.throttled_per_sec": "p12_pers_res_exhausted",
}
_WORKER = {
    "workers.workflow_slots_available": "w_slots_available_WorkflowWorker",
    "workers.workflow_slots_used": "w_slots_used_WorkflowWorker",
    "workers.activity_slots_available": "w_slots_available_ActivityWorker",
    "workers.activity_slots_used": "w_slots_used_ActivityWorker",
    "workers.activity_pollers": "w_pollers_activity_task",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One evaluation: seconds from the fault's begin, and `base`, `fault` or `recovery`."""

    at: float
    phase: str
    evaluation: Evaluation


def observed(name: str, *, every: int = 2) -> list[Seen]:
    """The fault's evaluations at every so many of its 5-s rows."""
    context = Context(cluster=name, interval_sec=5.0 * every, window_sec=WINDOW_SEC)
    memory, seen = Memory(), []
    for row in list(_rows(name))[::every]:
        evaluation, memory = evaluate(signals(row), memory, context)
        seen.append(Seen(float(row["t_from_inject"]), row["phase"], evaluation))
    return seen


def _rows(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(FOLDER / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def signals(row: dict[str, str]) -> Signals:
    """One row as the signals of a tick."""
    up, workers = _number(row["up_server"]) == 1, int(_number(row["up_workers"]) or 0)
    values: dict[str, float | None] = dict.fromkeys((*_SERVER, *_LAZY, "history.throttled_per_sec", *_OF_FLOW))
    if up:
        values |= {i: _scaled(_number(row[column]), by) for i, (column, by) in _SERVER.items()}
        values |= {i: _number(row[column]) or 0.0 for i, column in _LAZY.items()}
        throttled, busy = _number(row["p5_task_throttled"]) or 0.0, _number(row["a_task_errors_busy"]) or 0.0
        values["history.throttled_per_sec"] = max(0.0, throttled - busy)
        values |= {i: _total(rows) for i, rows in _flows(row).items()}
        values["workflow_completion.completion_rate"] = _completion_rate(row)
    if workers:
        values |= {i: _number(row[column]) for i, column in _WORKER.items()}
    quiet = tuple(i for i, v in values.items() if v is not None and math.isnan(v))
    readings = {i: None if i in quiet else v for i, v in values.items()}
    code = MissingCode.ABSENT if up else MissingCode.TARGET_DOWN
    return Signals(
        time=Instant.from_timestamp(int(row["unix"])),
        readings=readings,
        no_traffic=quiet,
        missing={i: Missing(code=code) for i, v in readings.items() if v is None and i not in quiet},
        targets={"server": int(up), "worker": workers},
        breakdowns=_breakdowns(row) if up else {},
    )


_OF_FLOW = (
    "demand.tasks_added_per_sec",
    "matching.tasks_dispatched_per_sec",
    "matching.tasks_spooled_per_sec",
    "matching.backlog_count",
    "poller.pending_polls",
)


def _flows(row: dict[str, str]) -> dict[str, tuple[float | None, float | None]]:
    """What arrives, is served, is stored, waits and polls, of workflow and activity tasks. The catalogue has tasks
    added for both together: activities' are at least those stored and those served."""
    served, stored = _pair(row, "p10_poll_success", 0.0), _pair(row, "x_tasks_spooled", 0.0)
    added = (_number(row["a_tasks_added"]) or 0.0) - (_number(row["x_forward_retry_noise"]) or 0.0)
    activities = min(added, max(served[1] or 0.0, stored[1] or 0.0))
    flows = ((added - activities, activities), served, stored, _pair(row, "p9_backlog_count", None))
    return dict(zip(_OF_FLOW, (*flows, _pair(row, "x_pending_polls_userTQ", 0.0)), strict=True))


def _breakdowns(row: dict[str, str]) -> dict[str, tuple[BreakdownRow, ...]]:
    ages = {
        "matching.workflow_backlog_age_sec": (_number(row["p9_backlog_age_Workflow"]), None),
        "matching.activity_backlog_age_sec": (None, _number(row["p9_backlog_age_Activity"])),
    }
    return {
        signal_id: tuple(
            BreakdownRow(labels={"namespace": "default", "task_queue": "orders", "task_type": kind}, value=value)
            for kind, value in zip(TYPES, values, strict=True)
            if value is not None
        )
        for signal_id, values in {**_flows(row), **ages}.items()
    }


def _completion_rate(row: dict[str, str]) -> float:
    success, *others = (_number(row[f"p3_wf_{how}"]) or 0.0 for how in ("success", "failed", "timeout", "terminate"))
    return success / (success + sum(others)) if success + sum(others) else math.nan


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _pair(row: dict[str, str], column: str, otherwise: float | None) -> tuple[float | None, float | None]:
    workflow, activity = (_number(row[f"{column}_{kind}"]) for kind in TYPES)
    return (otherwise if workflow is None else workflow), (otherwise if activity is None else activity)


def _total(values: tuple[float | None, float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None
