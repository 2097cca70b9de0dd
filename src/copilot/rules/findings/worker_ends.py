"""Findings about workers that end, or hang, while they run a task: the server sees only that no answer comes in time."""

from copilot.rules.findings.context import Action, Finding, FindingContext, Found, present
from copilot.rules.gates import pressure
from copilot.rules.gates.registry import SERVER_REFUSES, SERVER_SLOW
from copilot.rules.model import ActionType, GateResult

FAILED = ("workflow_tasks.failed_per_sec", "worker_tasks.workflow_task_failures_per_sec")
TIMED_OUT = "workflow_tasks.timed_out_per_sec"
FEW = 0.25


def unanswered_tasks(context: FindingContext) -> list[GateResult]:
    """The gates of failing workflow tasks where these time out and hardly one fails, while the server is well; between
    two attempts, where that was so when they were last seen."""
    gates = context.firing(pressure.WORKFLOW_TASK_FAILURES, pressure.WORKFLOW_TASK_ATTEMPTS)
    if not gates or context.late_workflow_tasks or context.firing(*SERVER_REFUSES, *SERVER_SLOW):
        return []
    late, failed = context.value(TIMED_OUT) or 0.0, max(context.value(i) or 0.0 for i in FAILED)
    if late or failed:
        return gates if failed <= FEW * late else []
    before = context.view.memory.cause
    return gates if before is not None and before.finding == WORKFLOW_TASK_TIMEOUTS.name else []


def _workflow_task_timeouts(context: FindingContext) -> Found | None:
    """Workers take workflow tasks and do not answer in time."""
    gates = unanswered_tasks(context)
    evidence = present(rate=context.value(TIMED_OUT), unread=not context.view.signals.targets.get("worker"))
    return Found(gates, evidence, signals=(TIMED_OUT,)) if gates else None


WORKFLOW_TASK_TIMEOUTS = Finding(
    "workflow_task_timeouts", _workflow_task_timeouts, "workers",
    title="Workers take workflow tasks and do not answer[: {rate:per_sec workflow task} time out]",
    cause="Hardly one fails, so the code reports no error: the worker processes end while they run them (killed for their "
    "memory, a crash, a restart), or hang.[{unread:flag} Their metrics pages are not read, so restarts do not show here.]",
    actions=(
        Action("check_worker_ends", ActionType.ALERT, "workers", "Check whether worker processes end and start again: exit codes, out of memory, failing probes. If none does, look for workflow code that blocks, and for workers short of CPU.", 0.8),
    ),
    logs=("panic",),
    looks_like=("workflow_task_failures", "Here no answer comes; there the workers report that the code fails."),
)  # fmt: skip
