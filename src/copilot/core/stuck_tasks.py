"""Workflow tasks that fail attempt after attempt, and how long the server waits between two of them.

A task that fails is tried again at once, and from its fourth attempt on the server adds 5 s, 10 s, 20 s … 10 min to the
task's time-out (10 s unless set otherwise) before the next. So the sixth attempt begins a minute after the first
failed, and a window without an attempt says nothing: the next may not be due yet. The histogram of attempts has its
bounds at 5, 10 and 20, and is written when an attempt begins, so it does not tell whether that one fails too.
"""

from typing import Any

from copilot.core.view import View

ATTEMPTS = "workflow_tasks.attempts_p99"
ONE_MOMENT_ATTEMPTS = 5.0


def stuck_learned(view: View) -> dict[str, Any]:
    """What memory learns of tasks that failed for a minute and more and fail still: how many attempts, and when they
    were seen last. Where tasks are tried as often and none has failed in the workers for a window, none is stuck."""
    value, before = view.signals.value(ATTEMPTS), view.memory.stuck_attempts if view.stuck_for_sec else None
    few = value is not None and value <= max(ONE_MOMENT_ATTEMPTS, view.thresholds.workflow_task_attempts_p99)
    if value is None or few or view.recovering:
        return {}
    fails = view.signals.value("worker_tasks.workflow_task_failures_per_sec")
    if fails != 0:
        return {"stuck_attempts": max(value, before or value), "stuck_at": view.now} if _several(view) else {}
    seen = view.memory.stuck_at
    over = seen is not None and (view.now - seen).total("seconds") > view.window_sec
    return {"stuck_attempts": None, "stuck_at": None} if over else {}


def _several(view: View) -> bool:
    """Whether more tasks failed or timed out than a cluster without work is allowed."""
    failed = sum(view.signals.value(f"workflow_tasks.{how}_per_sec") or 0.0 for how in ("failed", "timed_out"))
    return failed > view.thresholds.workflow_task_failures.at(0.0, view.window_sec)
