"""What models took today is told: by /models, /metrics and `copilot status`; and whose words are shown."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from copilot.cli.status import print_models
from copilot.explain import explained
from copilot.explain.model.answer import Answer
from copilot.explain.model.check import model_explanation
from copilot.explain.model.evidence import evidence
from copilot.explain.model.usage import Outcome
from copilot.rules.model import Trigger
from copilot.settings.models import Cap
from tests.agents.answers import critical, sound
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, away_store, deps
from tests.evaluations import NOON, assessment, evaluation, scale_workers
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


async def test_a_models_explanation_stays_until_the_situation_changes() -> None:
    words = explained(critical())
    explanation = model_explanation(words, Answer.model_validate(sound()), evidence(words))
    store, loop, clock = MemoryStore(), ToldLoop(), Clock()
    await store.save_assessment(assessment("critical"))
    assert await store.improve_explanation(words.evaluation_id, Trigger.STATE_CHANGE, explanation)
    later = critical().model_copy(update={"time": NOON.add(seconds=30), "evaluation_id": "later"})
    loop.newest["default"] = later
    async with client(deps(loop, store, clock)) as api:
        summary = (await api.get("/status/summary")).json()
        assert (summary["explained_by"], summary["summary"]) == ("model", words.summary)
        assert summary["narrative"]["setting"] == "Workflows start at 2.1/s."
        status = (await api.get("/status")).json()
        assert status["explanation_note"] == "The model's explanation is of 2026-11-22T12:00:00Z."
        assert status["recommended_actions"][0]["description"] == scale_workers().description
    loop.newest["default"] = evaluation("happy", NOON.add(seconds=60))
    async with client(deps(loop, store, clock)) as api:
        summary = (await api.get("/status/summary")).json()
        assert (summary["explained_by"], summary["explanation_note"]) == ("rules", "")
