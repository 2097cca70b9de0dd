"""The daily cap, and what is kept of a call."""

import pytest
from whenever import Instant

from copilot.explain.model.ledger import settled, within
from copilot.explain.model.usage import (
    LONGEST_KEPT,
    Cap,
    ModelCall,
    Outcome,
    Price,
    Spent,
    Told,
    day_start,
    tokens_at_most,
    why_over,
)
from tests.agents.answers import SECRET
from tests.evaluations import NOON

CAP = Cap(usd=5.0, tokens=10_000)
CALL = ModelCall(
    cluster="c", evaluation_id="c@1", trigger="scheduled", time=NOON, agent="dispatcher", model="m", fingerprint="f",
    input_tokens=900, output_tokens=100, cost_usd=0.5,
)  # fmt: skip


@pytest.mark.parametrize(
    ("spent", "why"),
    [
        (Spent(), ""),
        (Spent(input_tokens=8_500, output_tokens=500, cost_usd=4.5), ""),
        (Spent(input_tokens=8_501, output_tokens=500), "today's 10,000 tokens are spent"),
        (Spent(cost_usd=4.51), "today's $5.00 are spent"),
    ],
    ids=["nothing spent", "to the last cent", "tokens", "dollars"],
)
def test_a_call_is_made_only_if_the_most_it_can_take_fits(spent: Spent, why: str) -> None:
    assert why_over(CAP, spent, 1_000, 0.5) == why
    call = within(CALL, spent, CAP)
    assert (call.outcome, call.why) == ((Outcome.OVER_BUDGET, why) if why else (Outcome.BEGUN, ""))
    assert (call.input_tokens, call.cost_usd) == ((0, 0) if why else (900, 0.5))


@pytest.mark.parametrize("time", [(2026, 11, 22), (2026, 11, 22, 12, 30), (2026, 11, 22, 23, 59, 59)])
def test_a_day_begins_at_midnight_utc(time: tuple[int, ...]) -> None:
    assert day_start(Instant.from_utc(*time)) == Instant.from_utc(2026, 11, 22)


def test_a_million_tokens_cost_the_list_price() -> None:
    assert Price(4.4, 22).of(1_000_000, 500_000) == pytest.approx(15.4)


def test_a_prompt_is_never_thought_shorter_than_it_is() -> None:
    assert [tokens_at_most(n) for n in (0, 3, 3_000)] == [1, 2, 1_001]


def test_an_answer_that_is_kept_for_review_is_redacted_and_cut() -> None:
    told = Told(Outcome.MALFORMED, "why", 10, 20, 0.1, said=f"key {SECRET} " + "x " * LONGEST_KEPT)
    call = settled(CALL, told, None)
    assert SECRET not in call.answer
    assert len(call.answer) == LONGEST_KEPT
    assert (call.outcome, call.input_tokens, call.output_tokens, call.cost_usd) == (Outcome.MALFORMED, 10, 20, 0.1)
    assert not settled(CALL, Told(Outcome.DEEPER, said="fine"), None).answer
