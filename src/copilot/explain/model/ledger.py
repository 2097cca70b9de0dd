"""From a call of a model that is about to be made to what is kept of it."""

from copilot.explain.model.grounding import Grounded, Refused
from copilot.explain.model.usage import LONGEST_KEPT, Cap, ModelCall, Outcome, Spent, Told, why_over
from copilot.redaction.redactor import redacted


def within(call: ModelCall, spent: Spent, cap: Cap) -> ModelCall:
    """The call, or the same as not made where it could go over the cap."""
    why = why_over(cap, spent, call.input_tokens + call.output_tokens, call.cost_usd)
    if not why:
        return call
    nothing = {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0}
    return call.model_copy(update={"outcome": Outcome.OVER_BUDGET, "why": why, **nothing})


def settled(call: ModelCall, told: Told, checked: Grounded | Refused | None) -> ModelCall:
    """The call as it ended. A served answer is kept as it was served, any other for review: redacted and cut."""
    outcome, why, reasons, answer = told.outcome, told.why, {}, ""
    if isinstance(checked, Refused):
        counts = checked.counts()
        outcome, reasons = Outcome.REFUSED, {reason.value: count for reason, count in counts.items()}
        why = f"The model's answer failed a check ({', '.join(sorted(reasons))})"
    if isinstance(checked, Grounded):
        answer = checked.answer.model_dump_json()
    elif outcome in (Outcome.REFUSED, Outcome.MALFORMED):
        answer = redacted(told.said[: 2 * LONGEST_KEPT], addresses=True)[:LONGEST_KEPT]
    return call.model_copy(
        update={
            "outcome": outcome,
            "why": why,
            "reasons": reasons,
            "answer": answer,
            "input_tokens": told.input_tokens,
            "output_tokens": told.output_tokens,
            "cost_usd": told.cost_usd,
        }
    )
