"""The activities that explain, as AssessHealthWorkflow sees them. Models are asked once: tokens are money, and who does
not answer now is not waited for."""

from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

from copilot.activities.explain_messages import (
    AskModel,
    ExplanationImproved,
    FetchRagContext,
    ImproveExplanation,
    ModelAsked,
    RagContext,
)
from copilot.activities.messages import Message

A = TypeVar("A", bound=Message)
# For history, ledger and checks around a model's answer.
AROUND_SEC = 1.5
KEEP = timedelta(seconds=2)


async def ask_dispatcher(ask: AskModel) -> ModelAsked:
    """How much explanation is needed."""
    return await _once("ask_dispatcher", ask, ModelAsked, ask.deadline_sec)


async def ask_researcher(ask: AskModel) -> ModelAsked:
    """A deep explanation."""
    return await _once("ask_researcher", ask, ModelAsked, ask.deadline_sec)


async def fetch_rag_context(ask: FetchRagContext) -> RagContext:
    """Passages of runbooks."""
    return await _once("fetch_rag_context", ask, RagContext, ask.deadline_sec)


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


async def _once(name: str, ask: Message, answers: type[A], within_sec: float) -> A:
    answer: A = await workflow.execute_activity(
        name,
        ask,
        result_type=answers,
        schedule_to_close_timeout=timedelta(seconds=within_sec + AROUND_SEC),
        retry_policy=RetryPolicy(maximum_attempts=1),
    )
    return answer
