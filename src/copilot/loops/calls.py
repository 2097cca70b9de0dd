"""The activities as the loops see them: one typed function each, with its deadlines and who retries.

Called by name, so that the sandbox never imports an activity's clients.
"""

from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, TimeoutError, TimeoutType

from copilot.loops.messages import (
    AskModel,
    AssessmentStored,
    CheckRecentAssessment,
    EvaluateHealth,
    ExplainAssessment,
    Explained,
    ExplanationImproved,
    FetchRagContext,
    FetchSignals,
    GetLiveVerdict,
    HealthEvaluated,
    ImproveExplanation,
    LiveVerdict,
    MemoryResumed,
    Message,
    ModelAsked,
    NoticeSent,
    NoticesPlanned,
    PlanNotices,
    PruneStore,
    RagContext,
    RecentAssessment,
    ResumeMemory,
    SendNotice,
    SignalsFetched,
    SnapshotsStored,
    StoreAssessment,
    StorePruned,
    StoreSnapshots,
)

A = TypeVar("A", bound=Message)

AT_ONCE = timedelta(milliseconds=200)
WRITE = timedelta(seconds=10)
ASK = timedelta(seconds=8)
PRUNING_LIVES = timedelta(minutes=2)
# An assessment is to end within 30 s of its verdict, 23 of which may be a model's.
PLAN = timedelta(seconds=3)
SEND = timedelta(seconds=30)
SEND_PATIENCE = timedelta(hours=1)


def fetch_deadline_sec(interval_sec: float) -> float:
    """What all sources together may take: 10 s, half an interval if that is shorter, but never less than the health
    check takes."""
    return min(10.0, max(4.0, interval_sec / 2))


async def _once(name: str, ask: Message, answers: type[A], within: timedelta) -> A:
    """An activity that is tried once: who does not answer is asked again another time, or not at all."""
    answer: A = await workflow.execute_activity(
        name,
        ask,
        result_type=answers,
        start_to_close_timeout=within,
        retry_policy=RetryPolicy(maximum_attempts=1),
    )
    return answer


async def fetch_signals(ask: FetchSignals, waits_sec: float) -> SignalsFetched:
    """One more attempt if the worker died over it. Nobody there within `waits_sec`: `nobody_was_there` tells."""
    answer: SignalsFetched = await workflow.execute_activity(
        "fetch_signals",
        ask,
        result_type=SignalsFetched,
        schedule_to_start_timeout=timedelta(seconds=waits_sec),
        start_to_close_timeout=timedelta(seconds=ask.deadline_sec + 3),
        retry_policy=RetryPolicy(initial_interval=AT_ONCE, maximum_attempts=2),
    )
    return answer


async def evaluate_health(ask: EvaluateHealth, waits_sec: float) -> HealthEvaluated:
    """The rules take milliseconds; a second and third attempt are for workers that die."""
    answer: HealthEvaluated = await workflow.execute_activity(
        "evaluate_health",
        ask,
        result_type=HealthEvaluated,
        schedule_to_start_timeout=timedelta(seconds=waits_sec),
        start_to_close_timeout=timedelta(seconds=5),
        retry_policy=RetryPolicy(initial_interval=AT_ONCE, maximum_attempts=3),
    )
    return answer


async def resume_memory(ask: ResumeMemory) -> MemoryResumed:
    """Asked once, before the first tick: a store that does not answer at once is not waited for."""
    return await _once("resume_memory", ask, MemoryResumed, timedelta(seconds=3))


async def store_signals_snapshot(ask: StoreSnapshots, gives_up: timedelta | None) -> SnapshotsStored:
    """Retried by the server, so that a store that is away does not grow the loop's history."""
    answer: SnapshotsStored = await workflow.execute_activity(
        "store_signals_snapshot",
        ask,
        result_type=SnapshotsStored,
        start_to_close_timeout=WRITE,
        schedule_to_close_timeout=gives_up,
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
    )
    return answer


async def store_health_assessment(ask: StoreAssessment) -> AssessmentStored:
    """Retried for as long as it takes: an assessment outlives any repair of its store."""
    answer: AssessmentStored = await workflow.execute_activity(
        "store_health_assessment",
        ask,
        result_type=AssessmentStored,
        start_to_close_timeout=WRITE,
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)),
    )
    return answer


