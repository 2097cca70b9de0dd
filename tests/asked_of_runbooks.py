"""What is asked of the runbooks: by real evaluations, in people's words, and about something else."""

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path

from copilot.explain import explained
from copilot.explain.model.knowledge import question
from copilot.pipeline import replay
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.limits import NEAR_FOR_SEC
from copilot.rules.model import Evaluation, Issue
from copilot.rules.signals.readings import BreakdownRow, Signals
from copilot.sources.recorded import read_recording
from tests.cluster_signals import CONTEXT, at, blind, healthy, judged, with_queues, workers_down
from tests.new_causes import MORE, SHOWN, own_tasks

HERE = Path(__file__).parent
RECORDINGS = ("tests/scenarios/**/*.jsonl.gz", "lab/recordings/*.jsonl.gz", "tests/data/incidents/observed-*.gz")
DATABASE_CALLS = ("UpdateShard", "CreateWorkflowExecution", "GetWorkflowExecution", "ReadHistoryBranch",
                  "GetTimerTasks", "CompleteTasksLessThan", "GetTaskQueue", "RangeCompleteOutboundTasks")  # fmt: skip
REQUESTS = ("StartWorkflowExecution", "SignalWorkflowExecution", "RespondWorkflowTaskCompleted",
            "RecordActivityTaskHeartbeat", "ListWorkflowExecutions", "PollActivityTaskQueue")  # fmt: skip
MISTAKES = ("serviceerror_NotFound", "serviceerror_WorkflowExecutionAlreadyStarted", "serviceerror_InvalidArgument")
QUEUE = {"namespace": "default", "task_queue": "orders", "task_type": "workflow"}

_QUESTIONS = tomllib.loads((HERE / "data" / "questions.toml").read_text(encoding="utf-8"))
PEOPLE: dict[str, str] = _QUESTIONS["people"]
SOMETHING_ELSE: list[str] = _QUESTIONS["something_else"]


def _versions(signals: Signals) -> Signals:
    def row(version: str, value: float) -> tuple[BreakdownRow, ...]:
        return (BreakdownRow(labels={**QUEUE, "worker_version": version}, value=value),)

    rows = {"version.backlog_count": row("shop:2", 240.0), "version.pollers": row("shop:1", 4.0)}
    return signals.model_copy(update={"breakdowns": rows})


def _by(signals: Signals, signal_id: str, **labels: str) -> Signals:
    """With one row of a breakdown, which the cause then names."""
    return signals.model_copy(update={"breakdowns": {signal_id: (BreakdownRow(labels=labels, value=8.0),)}})


def _named() -> Iterator[Signals]:
    """The same faults, met in other operations."""
    failing = healthy(persistence__error_rate_per_sec=3.0, demand__rejected_per_sec=4.0)
    for operation in DATABASE_CALLS:
        for kind in ("serviceerror_Unavailable", "persistence_TimeoutError", "_errors_errorString"):
            yield _by(failing, "persistence.error_rate_per_sec", operation=operation, error_type=kind)
    for operation in REQUESTS:
        yield _by(healthy(frontend__error_rate_per_sec=9.0), "frontend.error_rate_per_sec", operation=operation)
        for cause in ("RpsLimit", "ConcurrentLimit", "SystemOverloaded", "BusyWorkflow"):
            throttled = healthy(frontend__throttled_per_sec=8.0)
            labels = {"operation": operation, "resource_exhausted_cause": cause}
            yield _by(throttled, "frontend.throttled_per_sec", **labels)
        for kind in MISTAKES:
            mistaken = healthy(clients__mistakes_per_sec=6.0)
            yield _by(mistaken, "clients.mistakes_per_sec", operation=operation, error_type=kind)


_OLD = {"demand.tasks_added_per_sec": 0.0, "matching.tasks_dispatched_per_sec": 0.0, "matching.backlog_count": 5.0,
        "matching.workflow_backlog_age_sec": 90_000.0}  # fmt: skip


def _builds(signals: Signals) -> Signals:
    """One build fails workflow tasks, another on the same queue does not."""
    shares = {"shop:b42": 0.3, "shop:b41": 0.0}
    rows = tuple(BreakdownRow(labels={**QUEUE, "worker_version": v}, value=s) for v, s in shares.items())
    return signals.model_copy(update={"breakdowns": {"version.task_failure_ratio": rows}})


# Faults that no recording here has.
MADE: tuple[Signals, ...] = (
    blind(reachable=0.0),
    _builds(healthy(workflow_tasks__failed_per_sec=2.0)),
    _versions(workers_down(60.0, poller__pending_polls=12.0)),
    with_queues(
        workers_down(60.0), orders={"matching.backlog_count": 48, "matching.workflow_backlog_age_sec": 60.0}
    ),
    healthy(history__shard_churn_rate_per_sec=9.0),
    healthy(persistence__latency_p99_ms=900.0),
    healthy(activity_tasks__failed_per_sec=15.0),
    healthy(
        worker_cache__forced_evictions_per_sec=8.0,
        worker_cache__sticky_miss_per_sec=8.0,
        worker_cache__sticky_hit_rate=0.4,
    ),
    healthy(
        matching__backlog_count=200.0,
        matching__workflow_backlog_age_sec=85.0,
        matching__tasks_dispatched_per_sec=40.0,
        demand__tasks_added_per_sec=31.0,
    ),
    healthy(workers__workflow_pollers=400.0),
    healthy(clients__mistakes_per_sec=6.0),
    with_queues(healthy(matching__backlog_count=5.0, matching__workflow_backlog_age_sec=90_000.0), attic=_OLD),
    *(shown for shown, _ in SHOWN.values()),
    *MORE,
)  # fmt: skip


def _evaluations() -> Iterator[Evaluation]:
    for file in sorted(chain.from_iterable(HERE.parent.glob(pattern) for pattern in RECORDINGS)):
        header, ticks = read_recording(file)
        yield from replay(ticks, Context(header.cluster, header.interval_sec, header.window_sec))
    before = judged([healthy()] * 5)[1]
    for signals in (*MADE, *_named()):
        memory = before
        for number in range(5, 11):
            evaluation, memory = evaluate(at(signals, number * CONTEXT.interval_sec), memory, CONTEXT)
            yield evaluation
    memory = before
    for number in range(5, 11):
        aging = own_tasks(number * CONTEXT.interval_sec)
        evaluation, memory = evaluate(at(aging, number * CONTEXT.interval_sec), memory, CONTEXT)
        yield evaluation
    memory = before
    for number in range(5, 6 + int(NEAR_FOR_SEC / CONTEXT.interval_sec)):
        near = at(healthy(limits__requests_used_share=0.9), number * CONTEXT.interval_sec)
        evaluation, memory = evaluate(near, memory, CONTEXT)
    yield evaluation


@cache
def asked() -> Mapping[str, frozenset[str]]:
    """What evaluations ask of the runbooks, by finding: of recorded and observed faults, and of `MADE` ones."""
    found: dict[str, set[str]] = defaultdict(set)
    for issue in _issues():
        found[issue.finding].add(question(issue))
    return {finding: frozenset(questions) for finding, questions in found.items()}


def _issues() -> Iterator[Issue]:
    before = None
    for evaluation in _evaluations():
        if (found := {(finding.finding, finding.subject) for finding in evaluation.findings}) != before:
            yield from explained(evaluation).findings
        before = found
