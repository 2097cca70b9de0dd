"""The agent that explains: one request, once, within its time. Every failure is an outcome with a reason."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput, capture_run_messages
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
from pydantic_ai.output import OutputSpec
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

from copilot.explain.explanation import ExplainedEvaluation
from copilot.explain.model.answer import Answer, QuickAnswer
from copilot.explain.model.evidence import Evidence
from copilot.explain.model.prompt import INSTRUCTIONS, prompt
from copilot.explain.model.situation import Depth
from copilot.explain.model.usage import AgentName, Outcome, Price, Reply, tokens_at_most
from copilot.settings.models import Cap, OutputMode

log = logging.getLogger(__name__)

AGENTS: dict[Depth, AgentName] = {"quick": "dispatcher", "deep": "researcher"}
MOST_OUTPUT_TOKENS: dict[Depth, int] = {"quick": 400, "deep": 800}
"""The prompts ask for a third to a half of it: what is cut off cannot be used."""
OVERHEAD_CHARACTERS = 2_000
"""What a provider puts around a prompt: the output's schema, roles, framing."""
_ANSWERS_BY = "final_result"  # pydantic-ai's tool for an answer
_SHAPES: dict[Depth, type[Answer]] = {"quick": QuickAnswer, "deep": Answer}
_OUTPUTS: dict[OutputMode, Callable[[type[Answer]], OutputSpec[Answer]]] = {
    "tool": ToolOutput,
    "json_schema": NativeOutput,
    "prompted": PromptedOutput,
}
_ONE_REQUEST = UsageLimits(request_limit=1)


@dataclass(frozen=True, slots=True)
class Explainer:
    """The agent over one model. `price` None: not known. `most_output`: tokens of an answer."""

    agent: Agent[object, Answer]
    name: AgentName
    model: str
    price: Price | None
    most_output: int

    def bound(self, text: str) -> tuple[int, int, float]:
        """The most a request with this prompt can take: tokens in and out, US$ (0 where the price is not known)."""
        tokens = tokens_at_most(len(INSTRUCTIONS) + OVERHEAD_CHARACTERS + len(text))
        return tokens, self.most_output, self.price.of(tokens, self.most_output) if self.price else 0.0

    async def ask(self, text: str, within_sec: float) -> Reply:
        """Send a prompt once. Raises nothing but cancellation."""
        with capture_run_messages() as messages:
            try:
                async with asyncio.timeout(within_sec):
                    result = await self.agent.run(text, usage_limits=_ONE_REQUEST)
                return self._reply(text, Outcome.SERVED, "", messages, result.output)
            except TimeoutError:
                return self._reply(text, Outcome.TIMED_OUT, f"The model did not answer within {within_sec:.0f} s")
            except AgentRunError as error:
                return self._reply(text, *(self._what_came(error, messages) or failure(error)), messages)
            except Exception as error:
                kind = type(error).__name__
                log.warning("%s: %s", self.model, kind, exc_info=True, extra={"event": "model.unreadable_answer"})
                return self._reply(text, Outcome.MALFORMED, f"The model's answer could not be read ({kind})")

    def _what_came(self, error: AgentRunError, messages: Sequence[ModelMessage]) -> tuple[Outcome, str] | None:
        """What is wrong with an answer that came: cut off, empty, or a call of something that it may not call."""
        if isinstance(error, ModelAPIError) or not (came := [m for m in messages if isinstance(m, ModelResponse)]):
            return None
        calls = [part.tool_name for part in came[-1].parts if isinstance(part, ToolCallPart)]
        if came[-1].finish_reason == "length":
            return Outcome.MALFORMED, f"The model's answer was cut off at {self.most_output:,} tokens"
        if not _text(came[-1]).strip():
            return Outcome.MALFORMED, "The model's answer is empty"
        if any(not name.startswith(_ANSWERS_BY) for name in calls):
            return Outcome.MALFORMED, "The model called a tool, and there is none"
        return None

    def _reply(
        self, prompt_text: str, outcome: Outcome, reason: str, messages: Sequence[ModelMessage] = (),
        answer: Answer | None = None,
    ) -> Reply:  # fmt: skip
        """Usage as the provider reports it; the upper bound where it reports none and may charge."""
        responses = [m for m in messages if isinstance(m, ModelResponse)]
        tokens_in = sum(response.usage.input_tokens for response in responses)
        tokens_out = sum(response.usage.output_tokens for response in responses)
        reported = bool(tokens_in + tokens_out)
        if outcome is Outcome.TIMED_OUT or (outcome in (Outcome.SERVED, Outcome.MALFORMED) and not reported):
            tokens_in, tokens_out, cost = self.bound(prompt_text)
        else:
            known = [float(r.usage.cost) for r in responses if r.usage.cost is not None]
            cost = sum(known) if known else self.price.of(tokens_in, tokens_out) if self.price else 0.0
        text = "\n".join(map(_text, responses))
        return Reply(outcome, reason, answer, text, tokens_in, tokens_out, cost)


