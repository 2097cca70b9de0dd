"""The activities as workflows call them: a table of names, results, deadlines and retries.

Called by name, so that the sandbox never imports an activity's clients. All times are in seconds.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Generic, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from copilot.loops import messages as m

I = TypeVar("I", bound=m.Message)  # noqa: E741
O = TypeVar("O", bound=m.Message)  # noqa: E741


def _after(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


@dataclass(frozen=True)
class Call(Generic[I, O]):
    """An activity. `attempts`: how often it is tried at most (0: until it succeeds); `retry`, `retry_at_most`: pause
    before the second attempt, and the longest pause; the rest are Temporal's activity timeouts."""

    name: str
    input: type[I]
    result: type[O]
    attempts: int = 1
    retry: float = 0.2
    retry_at_most: float | None = None
    schedule_to_start: float | None = None
    start_to_close: float | None = None
    schedule_to_close: float | None = None
    heartbeat: float | None = None

    async def __call__(self, given: I, **timeouts: float | None) -> O:
        """Run it, with these timeouts besides the table's. ActivityError: it failed; a cancellation is no failure."""
        call = replace(self, **timeouts)  # type: ignore[arg-type]
        retries = RetryPolicy(timedelta(seconds=call.retry), 2.0, _after(call.retry_at_most), call.attempts)
        try:
            answer: O = await workflow.execute_activity(
                call.name,
                given,
                result_type=call.result,
                schedule_to_start_timeout=_after(call.schedule_to_start),
                start_to_close_timeout=_after(call.start_to_close),
                schedule_to_close_timeout=_after(call.schedule_to_close),
                heartbeat_timeout=_after(call.heartbeat),
                retry_policy=retries,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            raise
        return answer


# Second and third attempts are for workers that die over an activity.
fetch_signals = Call("fetch_signals", m.FetchSignals, m.SignalsFetched, attempts=2)
evaluate_health = Call("evaluate_health", m.EvaluateHealth, m.HealthEvaluated, attempts=3, start_to_close=5)
query_logs = Call("query_logs", m.QueryLogs, m.LogsQueried, attempts=2)
prune_store = Call("prune_store", m.ClusterNow, m.StorePruned, attempts=3, retry=30, heartbeat=120)

# Tried once: the next cycle asks again.
inspect_executions = Call("inspect_executions", m.ClusterNow, m.ExecutionsInspected, start_to_close=50)
resume_memory = Call("resume_memory", m.ClusterNow, m.MemoryResumed, start_to_close=3)
get_live_verdict = Call("get_live_verdict", m.ClusterNow, m.LiveVerdict, start_to_close=8)
check_recent_assessment = Call("check_recent_assessment", m.CheckRecentAssessment, m.RecentAssessment, start_to_close=8)

# Retried by the server until they succeed, so that a store that is down does not grow a loop's history.
store_signals_snapshot = Call(
    "store_signals_snapshot", m.StoreSnapshots, m.SnapshotsStored, 0, retry=1, retry_at_most=10, start_to_close=10
)
store_health_assessment = Call(
    "store_health_assessment", m.Assessment, m.AssessmentStored, 0, retry=1, retry_at_most=30, start_to_close=10
)
plan_notices = Call("plan_notices", m.PlanNotifications, m.NotificationPlan, 0, retry_at_most=30, start_to_close=10)
# A failed delivery is a result, and the next plan decides. Only a worker that died over it leads to a retry: with the
# same message and the same event id.
send_notice = Call(
    "send_notice", m.SendNotification, m.NotificationSent, 0,
    retry=1, retry_at_most=300, start_to_close=30, schedule_to_close=3600,
)  # fmt: skip

# An assessment ends within 30 s of its verdict, 23 of which may be a model's. Its callers give the model's deadlines.
explain_assessment = Call("explain_assessment", m.ExplainAssessment, m.Explained, schedule_to_close=3)
ask_dispatcher = Call("ask_dispatcher", m.AskModel, m.ModelAsked)
ask_researcher = Call("ask_researcher", m.AskModel, m.ModelAsked)
fetch_rag_context = Call("fetch_rag_context", m.FetchRagContext, m.RagContext)
improve_explanation = Call(
    "improve_explanation", m.ImproveExplanation, m.ExplanationImproved, attempts=5, schedule_to_close=2
)
AROUND_MODEL_SEC = 1.5
"""For history, ledger and checks around a model's answer."""


def in_one_line(error: ActivityError) -> str:
    """What failed and why, for a person."""
    return f"{error.activity_type}: {error.cause or error}"
