"""Changes before a problem as sentences: when, what, by whom. Never that one caused it: only a finding may say so."""

from collections.abc import Sequence

from copilot.explain.explanation import ExplainedEvaluation
from copilot.explain.numbers import span
from copilot.rules.changes import ChangeBefore
from copilot.rules.signals.change import Change


def change_words(change: Change) -> str:
    """The change, and who made it."""
    return f"{change.text}, by {change.who}" if change.who else change.text


def before_words(before: ChangeBefore) -> str:
    """How long before the first evidence it was made, and what it is: "3 min before: …"."""
    return f"{_ago(before.before_sec)}: {change_words(before.change)}"


def _ago(seconds: float) -> str:
    if seconds < 1:
        return "At the same time"
    return f"{span(seconds if seconds < 120 else 60 * round(seconds / 60))} before"


def with_changes(evaluation: ExplainedEvaluation, before: Sequence[ChangeBefore]) -> ExplainedEvaluation:
    """The explained evaluation; its explanation cites the first of these changes, if any."""
    if not before:
        return evaluation
    narrative = evaluation.narrative
    trigger = f"{narrative.trigger} {before_words(before[0])}."
    return evaluation.model_copy(update={"narrative": narrative.model_copy(update={"trigger": trigger})})