@dataclass(frozen=True, slots=True)
class Explainers:
    """The agent for each depth, with the daily cap, and how long one explanation may take (s). `addresses`: IP
    addresses are redacted."""

    quick: Explainer
    deep: Explainer
    cap: Cap
    timeout_sec: float
    addresses: bool

    def request(
        self, depth: Depth, evaluation: ExplainedEvaluation, evidence: Evidence, movements: Mapping[str, str]
    ) -> tuple[Explainer, str]:
        """Whom to ask, and the prompt."""
        return self.deep if depth == "deep" else self.quick, prompt(depth, evaluation, evidence, movements)


def explainer(
    model: Model, model_name: str, price: Price | None, depth: Depth, output: OutputMode = "tool"
) -> Explainer:
    """The agent over a model. A malformed answer is not retried: the rules' explanation is there. Instructions and
    schemas are cached where the provider can; Bedrock's retries are turned off where its client is built."""
    name, most_output = AGENTS[depth], MOST_OUTPUT_TOKENS[depth]
    settings = ModelSettings(max_tokens=most_output, thinking=False, cache={"messages": False})
    if "max_retries" not in model.unsupported_settings:
        settings["max_retries"] = 0
    agent: Agent[object, Answer] = Agent(
        model, name=name, output_type=_OUTPUTS[output](_SHAPES[depth]), instructions=INSTRUCTIONS, retries=0,
        model_settings=settings,
    )  # fmt: skip
    return Explainer(agent, name, model_name, price, most_output)


def failure(error: AgentRunError) -> tuple[Outcome, str]:
    """The outcome of a failed run and its reason. The provider's own text is left out: it can hold anything."""
    status = f" ({error.status_code})" if isinstance(error, ModelHTTPError) else ""
    match error:
        case ModelRequestTimeout() | ModelTimeoutError():
            return Outcome.TIMED_OUT, "The model did not answer in time"
        case ModelRateLimitError() | ModelQuotaExceededError():
            return Outcome.THROTTLED, f"The model provider throttles requests{status}"
        case ModelRequestRejectedError():
            return Outcome.DENIED, f"The model provider rejects the request{status}: check credentials and model name"
        case ModelAPIError():
            return Outcome.UNAVAILABLE, f"The model is not available{status}"
        case UnexpectedModelBehavior() | UsageLimitExceeded():
            return Outcome.MALFORMED, "The model's answer does not have the required structure"
    return Outcome.UNAVAILABLE, f"The model could not be called ({type(error).__name__})"


def _text(response: ModelResponse) -> str:
    """What the model wrote: its text, and the arguments of its calls."""
    return "\n".join(
        part.args_as_json_str() if isinstance(part, ToolCallPart) else part.content
        for part in response.parts
        if isinstance(part, ToolCallPart | TextPart)
    )
