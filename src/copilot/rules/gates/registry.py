"""The gates in the order of the rules. A gate is one small function that looks at primary signals and nothing else."""

from collections.abc import Callable

from copilot.rules.gates import pressure, progress
from copilot.rules.gates.context import View
from copilot.rules.model import GateResult

GATES: tuple[Callable[[View], GateResult], ...] = (
    progress.unreachable,
    progress.turned_away,
    progress.work_stalled,
    progress.falling_behind,
    progress.queue_stalled,
    pressure.work_piling_up,
    pressure.backlog_age,
    pressure.frontend_errors,
    pressure.frontend_latency,
    pressure.rate_limited,
    pressure.persistence_errors,
    pressure.persistence_latency,
    pressure.persistence_throttled,
    pressure.history_throttled,
    pressure.history_latency,
    pressure.shard_churn,
    pressure.workflow_task_failures,
    pressure.workflow_task_attempts,
    pressure.activity_failures,
    pressure.application_failures,
)

# The four ways to critical (requirements §3.1).
CRITICAL = frozenset({"unreachable", "turned_away", "work_stalled", "falling_behind"})
# Critical gates that stress at their first firing (requirements §3.3); falling behind must be seen twice.
IMMEDIATE = frozenset({"unreachable", "turned_away", "work_stalled"})
# Quantiles of finished work, which tell of an outage after it is over.
FINISHED_WORK = frozenset({"frontend_latency", "persistence_latency", "history_latency", "workflow_task_attempts"})


def judge(view: View) -> tuple[GateResult, ...]:
    """All gates, in the order of the rules."""
    return tuple(gate(view) for gate in GATES)
