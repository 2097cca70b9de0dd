"""The model that writes deep explanations. Its answer has no field for a state (design.md, law 6)."""

from pydantic_ai import Agent
from pydantic_ai.models import Model

from copilot.agents.asking import request_settings
from copilot.agents.prompts import RESEARCHER_INSTRUCTIONS
from copilot.core.model_answer import ModelExplanation

MOST_TOKENS = 1_800


def researcher(model: Model) -> Agent[object, ModelExplanation]:
    """The agent. An answer of another shape is not asked for again: the rules' words are there."""
    return Agent(
        model,
        name="researcher",
        output_type=ModelExplanation,
        instructions=RESEARCHER_INSTRUCTIONS,
        retries=0,
        model_settings=request_settings(model, MOST_TOKENS),
    )
