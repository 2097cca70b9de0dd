"""The daily cap, and the ledger of calls."""

import pytest
from whenever import Instant

from copilot.explain import explained
from copilot.explain.model.answer import Answer
from copilot.explain.model.check import checked
from copilot.explain.model.evidence import evidence
from copilot.explain.model.usage import (
    LONGEST_ANSWER,
    ModelCall,
    Outcome,
    Price,
    Reply,
    Spent,
    day_start,
    tokens_at_most,
)
from copilot.settings.models import Cap
from tests.agents.answers import SECRET, critical, sound
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
    call = CALL.within(CAP, spent)
    assert (call.outcome, call.why) == ((Outcome.OVER_BUDGET, why) if why else (Outcome.BEGUN, ""))
    assert (call.input_tokens, call.cost_usd) == ((0, 0) if why else (900, 0.5))


def test_days_prices_and_bounds() -> None:
    for time in ((2026, 11, 22), (2026, 11, 22, 12, 30), (2026, 11, 22, 23, 59, 59)):
        assert day_start(Instant.from_utc(*time)) == Instant.from_utc(2026, 11, 22)
    assert Price(4.4, 22).of(1_000_000, 500_000) == pytest.approx(15.4)
    assert [tokens_at_most(n) for n in (0, 3, 3_000)] == [1, 2, 1_001]


def test_an_answer_that_is_kept_for_review_is_redacted_and_cut() -> None:
    reply = Reply(Outcome.MALFORMED, "why", None, f"key {SECRET} " + "x " * LONGEST_ANSWER, 10, 20, 0.1)
    call = CALL.ended(reply, None)
    assert SECRET not in call.answer
    assert len(call.answer) == LONGEST_ANSWER
    assert (call.outcome, call.input_tokens, call.output_tokens, call.cost_usd) == (Outcome.MALFORMED, 10, 20, 0.1)
    assert not CALL.ended(Reply(Outcome.TIMED_OUT, text="late"), None).answer


def test_a_served_answer_is_kept_as_it_was_served() -> None:
    known = evidence(explained(critical()))
    answer = Answer.model_validate(sound(meaning="It took 7 s."))
    call = CALL.ended(Reply(Outcome.SERVED, answer=answer, text="raw"), checked(answer, known))
    assert (call.outcome, call.reasons) == (Outcome.SERVED, {"number": 1})
    assert Answer.model_validate_json(call.answer) == answer.model_copy(update={"meaning": ""})
    answer = Answer.model_validate(sound(why="It took 7 s."))
    call = CALL.ended(Reply(Outcome.SERVED, answer=answer, text="raw"), checked(answer, known))
    assert (call.outcome, call.reasons, call.answer) == (Outcome.REFUSED, {"number": 1}, "raw")
