"""What models may cost a day, and whether one more call is within it. Days are UTC; an installation has one budget."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat
from whenever import Instant

from copilot.explain.model.answer import ModelExplanation
from copilot.rules.signals.readings import Frozen

CHARACTERS_PER_TOKEN = 3.0
"""For bounding a prompt's tokens before it is sent. English prose has four to five characters a token; names and
numbers, of which evidence is full, have fewer, so three errs on the dear side."""

Tokens = Annotated[int, Field(ge=0)]
Dollars = Annotated[FiniteFloat, Field(ge=0)]


class Spent(Frozen):
    """What was spent since some moment: calls made, tokens in and out, US$; `unserved`: calls whose answer was not
    served. Calls that have not ended count with the most they can cost."""

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
    """US$ per million tokens. None: not known."""

    input_usd: float
    output_usd: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """What a call costs (US$), nothing of it cached."""
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / 1e6


@dataclass(frozen=True, slots=True)
class Cap:
    """The most a UTC day may cost."""

    usd: float
    tokens: int


NO_MODEL = Cap(usd=0.0, tokens=0)


def tokens_at_most(characters: int) -> int:
    """The tokens a text of that length has at most, as far as can be told without its tokenizer."""
    return int(characters / CHARACTERS_PER_TOKEN) + 1


def why_over(cap: Cap, spent: Spent, tokens: int, cost_usd: float) -> str:
    """Why a call that takes at most so many tokens and US$ may not be made; empty if it may."""
    if spent.tokens + tokens > cap.tokens:
        return f"today's {cap.tokens:,} tokens are spent"
    if spent.cost_usd + cost_usd > cap.usd:
        return f"today's ${cap.usd:.2f} are spent"
    return ""


def day_start(now: Instant) -> Instant:
    """When the UTC day of `now` began."""
    seconds = now.timestamp()
    return Instant.from_timestamp(seconds - seconds % 86_400)


LONGEST_KEPT = 12_000
"""Characters of an answer that are kept."""


class Outcome(StrEnum):
    """What became of a call."""

    BEGUN = "begun"  # not ended, or its worker died over it
    SERVED = "served"
    NOT_NEEDED = "not_needed"  # the dispatcher: the rules' words say it all
    DEEPER = "deeper"  # the dispatcher: the researcher is to look at it
    REFUSED = "refused"  # failed a check of explain/model/grounding.py
    MALFORMED = "malformed"  # not of the shape asked for
    TIMED_OUT = "timed_out"
    THROTTLED = "throttled"  # 429
    UNAVAILABLE = "unavailable"  # not there, or an error of the server's
    DENIED = "denied"  # credentials, rights, or a model the provider does not know
    OVER_BUDGET = "over_budget"  # not made


UNSERVED = frozenset(set(Outcome) - {Outcome.BEGUN, Outcome.SERVED, Outcome.NOT_NEEDED, Outcome.DEEPER})
SETTLED = frozenset({Outcome.SERVED, Outcome.NOT_NEEDED, Outcome.REFUSED, Outcome.MALFORMED})
"""After these the same situation is not asked about again: the answer would be no better."""

AgentName = Literal["dispatcher", "researcher"]


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
    """A call. `fingerprint`: of what it was about (explain/model/fingerprint.py). Tokens and cost (US$) are the most it can take
    until it has ended; `cost_usd` is 0 where the model's price is not known. `reasons`: how many objections the checks
    had, by reason. `answer`: a ModelExplanation as JSON where it was served; else what the model said, redacted and
    cut."""

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
    answer: Annotated[str, Field(max_length=LONGEST_KEPT)] = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this call and no other."""
        return (self.evaluation_id, self.trigger, self.agent, self.time.format_iso())
