"""Better words for an assessment that is kept already: a model's, say, which arrive after the rules' own.

An explanation has no state, severity, gate or reading in it, so it cannot change one (law 6)."""

from typing import Literal, TypeVar

from copilot.core.assessment import Evaluation, Issue, Narrative, SuggestedAction
from copilot.core.signals import Frozen


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


E = TypeVar("E", bound=Evaluation)
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


def readvised(issue: I, explanation: Explanation) -> I:
    """The issue with the explanation's actions, if it has any for it."""
    for advice in explanation.actions:
        if (advice.finding, advice.subject) == (issue.finding, issue.subject):
            return issue.model_copy(update={"suggested_actions": advice.actions})
    return issue
