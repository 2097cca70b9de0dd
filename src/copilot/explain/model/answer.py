"""What a model may say: words, a ranking, suggestions. It has no field for a state: rules decide (design.md, law 6)."""

from collections.abc import Iterator
from typing import Literal, TypeVar

from pydantic import FiniteFloat

from copilot.explain.explanation import ExplainedEvaluation, explained
from copilot.rules.model import Evaluation, HealthAssessment, Issue, Narrative, SuggestedAction
from copilot.rules.signals.readings import Frozen


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


class ActionsFor(Frozen):
    """What is advised about one finding, in place of what was advised before."""

    finding: str
    subject: str = ""
    actions: tuple[SuggestedAction, ...]


class Explanation(Frozen):
    """Words about an assessment. The findings that `actions` does not name keep theirs; those the assessment does not
    have are passed over. `note`: a sentence for the reader, why these are the rules' words or of when the model's
    are."""

    explained_by: Literal["rules", "model"]
    summary: str
    narrative: Narrative
    actions: tuple[ActionsFor, ...] = ()
    note: str = ""


E = TypeVar("E", bound=ExplainedEvaluation)
I = TypeVar("I", bound=Issue)  # noqa: E741


def reworded(evaluation: E, explanation: Explanation) -> E:
    """The evaluation in the explanation's words."""
    return evaluation.model_copy(
        update={
            "explained_by": explanation.explained_by,
            "explanation_note": explanation.note,
            "summary": explanation.summary,
            "narrative": explanation.narrative,
            "findings": tuple(readvised(finding, explanation) for finding in evaluation.findings),
        }
    )


def in_words(evaluation: Evaluation) -> ExplainedEvaluation:
    """The evaluation in words: the rules', and those of a model where an assessment has them."""
    words = explained(evaluation)
    if isinstance(evaluation, HealthAssessment) and evaluation.explanation is not None:
        return reworded(words, Explanation.model_validate(evaluation.explanation))
    return words


def readvised(issue: I, explanation: Explanation) -> I:
    """The issue with the explanation's actions, if it has any for it."""
    for advice in explanation.actions:
        if (advice.finding, advice.subject) == (issue.finding, issue.subject):
            return issue.model_copy(update={"suggested_actions": advice.actions})
    return issue
