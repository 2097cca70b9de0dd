"""A model's answer as it is served: in the rules' frame, with the rules' sentence about the state before it."""

import re

from copilot.explain.explanation import ExplainedEvaluation
from copilot.explain.model.advice import as_meant
from copilot.explain.model.answer import ActionsFor, Explanation, ModelExplanation
from copilot.explain.model.fingerprint import same_story
from copilot.rules.model import Issue, Narrative, SuggestedAction
from copilot.rules.scaling import broken_rule

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+")


def rules_stand(evaluation: ExplainedEvaluation, why: str) -> Explanation:
    """The rules' own words, with a sentence that says why there are no others."""
    return Explanation(
        explained_by="rules",
        summary=evaluation.summary,
        narrative=evaluation.narrative,
        note=f"{why}: the rules' words.",
    )


def served(evaluation: ExplainedEvaluation, answer: ModelExplanation) -> Explanation:
    """A checked answer about an evaluation that is in the rules' words. What the model left empty the rules say."""
    said, rules = answer.narrative, evaluation.narrative
    factors = " ".join(factor.words.strip() for factor in answer.factors if factor.words.strip())
    return Explanation(
        explained_by="model",
        summary=_both(_SENTENCE_ENDS.split(evaluation.summary, maxsplit=1)[0], answer.summary),
        narrative=Narrative(
            setting=said.setting or rules.setting,
            trigger=said.trigger or rules.trigger,
            reactions=said.reactions or rules.reactions,
            why=_both(said.why, factors),
            meaning=said.meaning or rules.meaning,
            watch_next=said.watch_next or rules.watch_next,
        ),
        actions=_advice(evaluation, answer),
    )


def carried(evaluation: ExplainedEvaluation, answer: ModelExplanation, told: str) -> Explanation:
    """A checked answer of before (`told`: when, ISO 8601), about an evaluation at which nothing has changed but the
    numbers: the rules say what is now, the model why."""
    explained = served(evaluation, answer)
    note = f"The model said so at {told}; nothing but the numbers has changed since."
    return explained.model_copy(update={"summary": evaluation.summary, "note": note})


def still_said(evaluation: ExplainedEvaluation, explained: ExplainedEvaluation | None) -> ExplainedEvaluation:
    """The evaluation with the model's words of an earlier one, where there are some and they are about the same."""
    if (
        explained is None
        or explained.explained_by != "model"
        or evaluation.explained_by == "model"
        or explained.time >= evaluation.time
        or not same_story(explained, evaluation)
    ):
        return evaluation
    advice = {(i.finding, i.subject): _still_permitted(i.suggested_actions, evaluation) for i in explained.findings}
    told = f"The model said so at {explained.time.format_iso()}, of the same state and findings."
    return evaluation.model_copy(
        update={
            "explained_by": "model",
            "narrative": explained.narrative,
            "explanation_note": explained.explanation_note or told,
            "findings": tuple(
                i.model_copy(update={"suggested_actions": advice[i.finding, i.subject]}) for i in evaluation.findings
            ),
        }
    )


def _still_permitted(
    actions: tuple[SuggestedAction, ...], evaluation: ExplainedEvaluation
) -> tuple[SuggestedAction, ...]:
    return tuple(a for a in actions if broken_rule(as_meant(a), evaluation.signals) is None)


def _both(first: str, second: str) -> str:
    return f"{first.strip()} {second.strip()}".strip()


def _advice(evaluation: ExplainedEvaluation, answer: ModelExplanation) -> tuple[ActionsFor, ...]:
    """The model's actions stand with the finding it ranks first, before those of the rules it has none in place of."""
    if not answer.actions or not evaluation.findings:
        return ()
    issue = _first(evaluation, answer)
    mine = {_kind(a) for a in answer.actions}
    actions = (*answer.actions, *(a for a in issue.suggested_actions if _kind(a) not in mine))
    return (ActionsFor(finding=issue.finding, subject=issue.subject, actions=actions),)


def _first(evaluation: ExplainedEvaluation, answer: ModelExplanation) -> Issue:
    known = {i.finding: i for i in reversed(evaluation.findings)}
    ranked = (known[f.finding] for f in answer.factors if f.finding in known)
    return next(ranked, evaluation.findings[0])


def _kind(action: SuggestedAction) -> tuple[str, str]:
    return action.action_type, action.target_service
