"""One call of a model and what became of it: what the budget is counted from, and what is kept for review."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field
from whenever import Instant

from copilot.core.budget import Dollars, Tokens
from copilot.core.model_answer import ModelExplanation
from copilot.core.signals import Frozen

LONGEST_KEPT = 12_000
"""Characters of an answer that are kept."""


class Outcome(StrEnum):
    """What became of a call."""

    BEGUN = "begun"  # not ended, or its worker died over it
    SERVED = "served"
    NOT_NEEDED = "not_needed"  # the dispatcher: the rules' words say it all
    DEEPER = "deeper"  # the dispatcher: the researcher is to look at it
    REFUSED = "refused"  # failed a check of core/grounding.py
    MALFORMED = "malformed"  # not of the shape asked for
    TIMED_OUT = "timed_out"
    THROTTLED = "throttled"  # 429
    UNAVAILABLE = "unavailable"  # not there, or an error of the server's
    DENIED = "denied"  # credentials, rights, or a model the provider does not know
    OVER_BUDGET = "over_budget"  # not made


UNSERVED = frozenset(set(Outcome) - {Outcome.BEGUN, Outcome.SERVED, Outcome.NOT_NEEDED, Outcome.DEEPER})
SETTLED = frozenset({Outcome.SERVED, Outcome.NOT_NEEDED, Outcome.REFUSED, Outcome.MALFORMED})
"""After these the same situation is not asked about again: the answer would be no better."""

Agent = Literal["dispatcher", "researcher"]


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a question to a model: an unchecked explanation, or a sentence that says why there is none. Tokens
    and cost (US$) are the most it can have been where the provider did not say. `said`: the answer as it came."""

    outcome: Outcome
    why: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    said: str = ""
    explanation: ModelExplanation | None = None


class ModelCall(Frozen):
    """A call. `fingerprint`: of what it was about (core/fingerprint.py). Tokens and cost (US$) are the most it can take
    until it has ended; `cost_usd` is 0 where the model's price is not known. `reasons`: how many objections the checks
    had, by reason. `answer`: a ModelExplanation as JSON where it was served; else what the model said, redacted and
    cut."""

    cluster: str
    evaluation_id: str
    trigger: str
    time: Instant
    agent: Agent
    model: str
    fingerprint: str
    outcome: Outcome = Outcome.BEGUN
    why: str = ""
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cost_usd: Dollars = 0.0
    reasons: dict[str, int] = Field(default_factory=dict)
    answer: Annotated[str, Field(max_length=LONGEST_KEPT)] = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this call and no other."""
        return (self.evaluation_id, self.trigger, self.agent, self.time.format_iso())
