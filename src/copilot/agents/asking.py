"""One question to one agent: within its time, tried once, and whatever happens becomes an outcome and a sentence."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

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

from copilot.core.budget import Price, tokens_at_most
from copilot.core.model_call import Outcome

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
