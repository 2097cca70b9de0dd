"""What models took today is told: by /models, /metrics and `copilot status`; and whose words are shown."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from copilot.cli.status import print_models
from copilot.explain import explained
from copilot.explain.model.usage import Cap, Outcome
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, away_store, deps
from tests.evaluations import NOON, evaluation, in_a_models_words
from tests.fakes.memory_store import MemoryStore
from tests.store.model_call_contract import called


async def test_what_models_took_today_is_told_everywhere() -> None:
    store = MemoryStore()
    for call in (called(0), called(60, outcome=Outcome.REFUSED), called(-86_400)):
        await store.save_model_call(call)
    async with client(replace(deps(store=store), model_cap=Cap(5.0, 2_000_000))) as api:
        today = (await api.get("/models")).json()
        metrics = (await api.get("/metrics")).text
    assert today["spent"] == {
        "calls": 2, "input_tokens": 2_000, "output_tokens": 1_000, "cost_usd": 0.08, "unserved": 1
    }  # fmt: skip
    assert (today["daily_usd"], today["since"]) == (5.0, "2026-11-22T00:00:00Z")
    for line in (
        'copilot_model_tokens_total{direction="input"} 2000.0',
        "copilot_model_cost_usd_total 0.08",
        "copilot_model_unserved_total 1.0",
        "copilot_model_daily_cap_usd 5.0",
    ):
        assert line in metrics
    out = StringIO()
    print_models(today, Console(file=out, width=200))
    assert out.getvalue() == "Models today: 2 calls, 1 without an answer, 3,000 tokens, $0.08 of $5.00\n"


async def test_at_midnight_a_new_day_begins_with_nothing_spent() -> None:
    store, clock = MemoryStore(), Clock(NOON.add(hours=12).subtract(seconds=5))
    await store.save_model_call(called(0))
    async with client(deps(store=store, clock=clock)) as api:
        assert (await api.get("/models")).json()["spent"]["calls"] == 1
        clock.now, clock.ran = clock.now.add(seconds=10), 10.0
        today = (await api.get("/models")).json()
    assert (today["since"], today["spent"]["calls"]) == ("2026-11-23T00:00:00Z", 0)


async def test_while_the_store_is_away_nothing_is_said_instead_of_nothing_spent() -> None:
    async with client(deps(store=away_store())) as api:
        today = (await api.get("/models")).json()
        assert today["spent"] is None
        assert today["degraded_because"]
        assert "copilot_model_" not in (await api.get("/metrics")).text
    out = StringIO()
    print_models(today, Console(file=out))
    assert not out.getvalue()


async def test_a_models_words_stay_until_the_situation_changes() -> None:
    store, loop, clock = MemoryStore(), ToldLoop(), Clock()
    await store.save_assessment(in_a_models_words("MODEL-WORDS"))
    loop.tell(
        evaluation("critical", NOON.add(seconds=30)).model_copy(update={"verdict": evaluation("critical").verdict})
    )
    narrative = explained(evaluation("critical")).narrative
    async with client(deps(loop, store, clock)) as api:
        words = (await api.get("/status/summary")).json()
        assert (words["explained_by"], words["narrative"]["why"]) == ("model", narrative.why)
    loop.tell(evaluation("happy", NOON.add(seconds=60)))
    async with client(deps(loop, store, clock)) as api:
        assert (await api.get("/status/summary")).json()["explained_by"] == "rules"
