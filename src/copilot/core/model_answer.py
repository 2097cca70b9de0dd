"""What a model may say: words, a ranking, suggestions. It has no field for a state: rules decide (design.md, law 6)."""

from collections.abc import Iterator

from pydantic import FiniteFloat

from copilot.core.assessment import Narrative, SuggestedAction
from copilot.core.signals import Frozen


class Factor(Frozen):
    """A contributing factor: the name of one of the evaluation's findings, and what the model has to say of it."""

    finding: str
    words: str


class ModelExplanation(Frozen):
    """A model's answer. `factors`: the likeliest cause first. `confidence`: 0…1, checked when it is grounded and not
    when it is parsed, so that an answer refused for it is counted like all others."""

    summary: str
    narrative: Narrative
    factors: tuple[Factor, ...] = ()
    actions: tuple[SuggestedAction, ...] = ()
    confidence: FiniteFloat


def texts(answer: ModelExplanation) -> Iterator[tuple[str, str]]:
    """Every text of an answer that a person would read, with the place it stands at."""
    said = answer.narrative
    yield "summary", answer.summary
    for place in ("setting", "trigger", "why", "meaning", "watch_next"):
        yield f"narrative.{place}", getattr(said, place)
    for number, reaction in enumerate(said.reactions):
        yield f"narrative.reactions.{number}", reaction
    for number, factor in enumerate(answer.factors):
        yield f"factors.{number}", factor.words
    for number, action in enumerate(answer.actions):
        yield f"actions.{number}", action.description
