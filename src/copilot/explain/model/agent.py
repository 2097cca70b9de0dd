"""One question to one agent: within its time, tried once, and whatever happens becomes an outcome and a sentence."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from pydantic import FiniteFloat
from pydantic_ai import Agent, capture_run_messages
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelTimeoutError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

from copilot.explain.explanation import ExplainedEvaluation
from copilot.explain.model.answer import Factor, ModelExplanation
from copilot.explain.model.evidence import Evidence
from copilot.explain.model.prompt import (
    DISPATCHER_INSTRUCTIONS,
    RESEARCHER_INSTRUCTIONS,
    dispatcher_prompt,
    researcher_prompt,
)
from copilot.explain.model.usage import AgentName, Cap, Outcome, Price, Told, tokens_at_most
from copilot.rules.model import ActionType, Narrative, Share, SuggestedAction
from copilot.rules.signals.readings import Frozen

log = logging.getLogger(__name__)
T = TypeVar("T")
ONE = UsageLimits(request_limit=1)
# What providers put around a prompt: the outputs' schemas, roles, framing.
SCHEMA_CHARACTERS = 4_000


def request_settings(model: Model, most_tokens: int) -> ModelSettings:
    """At most so many tokens in an answer, none of them spent on thinking where that can be turned off; instructions
    and schemas cached where the provider can; no retries of the client's own (Bedrock's is told when it is built)."""
    settings = ModelSettings(max_tokens=most_tokens, thinking=False, cache={"messages": False})
    if "max_retries" not in model.unsupported_settings:
        settings["max_retries"] = 0
    return settings


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """What came of a question: an output, or None with a sentence that says why. `said`: the answer as it came."""

    output: T | None
    outcome: Outcome
    why: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    said: str = ""


@dataclass(frozen=True, slots=True)
class Asker(Generic[T]):
    """An agent with its model's name and price (None: not known), and how much one answer can take at most."""

    agent: Agent[object, T]
    model: str
    price: Price | None
    instructions: str
    most_output: int

    def at_most(self, prompt: str) -> tuple[int, int, float]:
        """The tokens in and out a question can take, and its cost (US$; 0 where the price is not known)."""
        tokens = tokens_at_most(len(self.instructions) + SCHEMA_CHARACTERS + len(prompt))
        return tokens, self.most_output, self.price.of(tokens, self.most_output) if self.price else 0.0

    async def ask(self, prompt: str, within_sec: float) -> Reply[T]:
        """The answer, or why there is none. Never raises but for cancellation."""
        with capture_run_messages() as messages:
            try:
                async with asyncio.timeout(within_sec):
                    result = await self.agent.run(prompt, usage_limits=ONE)
            except TimeoutError:
                return self._unknown(prompt, Outcome.TIMED_OUT, f"The model did not answer within {within_sec:.0f} s")
            except AgentRunError as error:
                outcome, why = failure(error)
                if outcome is Outcome.TIMED_OUT:
                    return self._unknown(prompt, outcome, why)
                return self._reply(None, outcome, why, prompt, messages)
            except Exception as error:
                log.warning("%s: %s", self.model, type(error).__name__, exc_info=True)
                why = f"The model's answer could not be read ({type(error).__name__})"
                return self._unknown(prompt, Outcome.MALFORMED, why)
        return self._reply(result.output, Outcome.SERVED, "", prompt, messages)

    def _reply(
        self, output: T | None, outcome: Outcome, why: str, prompt: str, messages: Sequence[ModelMessage]
    ) -> Reply[T]:
        """What was used as the provider says; the most it can be where an answer came and it does not say."""
        answers = [m for m in messages if isinstance(m, ModelResponse)]
        into, out = (sum(getattr(a.usage, n) for a in answers) for n in ("input_tokens", "output_tokens"))
        if outcome in (Outcome.SERVED, Outcome.MALFORMED) and not into + out:
            into, out, cost = self.at_most(prompt)
        else:
            known = [float(a.usage.cost) for a in answers if a.usage.cost is not None]
            cost = sum(known) if known else self.price.of(into, out) if self.price else 0.0
        said = "\n".join(_text(a) for a in answers)
        return Reply(output, outcome, why, into, out, cost, said)

    def _unknown(self, prompt: str, outcome: Outcome, why: str) -> Reply[T]:
        """Nobody knows what the provider will charge: the most it can."""
        into, out, cost = self.at_most(prompt)
        return Reply(None, outcome, why, into, out, cost)


def failure(error: AgentRunError) -> tuple[Outcome, str]:
    """What a failed run means, and how it is told. The provider's own words are left out: they can hold anything."""
    status = f" ({error.status_code})" if isinstance(error, ModelHTTPError) else ""
    match error:
        case ModelRequestTimeout() | ModelTimeoutError():
            return Outcome.TIMED_OUT, "The model did not answer in time"
        case ModelRateLimitError() | ModelQuotaExceededError():
            return Outcome.THROTTLED, f"The model's provider refuses for now: too many requests{status}"
        case ModelRequestRejectedError():
            return (
                Outcome.DENIED,
                f"The model's provider rejects the request{status}: look at credentials and model name",
            )
        case ModelAPIError():
            return Outcome.UNAVAILABLE, f"The model is not available{status}"
        case UnexpectedModelBehavior() | UsageLimitExceeded():
            return Outcome.MALFORMED, "The model's answer was not of the shape asked for"
    return Outcome.UNAVAILABLE, f"The model could not be asked ({type(error).__name__})"


