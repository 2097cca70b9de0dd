"""The fast model that decides how much explanation a situation needs."""

from pydantic import FiniteFloat
from pydantic_ai import Agent
from pydantic_ai.models import Model

from copilot.agents.asking import request_settings
from copilot.agents.prompts import DISPATCHER_INSTRUCTIONS
from copilot.core.assessment import Narrative
from copilot.core.model_answer import ModelExplanation
from copilot.core.signals import Frozen

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
