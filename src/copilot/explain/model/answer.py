"""What a model may write, what is shown of it, and how that is applied to an evaluation.

Three shapes: an `Answer` as the model wrote it (sentences with placeholders, and choices by key), an `Explanation` as
it is shown (placeholders filled in), and the evaluation that carries it. None of them has a field for a state or for
the text of an action: the rules decide the state, and actions come from the catalogue.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import ValidationError
from pydantic.json_schema import SkipJsonSchema

from copilot.explain.explanation import ExplainedEvaluation, explained
from copilot.rules.model import Evaluation, HealthAssessment, Issue, Narrative
from copilot.rules.signals.readings import Frozen


class ActionRef(Frozen):
    """A finding and the key of one of its actions."""

    finding: str
    action: str


class Factor(Frozen):
    """A finding and one sentence about it."""

    finding: str
    sentence: str


class Answer(Frozen):
    """Sentences cite readings as `{placeholders}`, without digits."""

    # `factors`: the likeliest cause first; `actions`: the first to do first. Empty parts are filled from the rules'
    # explanation. The docstring is part of each request; parts that the schema skips are read and not requested.
    summary: str
    why: str
    meaning: str = ""
    setting: SkipJsonSchema[str] = ""
    trigger: SkipJsonSchema[str] = ""
    reactions: SkipJsonSchema[tuple[str, ...]] = ()
    watch_next: SkipJsonSchema[str] = ""
    factors: tuple[Factor, ...] = ()
    actions: tuple[ActionRef, ...] = ()


class QuickAnswer(Answer):
    """Sentences cite readings as `{placeholders}`, without digits."""

    meaning: SkipJsonSchema[str] = ""
    factors: SkipJsonSchema[tuple[Factor, ...]] = ()


class Explanation(Frozen):
    """An explanation that may be shown. `actions`: choices among the evaluation's own actions; others are ignored.
    `note`: a sentence for the reader, why the rules explain or when the model did."""

    explained_by: Literal["rules", "model"]
    summary: str
    narrative: Narrative
    actions: tuple[ActionRef, ...] = ()
    note: str = ""


def rules_explanation(evaluation: ExplainedEvaluation, reason: str) -> Explanation:
    """The rules' explanation. `reason`: a clause that says why no model's is shown."""
    return Explanation(
        explained_by="rules",
        summary=evaluation.summary,
        narrative=evaluation.narrative,
        note=f"Explained by the rules: {reason[:1].lower()}{reason[1:]}.",
    )


def apply_explanation(evaluation: ExplainedEvaluation, explanation: Explanation) -> ExplainedEvaluation:
    """The evaluation with this explanation in place of its own."""
    return evaluation.model_copy(
        update={
            "explained_by": explanation.explained_by,
            "explanation_note": explanation.note,
            "summary": explanation.summary,
            "narrative": explanation.narrative,
            "findings": tuple(apply_choices(finding, explanation.actions) for finding in evaluation.findings),
        }
    )


def in_words(evaluation: Evaluation) -> ExplainedEvaluation:
    """The evaluation explained by the rules, or by a model where this release can read what it stored."""
    words = explained(evaluation)
    if not isinstance(evaluation, HealthAssessment) or evaluation.explanation is None:
        return words
    try:
        return apply_explanation(words, Explanation.model_validate(evaluation.explanation))
    except ValidationError:
        return words


def apply_choices(issue: Issue, choices: Sequence[ActionRef]) -> Issue:
    """The issue with its chosen actions marked and moved up, but never above the rules' first action."""
    keys = [choice.action for choice in choices if choice.finding == issue.finding]
    if not keys:
        return issue
    marked = [a.model_copy(update={"source": "model"}) if a.key in keys else a for a in issue.suggested_actions]
    first, rest = marked[:1], marked[1:]
    rest.sort(key=lambda action: keys.index(action.key) if action.key in keys else len(keys))
    return issue.model_copy(update={"suggested_actions": (*first, *rest)})


def carry_over(evaluation: ExplainedEvaluation, before: ExplainedEvaluation | None) -> ExplainedEvaluation:
    """The evaluation with the model's explanation of an earlier one, if there is one of the same state and findings.
    The summary stays the rules', because it holds the present readings."""
    if (
        before is None
        or before.explained_by != "model"
        or evaluation.explained_by == "model"
        or before.time >= evaluation.time
        or _situation(before) != _situation(evaluation)
    ):
        return evaluation
    choices = tuple(
        ActionRef(finding=issue.finding, action=action.key)
        for issue in before.findings
        for action in issue.suggested_actions
        if action.source == "model"
    )
    explanation = Explanation(
        explained_by="model",
        summary=evaluation.summary,
        narrative=before.narrative,
        actions=choices,
        note=before.explanation_note or f"The model's explanation is of {before.time.format_iso()}.",
    )
    return apply_explanation(evaluation, explanation)


def _situation(evaluation: ExplainedEvaluation) -> tuple[object, ...]:
    """What an explanation is about. More gates may fire meanwhile, of the same findings."""
    verdict = evaluation.verdict
    findings = frozenset((issue.finding, issue.subject) for issue in evaluation.findings)
    return verdict.health_state, verdict.stale, verdict.since, evaluation.bottleneck, findings