async def explain_assessment(ask: ExplainAssessment) -> Explained:
    """Asked once: who cannot explain it now is not waited for."""
    answer: Explained = await workflow.execute_activity(
        "explain_assessment",
        ask,
        result_type=Explained,
        schedule_to_close_timeout=PLAN,
        retry_policy=RetryPolicy(maximum_attempts=1),
    )
    return answer


async def get_live_verdict(ask: GetLiveVerdict) -> LiveVerdict:
    """Asked once a look: the next one is soon."""
    return await _once("get_live_verdict", ask, LiveVerdict, ASK)


async def check_recent_assessment(ask: CheckRecentAssessment) -> RecentAssessment:
    """Asked once a look: a store that is away is not waited for."""
    return await _once("check_recent_assessment", ask, RecentAssessment, ASK)


async def prune_store(ask: PruneStore, gives_up_sec: float) -> StorePruned:
    """Three attempts, for workers that are replaced meanwhile: each goes on where the last one ended."""
    answer: StorePruned = await workflow.execute_activity(
        "prune_store",
        ask,
        result_type=StorePruned,
        schedule_to_close_timeout=timedelta(seconds=gives_up_sec),
        heartbeat_timeout=PRUNING_LIVES,
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=30), maximum_attempts=3),
    )
    return answer


async def plan_notices(ask: PlanNotices) -> NoticesPlanned:
    """Retried for as long as it takes: nothing can be told without a plan."""
    answer: NoticesPlanned = await workflow.execute_activity(
        "plan_notices",
        ask,
        result_type=NoticesPlanned,
        start_to_close_timeout=WRITE,
        retry_policy=RetryPolicy(initial_interval=AT_ONCE, maximum_interval=timedelta(seconds=30)),
    )
    return answer


async def send_notice(ask: SendNotice) -> NoticeSent:
    """An attempt that fails says so in its answer, and the next plan decides. What is retried here is a worker that
    died over it: the message is the same, with the same event id."""
    answer: NoticeSent = await workflow.execute_activity(
        "send_notice",
        ask,
        result_type=NoticeSent,
        start_to_close_timeout=SEND,
        schedule_to_close_timeout=SEND_PATIENCE,
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)),
    )
    return answer


def nobody_was_there(error: ActivityError) -> bool:
    """Whether an activity failed because no worker took it in time."""
    cause = error.cause
    return isinstance(cause, TimeoutError) and cause.type == TimeoutType.SCHEDULE_TO_START


def in_one_line(error: ActivityError) -> str:
    """What failed and why, for a person."""
    return f"{error.activity_type}: {error.cause or error}"


# For history, ledger and checks around a model's answer.
AROUND_SEC = 1.5
KEEP = timedelta(seconds=2)


async def ask_dispatcher(ask: AskModel) -> ModelAsked:
    """How much explanation is needed."""
    return await _explaining_once("ask_dispatcher", ask, ModelAsked, ask.deadline_sec)


async def ask_researcher(ask: AskModel) -> ModelAsked:
    """A deep explanation."""
    return await _explaining_once("ask_researcher", ask, ModelAsked, ask.deadline_sec)


async def fetch_rag_context(ask: FetchRagContext) -> RagContext:
    """Passages of runbooks."""
    return await _explaining_once("fetch_rag_context", ask, RagContext, ask.deadline_sec)


async def improve_explanation(ask: ImproveExplanation) -> ExplanationImproved:
    """Paid for already, so tried again while there is time."""
    improved: ExplanationImproved = await workflow.execute_activity(
        "improve_explanation",
        ask,
        result_type=ExplanationImproved,
        schedule_to_close_timeout=KEEP,
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=5),
    )
    return improved


async def _explaining_once(name: str, ask: Message, answers: type[A], within_sec: float) -> A:
    answer: A = await workflow.execute_activity(
        name,
        ask,
        result_type=answers,
        schedule_to_close_timeout=timedelta(seconds=within_sec + AROUND_SEC),
        retry_policy=RetryPolicy(maximum_attempts=1),
    )
    return answer
