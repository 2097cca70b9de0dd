"""Who is asked, when, and what is served, over models that are functions."""

from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage
from whenever import Instant

from copilot.errors import StoreError
from copilot.explain.model.agent import Asker, Explainers, dispatcher, researcher
from copilot.explain.model.answer import Explanation
from copilot.explain.model.knowledge import Passage, Retrieved
from copilot.explain.model.usage import Cap, ModelCall, Outcome, Price, Spent, day_start
from copilot.loops.activities.explain import ExplainActivities, ExplainDeps
from copilot.loops.messages import AskModel, ExplainAssessment, Explained, FetchRagContext, ModelAsked
from copilot.rules.model import Evaluation
from copilot.sources.knowledge.local import LocalKnowledge
from tests.agents.answers import critical, sound, told
from tests.evaluations import NOON, evaluation, signals, snapshot
from tests.fakes.memory_store import MemoryStore

PRICE = Price(2.0, 10.0)
DEEP = ("final_result_NeedsDeepExplanation", {"look_into": "matching"})
ENOUGH: tuple[str, dict[str, Any]] = ("final_result_NoExplanationNeeded", {})


class Scripted:
    """Models that answer as scripted, the same activities over them, and what they were asked."""

    def __init__(self, research: dict[str, Any] | None = None, dispatch: tuple[str, dict[str, Any]] = DEEP) -> None:
        self.store = MemoryStore()
        self.asked: list[str] = []
        self.prompts: list[str] = []
        self.now = NOON.add(seconds=5)
        self._research, self._dispatch = sound() if research is None else research, dispatch
        first, second = FunctionModel(self._dispatcher), FunctionModel(self._researcher)
        models = Explainers(
            Asker(dispatcher(first), "a:fast", PRICE, "", 100),
            Asker(researcher(second), "a:deep", PRICE, "", 100),
            Cap(5.0, 1_000_000), 20.0, True,
        )  # fmt: skip
        deps = ExplainDeps(self.store, LocalKnowledge(), models, now=lambda: self.now)
        self.activities = ExplainActivities(deps)

    def _dispatcher(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.asked.append("dispatcher")
        return _answered(messages, info, *self._dispatch)

    def _researcher(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.asked.append("researcher")
        self.prompts.append(str(messages[0].parts))
        return _answered(messages, info, "final_result", told(self._research))

    async def plan(self, judged: Evaluation, left_sec: float | None = None) -> Explained:
        document = judged.model_dump(mode="json")
        return await self.activities.explain_assessment(
            ExplainAssessment(evaluation=document, trigger="scheduled", left_sec=left_sec)
        )

    async def ask(self, judged: Evaluation, who: str = "researcher") -> ModelAsked:
        ask = AskModel(evaluation=plain(judged).model_dump(mode="json"), trigger="scheduled", deadline_sec=5)
        return await getattr(self.activities, f"ask_{who}")(ask)  # type: ignore[no-any-return]

    async def calls(self) -> list[ModelCall]:
        return await self.store.model_calls("default", NOON, NOON.add(hours=24))


def _answered(_: list[ModelMessage], __: AgentInfo, tool: str, arguments: dict[str, Any]) -> ModelResponse:
    return ModelResponse([ToolCallPart(tool, arguments)], usage=RequestUsage(input_tokens=1_000, output_tokens=200))


def plain(judged: Evaluation) -> Evaluation:
    return Evaluation.model_validate(judged.model_dump(include=set(Evaluation.model_fields)))


def later(**changed: float | None) -> Evaluation:
    """The critical evaluation a scheduled assessment later, with other numbers."""
    time = NOON.add(seconds=300)
    judged = critical().model_copy(update={"time": time, "evaluation_id": "default@later"})
    return judged.model_copy(update={"signals": signals(time, **changed)}) if changed else judged


async def test_a_situation_is_explained_once_and_said_again_while_only_numbers_change() -> None:
    scripted = Scripted()
    assert (await scripted.plan(critical())).ask_within_sec == 20
    first = Explanation.model_validate((await scripted.ask(critical())).explanation)
    assert first.explained_by == "model"
    scripted.now = NOON.add(seconds=305)
    again = await scripted.plan(later(matching__backlog_count=1300.0))
    assert again.ask_within_sec is None
    said = Explanation.model_validate(again.explanation)
    assert (said.explained_by, said.narrative) == ("model", first.narrative)
    assert "2026-11-22T12:00:05Z" in said.note
    assert scripted.asked == ["researcher"]


async def test_words_that_do_not_hold_any_more_are_not_said_again() -> None:
    down = {**sound()["actions"][0], "parameters": {"direction": "down"}, "description": "Remove some workers."}
    idle = critical().model_copy(update={"signals": signals(workers__workflow_slots_available=50.0)})
    scripted = Scripted(sound(actions=[down]))
    assert Explanation.model_validate((await scripted.ask(idle)).explanation).explained_by == "model"
    again = await scripted.plan(later(workers__workflow_slots_available=0.0))
    assert Explanation.model_validate(again.explanation).explained_by == "rules"
    assert "does not hold any more" in (again.explanation or {})["note"]


async def test_no_model_is_asked_when_storing_took_the_time_but_what_was_said_before_is_said_again() -> None:
    scripted = Scripted()
    late = await scripted.plan(critical(), left_sec=0.4)
    assert late.ask_within_sec is None
    assert "took too long to be stored" in (late.explanation or {})["note"]
    assert (await scripted.plan(critical(), left_sec=1.0)).ask_within_sec == 20
    await scripted.ask(critical())
    assert (await scripted.plan(later(), left_sec=0.4)).explained_by == "model"


async def test_a_refused_answer_is_not_asked_for_again() -> None:
    scripted = Scripted(sound(summary="The cluster is happy."))
    refused = Explanation.model_validate((await scripted.ask(critical())).explanation)
    assert refused == Explanation.model_validate({
        "explained_by": "rules", "summary": critical().summary, "narrative": critical().narrative,
        "note": "The model's answer failed a check (state): the rules' words.",
    })  # fmt: skip
    again = await scripted.plan(later())
    assert again.ask_within_sec is None
    assert "failed a check (state)" in (again.explanation or {})["note"]


@pytest.mark.parametrize("outcome", [Outcome.TIMED_OUT, Outcome.THROTTLED, Outcome.UNAVAILABLE, Outcome.OVER_BUDGET])
async def test_after_a_failure_that_may_pass_the_model_is_asked_again(outcome: Outcome) -> None:
    scripted = Scripted()
    await scripted.ask(critical())
    (call,) = await scripted.calls()
    await scripted.store.save_model_call(call.model_copy(update={"outcome": outcome}))
    assert (await scripted.plan(later())).ask_within_sec == 20


@pytest.mark.parametrize(
    "judged",
    [
        evaluation("happy"),
        evaluation("unknown"),
        critical().model_copy(update={"verdict": critical().verdict.model_copy(update={"stale": True})}),
    ],
    ids=["nothing is wrong", "nothing could be read", "held"],
)
async def test_nobody_is_asked_where_there_is_nothing_to_explain(judged: Evaluation) -> None:
    assert await Scripted().plan(judged) == Explained(explained_by="rules")


async def test_the_researcher_is_told_how_signals_moved() -> None:
    scripted = Scripted()
    for n in range(12):
        time = NOON.subtract(seconds=30 * n)
        grown = signals(time, matching__backlog_count=1200.0 - 100 * n)
        await scripted.store.save_snapshots([snapshot(evaluation("critical", time, signals=grown))])
    await scripted.ask(critical())
    assert "matching.backlog_count rises" in scripted.prompts[-1]


async def test_without_a_model_the_rules_explain() -> None:
    activities = ExplainActivities(ExplainDeps(MemoryStore(), LocalKnowledge()))
    ask = ExplainAssessment(evaluation=critical().model_dump(mode="json"), trigger="scheduled")
    assert await activities.explain_assessment(ask) == Explained(explained_by="rules")


async def test_an_evaluation_of_another_release_is_left_alone() -> None:
    ask = ExplainAssessment(evaluation={"evaluation_id": "x"}, trigger="scheduled")
    assert await Scripted().activities.explain_assessment(ask) == Explained(explained_by="rules")


async def test_the_dispatcher_says_whether_to_go_deeper() -> None:
    assert await Scripted().ask(critical(), "dispatcher") == ModelAsked(deeper=True)
    assert await Scripted(dispatch=ENOUGH).ask(critical(), "dispatcher") == ModelAsked()


async def test_what_was_used_is_counted_to_the_day() -> None:
    scripted = Scripted()
    await scripted.ask(critical(), "dispatcher")
    await scripted.ask(critical())
    spent = await scripted.store.model_spend(day_start(NOON))
    assert spent.model_dump() == pytest.approx(
        {"calls": 2, "input_tokens": 2_000, "output_tokens": 400, "cost_usd": 0.008, "unserved": 0}
    )
    assert [c.outcome for c in await scripted.calls()] == [Outcome.DEEPER, Outcome.SERVED]


async def test_a_spent_budget_lasts_until_the_day_is_over() -> None:
    scripted = Scripted()
    await scripted.ask(critical())
    (call,) = await scripted.calls()
    await scripted.store.save_model_call(call.model_copy(update={"cost_usd": 4.999}))
    kept = await scripted.ask(later())
    assert "today's $5.00 are spent" in (kept.explanation or {})["note"]
    assert scripted.asked == ["researcher"]
    scripted.now = Instant.from_utc(2026, 11, 23)
    assert Explanation.model_validate((await scripted.ask(later())).explanation).explained_by == "model"


class NoLedger(MemoryStore):
    """A store that cannot say what was spent."""

    async def model_spend(self, since: Instant) -> Spent:  # noqa: ARG002
        raise StoreError("the state store is away")


async def test_where_nobody_knows_what_was_spent_no_model_is_asked() -> None:
    scripted = Scripted()
    deps = scripted.activities._deps
    activities = ExplainActivities(ExplainDeps(NoLedger(), deps.knowledge, deps.models))
    with pytest.raises(StoreError):
        await activities.ask_researcher(
            AskModel(evaluation=plain(critical()).model_dump(mode="json"), trigger="manual", deadline_sec=5)
        )
    assert scripted.asked == []


async def test_the_runbooks_of_the_first_findings_are_found() -> None:
    ask = FetchRagContext(evaluation=plain(critical()).model_dump(mode="json"), deadline_sec=5)
    found = (await Scripted().activities.fetch_rag_context(ask)).passages
    assert 1 <= len(found) <= 5
    assert found[0]["source"].startswith("no_pollers.md#")


class OddKnowledge:
    """Knows the same passage whatever is asked, better the second time."""

    def __init__(self) -> None:
        self.scores = [0.3, 0.9]

    async def retrieve(self, question: str) -> Retrieved:  # noqa: ARG002
        score = self.scores.pop(0)
        passages = tuple(Passage(source=s, title="T", text="t", score=score) for s in ("a#1", f"b#{score}"))
        return Retrieved(passages=passages, reason="half of it is away")


async def test_passages_found_twice_are_shown_once_the_best_first() -> None:
    activities = ExplainActivities(ExplainDeps(MemoryStore(), OddKnowledge()))
    ask = FetchRagContext(evaluation=plain(critical()).model_dump(mode="json"), deadline_sec=5)
    found = await activities.fetch_rag_context(ask)
    assert [p["source"] for p in found.passages] == ["a#1", "b#0.9", "b#0.3"]
    assert found.reason == "half of it is away"