def _text(answer: ModelResponse) -> str:
    said = []
    for part in answer.parts:
        if isinstance(part, ToolCallPart):
            said.append(part.args_as_json_str())
        elif isinstance(part, TextPart):
            said.append(part.content)
    return "\n".join(said)


MOST_TOKENS = 600


class NoExplanationNeeded(Frozen):
    """The rules' own words are enough."""

    reason: str = ""


class QuickExplanation(Frozen):
    """A sentence or two that the rules could not have said."""

    summary: str
    why: str
    meaning: str
    watch_next: str = ""
    confidence: FiniteFloat

    def explanation(self) -> ModelExplanation:
        """The same as a researcher would have said it; what it leaves empty the rules say."""
        return ModelExplanation(
            summary=self.summary,
            narrative=Narrative(
                setting="", trigger="", reactions=(), why=self.why, meaning=self.meaning, watch_next=self.watch_next
            ),
            confidence=self.confidence,
        )


class NeedsDeepExplanation(Frozen):
    """Worth the researcher's time. `look_into`: what at."""

    look_into: str = ""


Dispatch = NoExplanationNeeded | QuickExplanation | NeedsDeepExplanation


def dispatcher(model: Model) -> Agent[object, Dispatch]:
    """The agent. An answer of another shape is not asked for again: the rules' words are there."""
    return Agent(
        model,
        name="dispatcher",
        output_type=[NoExplanationNeeded, QuickExplanation, NeedsDeepExplanation],
        instructions=DISPATCHER_INSTRUCTIONS,
        retries=0,
        model_settings=request_settings(model, MOST_TOKENS),
    )


RESEARCHER_MOST_TOKENS = 1_800


class Advice(Frozen):
    """A SuggestedAction with its parameters one by one: Claude's strict schemas know no free mappings."""

    action_type: ActionType
    target_service: str
    description: str
    confidence: Share
    risk_level: Literal["low", "medium", "high"]
    direction: Literal["", "up", "down"] = ""
    task_queue: str = ""
    namespace: str = ""
    runbook: str = ""

    def action(self) -> SuggestedAction:
        """The same in core's words."""
        known = {"direction": self.direction, "task_queue": self.task_queue, "namespace": self.namespace}
        return SuggestedAction(
            action_type=self.action_type,
            target_service=self.target_service,
            description=self.description,
            confidence=self.confidence,
            risk_level=self.risk_level,
            parameters={name: value for name, value in known.items() if value},
            runbook=self.runbook,
        )


class DeepExplanation(Frozen):
    """A ModelExplanation as it is asked for."""

    summary: str
    narrative: Narrative
    factors: tuple[Factor, ...] = ()
    actions: tuple[Advice, ...] = ()
    confidence: FiniteFloat

    def explanation(self) -> ModelExplanation:
        """The same in core's words."""
        return ModelExplanation(
            summary=self.summary,
            narrative=self.narrative,
            factors=self.factors,
            actions=tuple(advice.action() for advice in self.actions),
            confidence=self.confidence,
        )


def researcher(model: Model) -> Agent[object, DeepExplanation]:
    """The agent. An answer of another shape is not asked for again: the rules' words are there."""
    return Agent(
        model,
        name="researcher",
        output_type=DeepExplanation,
        instructions=RESEARCHER_INSTRUCTIONS,
        retries=0,
        model_settings=request_settings(model, RESEARCHER_MOST_TOKENS),
    )


@dataclass(frozen=True, slots=True)
class Question:
    """A question that may be asked: of which model, and what it can take at most (tokens, US$)."""

    agent: AgentName
    model: str
    prompt: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    _asker: Asker[Any]
    _understood: Callable[[Reply[Any]], Told]

    async def ask(self, within_sec: float) -> Told:
        """Ask it, once. Never raises but for cancellation."""
        return self._understood(await self._asker.ask(self.prompt, within_sec))


@dataclass(frozen=True, slots=True)
class Explainers:
    """The agents with what they may cost a day, and how long one explanation may take (s). `addresses`: IP addresses
    are kept from them."""

    dispatcher: Asker[Dispatch]
    researcher: Asker[DeepExplanation]
    cap: Cap
    timeout_sec: float
    addresses: bool

    def dispatching(self, evaluation: ExplainedEvaluation, evidence: Evidence) -> Question:
        """How much explanation does it need?"""
        return _question("dispatcher", self.dispatcher, dispatcher_prompt(evaluation, evidence), _dispatched)

    def research(self, evaluation: ExplainedEvaluation, evidence: Evidence, moved: Mapping[str, str]) -> Question:
        """What is the explanation?"""
        return _question("researcher", self.researcher, researcher_prompt(evaluation, evidence, moved), _researched)


def _question(agent: AgentName, asker: Asker[Any], prompt: str, understood: Callable[[Reply[Any]], Told]) -> Question:
    into, out, cost = asker.at_most(prompt)
    return Question(agent, asker.model, prompt, into, out, cost, asker, understood)


def _told(reply: Reply[Any]) -> Told:
    return Told(reply.outcome, reply.why, reply.input_tokens, reply.output_tokens, reply.cost_usd, reply.said)


def _dispatched(reply: Reply[Dispatch]) -> Told:
    match reply.output:
        case NoExplanationNeeded():
            return replace(_told(reply), outcome=Outcome.NOT_NEEDED)
        case NeedsDeepExplanation():
            return replace(_told(reply), outcome=Outcome.DEEPER)
        case QuickExplanation() as quick:
            return replace(_told(reply), explanation=quick.explanation())
    return _told(reply)


def _researched(reply: Reply[DeepExplanation]) -> Told:
    return replace(_told(reply), explanation=reply.output.explanation() if reply.output else None)
