"""When a model is called, with what, and what is served, over models that are functions."""

from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from temporalio.common import MetricMeter
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from whenever import Instant

from copilot.errors import StoreError
from copilot.explain import explained
from copilot.explain.model.agent import Explainers, explainer
from copilot.explain.model.answer import Explanation
from copilot.explain.model.knowledge import Passage, Retrieved
from copilot.explain.model.usage import ModelCall, Outcome, Price, day_start
from copilot.loops.activities.explain import ExplainActivities
from copilot.loops.messages import AskModel, ExplainAssessment, Explained, FetchRagContext, ModelAsked
from copilot.rules.model import Evaluation
from copilot.settings.models import Cap
from copilot.sources.knowledge.local import LocalKnowledge
from tests.agents.answers import critical, sound
from tests.evaluations import NOON, evaluation, signals, snapshot
from tests.fakes.memory_store import MemoryStore, NoLedger

PRICE = Price(2.0, 10.0)


class Scripted:
    """A model that answers as scripted, the activities over it, and the prompts it got."""

    def __init__(
        self, answer: dict[str, Any] | None = None, store: MemoryStore | None = None,
        meter: MetricMeter = MetricMeter.noop,
    ) -> None:  # fmt: skip
        self.store = store or MemoryStore()
        self.prompts: list[str] = []
        self.now = NOON.add(seconds=5)
        self._answer = sound() if answer is None else answer
        model = FunctionModel(self._reply)
        models = Explainers(
            explainer(model, "a:small", PRICE, "quick"),
            explainer(model, "a:large", PRICE, "deep"),
            Cap(5.0, 1_000_000), 20.0, True,
        )  # fmt: skip
        self.activities = ExplainActivities(self.store, LocalKnowledge(), models, now=lambda: self.now, meter=meter)

    def _reply(self, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        self.prompts.append(str(messages[0].parts))
        usage = RequestUsage(input_tokens=1_000, output_tokens=200)
        return ModelResponse([ToolCallPart("final_result", self._answer)], usage=usage)

    async def plan(self, judged: Evaluation, left_sec: float | None = None) -> Explained:
        document = judged.model_dump(mode="json")
        return await self.activities.explain_assessment(
            ExplainAssessment(evaluation=document, trigger="scheduled", left_sec=left_sec)
        )

    async def ask(self, judged: Evaluation, depth: str = "deeply") -> Explanation:
        ask = AskModel(evaluation=plain(judged), trigger="scheduled", deadline_sec=5)
        answer: ModelAsked = await getattr(self.activities, f"explain_{depth}")(ask)
        return Explanation.model_validate(answer.explanation)

    async def calls(self) -> list[ModelCall]:
        return await self.store.model_calls("default", NOON, NOON.add(hours=24))


def plain(judged: Evaluation) -> dict[str, Any]:
    """An Evaluation document without what an assessment adds."""
    return judged.model_dump(mode="json", include=set(Evaluation.model_fields))


def later(**changed: float | None) -> Evaluation:
    """The critical evaluation a scheduled assessment later, with other numbers."""
    time = NOON.add(seconds=300)
    read = critical().signals
    values = {name.replace("__", ".", 1): value for name, value in changed.items()}
    read = read.model_copy(update={"time": time, "readings": read.readings | values})
    return critical().model_copy(update={"time": time, "evaluation_id": "default@later", "signals": read})


def served(plan: Explained) -> Explanation:
    assert plan.ask_within_sec is None
    return Explanation.model_validate(plan.explanation)


async def test_a_situation_is_explained_once_and_later_with_the_present_readings() -> None:
    scripted = Scripted()
    plan = await scripted.plan(critical())
    assert (plan.ask_within_sec, plan.depth) == (20, "quick")
    first = await scripted.ask(critical())
    assert first.explained_by == "model"
    assert "113 tasks wait" in first.summary
    again = served(await scripted.plan(later(matching__backlog_count=1300.0)))
    assert (again.explained_by, again.narrative) == ("model", first.narrative)
    assert "1,300 tasks wait" in again.summary
    assert "2026-11-22T12:00:05Z" in again.note
    assert len(scripted.prompts) == 1


async def test_a_reading_that_is_gone_takes_its_sentence_with_it() -> None:
    scripted = Scripted(sound(why="Workers use {workers.workflow_slots_used} slots."))
    assert (await scripted.ask(critical())).explained_by == "model"
    again = served(await scripted.plan(later(workers__workflow_slots_used=None)))
    assert again.explained_by == "rules"
    assert "no longer applies" in again.note


async def test_no_model_is_called_when_storing_took_the_time() -> None:
    scripted = Scripted()
    assert "left no time" in served(await scripted.plan(critical(), left_sec=0.4)).note
    assert (await scripted.plan(critical(), left_sec=1.0)).ask_within_sec == 20
    await scripted.ask(critical())
    assert (await scripted.plan(later(), left_sec=0.4)).explained_by == "model"


async def test_a_refused_answer_is_not_asked_for_again() -> None:
    scripted = Scripted(sound(summary="7 tasks wait."))
    refused = await scripted.ask(critical())
    assert refused == Explanation.model_validate({
        "explained_by": "rules", "summary": explained(critical()).summary, "narrative": explained(critical()).narrative,
        "note": "Explained by the rules: the checks left too little of the model's answer (number).",
    })  # fmt: skip
    assert "(number)" in served(await scripted.plan(later())).note


async def test_calls_of_models_are_counted_by_how_they_ended() -> None:
    counted = MetricBuffer(100)
    meter = Runtime(telemetry=TelemetryConfig(metrics=counted)).metric_meter
    for answer in (sound(), sound(summary="7 tasks wait.")):
        await Scripted(answer, meter=meter).ask(critical())
    added = [u.attributes for u in counted.retrieve_updates() if u.metric.name == "copilot_model_outcomes"]
    assert [(a["cluster"], a["agent"], a["outcome"]) for a in added] == [
        ("default", "researcher", "served"), ("default", "researcher", "refused"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        *({"outcome": o} for o in (Outcome.TIMED_OUT, Outcome.THROTTLED, Outcome.UNAVAILABLE, Outcome.OVER_BUDGET)),
        {"answer": '{"words": "It is over."}'},
    ],
)
async def test_after_a_transient_failure_or_an_answer_of_another_release_the_model_is_called_again(
    changed: dict[str, Any],
) -> None:
    scripted = Scripted()
    await scripted.ask(critical())
    (call,) = await scripted.calls()
    await scripted.store.save_model_call(call.model_copy(update=changed))
    assert (await scripted.plan(later())).ask_within_sec == 20


async def test_without_something_to_explain_a_model_or_a_readable_evaluation_the_rules_explain() -> None:
    rules = Explained(explained_by="rules")
    assert await Scripted().plan(evaluation("happy")) == rules
    without = ExplainActivities(MemoryStore(), LocalKnowledge())
    ask = ExplainAssessment(evaluation=critical().model_dump(mode="json"), trigger="scheduled")
    assert await without.explain_assessment(ask) == rules
    ask = ExplainAssessment(evaluation={"evaluation_id": "x"}, trigger="scheduled")
    assert await Scripted().activities.explain_assessment(ask) == rules


async def test_a_deep_explanation_gets_the_history_of_signals_and_a_quick_one_does_not() -> None:
    scripted = Scripted()
    for n in range(12):
        time = NOON.subtract(seconds=30 * n)
        grown = signals(time, matching__backlog_count=1200.0 - 100 * n)
        await scripted.store.save_snapshots([snapshot(evaluation("critical", time, signals=grown))])
    await scripted.ask(critical())
    await scripted.ask(critical(), "quickly")
    assert ["matching.backlog_count rises" in sent for sent in scripted.prompts] == [True, False]


async def test_usage_is_counted_by_day_and_agent_and_a_spent_budget_lasts_until_the_day_is_over() -> None:
    scripted = Scripted()
    await scripted.ask(critical(), "quickly")
    await scripted.ask(critical())
    spent = await scripted.store.model_spend(day_start(NOON))
    assert spent.model_dump() == pytest.approx(
        {"calls": 2, "input_tokens": 2_000, "output_tokens": 400, "cost_usd": 0.008, "unserved": 0}
    )
    first, second = await scripted.calls()
    assert {(c.agent, c.model, c.outcome) for c in (first, second)} == {
        ("dispatcher", "a:small", Outcome.SERVED), ("researcher", "a:large", Outcome.SERVED)
    }  # fmt: skip
    await scripted.store.save_model_call(second.model_copy(update={"cost_usd": 4.999}))
    assert "today's $5.00 are spent" in (await scripted.ask(later())).note
    assert len(scripted.prompts) == 2
    scripted.now = Instant.from_utc(2026, 11, 23)
    assert (await scripted.ask(later())).explained_by == "model"


async def test_no_model_is_called_while_the_ledger_is_away() -> None:
    scripted = Scripted(store=NoLedger())
    with pytest.raises(StoreError):
        await scripted.ask(critical())
    assert scripted.prompts == []


class OddKnowledge:
    """Finds the same passage whatever the question, the second time with a better score."""

    def __init__(self) -> None:
        self.scores = [0.3, 0.9]

    async def retrieve(self, question: str) -> Retrieved:  # noqa: ARG002
        score = self.scores.pop(0)
        passages = tuple(Passage(source=s, title="T", text="t", score=score) for s in ("a#1", f"b#{score}"))
        return Retrieved(passages=passages, reason="half of it is away")


async def test_the_runbooks_of_the_first_findings_are_retrieved_each_passage_once_best_first() -> None:
    ask = FetchRagContext(evaluation=plain(critical()), deadline_sec=5)
    passages = (await Scripted().activities.fetch_rag_context(ask)).passages
    assert 1 <= len(passages) <= 5
    assert passages[0]["source"].startswith("no_pollers.md#")
    twice = critical().model_copy(update={"findings": critical().findings * 2})
    ask = FetchRagContext(evaluation=plain(twice), deadline_sec=5)
    context = await ExplainActivities(MemoryStore(), OddKnowledge()).fetch_rag_context(ask)
    assert [p["source"] for p in context.passages] == ["a#1", "b#0.9", "b#0.3"]
    assert context.reason == "half of it is away"
