"""What calls of models cost, the daily cap on them, and the ledger of calls. Days are UTC; an installation has one
budget."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat
from whenever import Instant

from copilot.explain.model.answer import Answer
from copilot.explain.model.check import Checked
from copilot.redaction.redactor import redacted
from copilot.rules.signals.readings import Frozen
from copilot.settings.models import Cap

CHARACTERS_PER_TOKEN = 3.0
"""For an upper bound of a prompt's tokens before it is sent. English prose has four to five characters a token; names
and numbers, of which evidence is full, have fewer."""
LONGEST_ANSWER = 20_000
"""Characters of an answer that are kept."""

Tokens = Annotated[int, Field(ge=0)]
Dollars = Annotated[FiniteFloat, Field(ge=0)]


class Spent(Frozen):
    """Usage since some moment: calls, tokens in and out, US$; `unserved`: calls whose answer was not shown. Calls that
    have not ended count with the most they can cost."""

    calls: Tokens = 0
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cost_usd: Dollars = 0.0
    unserved: Tokens = 0

    @property
    def tokens(self) -> int:
        """In and out."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Price:
    """US$ per million tokens."""

    input_usd: float
    output_usd: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """The cost of a call (US$), nothing of it cached."""
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / 1e6


def tokens_at_most(characters: int) -> int:
    """An upper bound of the tokens of a prompt of that many characters."""
    return int(characters / CHARACTERS_PER_TOKEN) + 1


def day_start(now: Instant) -> Instant:
    """When the UTC day of `now` began."""
    seconds = now.timestamp()
    return Instant.from_timestamp(seconds - seconds % 86_400)


class Outcome(StrEnum):
    """How a call ended."""

    BEGUN = "begun"  # it did not end yet, or its worker died
    SERVED = "served"
    REFUSED = "refused"  # the checks left too little of the answer
    MALFORMED = "malformed"  # not of the output type
    TIMED_OUT = "timed_out"
    THROTTLED = "throttled"  # 429
    UNAVAILABLE = "unavailable"  # unreachable, or a server error
    DENIED = "denied"  # credentials, permissions, or a model that the provider does not know
    OVER_BUDGET = "over_budget"  # not made


UNSERVED = frozenset(set(Outcome) - {Outcome.BEGUN, Outcome.SERVED})
SETTLED = frozenset({Outcome.SERVED, Outcome.REFUSED, Outcome.MALFORMED})
"""After these the same situation is not explained again: another answer would be no better."""

AgentName = Literal["dispatcher", "researcher"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call returned: an unchecked answer, or None with the reason. `text`: the answer as the model wrote it.
    Tokens and cost (US$) are the most it can have been where the provider does not report them."""

    outcome: Outcome
    reason: str = ""
    answer: Answer | None = None
    text: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


class ModelCall(Frozen):
    """A row of the ledger. `agent`: whose model was called, the dispatcher's (quick) or the researcher's (deep).
    `fingerprint`: of the situation (situation.py). Tokens and cost (US$) are the most the call can take until it has
    ended; `cost_usd` is 0 where the price is not known. `reasons`: dropped sentences and choices, by reason. `answer`:
    an Answer as JSON where it was shown, else the model's text, redacted and cut."""

    cluster: str
    evaluation_id: str
    trigger: str
    time: Instant
    agent: AgentName
    model: str
    fingerprint: str
    outcome: Outcome = Outcome.BEGUN
    why: str = ""
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cost_usd: Dollars = 0.0
    reasons: dict[str, int] = Field(default_factory=dict)
    answer: Annotated[str, Field(max_length=LONGEST_ANSWER)] = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the call."""
        return (self.evaluation_id, self.trigger, self.agent, self.time.format_iso())

    def within(self, cap: Cap, spent: Spent) -> "ModelCall":
        """The call, or the same as not made (OVER_BUDGET) where it could exceed the cap."""
        if spent.tokens + self.input_tokens + self.output_tokens > cap.tokens:
            why = f"today's {cap.tokens:,} tokens are spent"
        elif spent.cost_usd + self.cost_usd > cap.usd:
            why = f"today's ${cap.usd:.2f} are spent"
        else:
            return self
        nothing = {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0}
        return self.model_copy(update={"outcome": Outcome.OVER_BUDGET, "why": why, **nothing})

    def ended(self, reply: Reply, checked: Checked | None) -> "ModelCall":
        """The call with its outcome. A shown answer is kept as it was, any other for review."""
        outcome, why, answer = reply.outcome, reply.reason, ""
        reasons = {reason.value: count for reason, count in checked.dropped.items()} if checked else {}
        if checked and not checked.usable:
            outcome = Outcome.REFUSED
            why = f"The checks left too little of the model's answer ({', '.join(sorted(reasons)) or 'empty'})"
        if checked and checked.usable:
            answer = checked.answer.model_dump_json()
        elif outcome in (Outcome.REFUSED, Outcome.MALFORMED):
            answer = redacted(reply.text[: 2 * LONGEST_ANSWER], addresses=True)[:LONGEST_ANSWER]
        used = {name: getattr(reply, name) for name in ("input_tokens", "output_tokens", "cost_usd")}
        return self.model_copy(update={"outcome": outcome, "why": why, "reasons": reasons, "answer": answer, **used})
