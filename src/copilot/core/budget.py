"""What models may cost a day, and whether one more call is within it. Days are UTC; an installation has one budget."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, FiniteFloat
from whenever import Instant

from copilot.core.signals import Frozen

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
