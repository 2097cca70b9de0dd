"""The two agents as the activities know them: questions with a price, and answers in core's own models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from copilot.agents.asking import Asker, Reply
from copilot.agents.dispatcher import Dispatch, NeedsDeepExplanation, NoExplanationNeeded, QuickExplanation
from copilot.agents.prompts import dispatcher_prompt, researcher_prompt
from copilot.agents.researcher import DeepExplanation
from copilot.core.assessment import Evaluation
from copilot.core.budget import Cap
from copilot.core.evidence import Evidence
from copilot.core.model_call import Agent, Outcome, Told


@dataclass(frozen=True, slots=True)
class Question:
    """A question that may be asked: of which model, and what it can take at most (tokens, US$)."""

    agent: Agent
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

    def dispatching(self, evaluation: Evaluation, evidence: Evidence) -> Question:
        """How much explanation does it need?"""
        return _question("dispatcher", self.dispatcher, dispatcher_prompt(evaluation, evidence), _dispatched)

    def research(self, evaluation: Evaluation, evidence: Evidence, moved: Mapping[str, str]) -> Question:
        """What is the explanation?"""
        return _question("researcher", self.researcher, researcher_prompt(evaluation, evidence, moved), _researched)


def _question(agent: Agent, asker: Asker[Any], prompt: str, understood: Callable[[Reply[Any]], Told]) -> Question:
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
