"""The model that writes deep explanations. Its answer has no field for a state (design.md, law 6)."""

from typing import Literal

from pydantic import FiniteFloat
from pydantic_ai import Agent
from pydantic_ai.models import Model

from copilot.agents.asking import request_settings
from copilot.agents.prompts import RESEARCHER_INSTRUCTIONS
from copilot.core.assessment import ActionType, Narrative, Share, SuggestedAction
from copilot.core.model_answer import Factor, ModelExplanation
from copilot.core.signals import Frozen

MOST_TOKENS = 1_800


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
        model_settings=request_settings(model, MOST_TOKENS),
    )
