"""Dispatcher and researcher asked of a real model: `make test-llm`, see docs/models.md. Not part of `make test`."""

import json
import os

import pytest

from copilot.explain.model.build import explainers
from copilot.explain.model.evidence import Passage, evidence
from copilot.explain.model.grounding import Grounded, Refused, grounded
from copilot.explain.model.usage import Outcome
from copilot.loops.activities.explain import ExplainActivities, ExplainDeps
from copilot.loops.messages import FetchRagContext
from copilot.settings.models import ModelSettings
from copilot.sources.knowledge.local import LocalKnowledge
from tests.core.grounding_situations import evaluation
from tests.fakes.memory_store import MemoryStore

URL, NAME = os.environ.get("COPILOT_LLM_BASE_URL", ""), os.environ.get("COPILOT_LLM_MODEL", "")
KEY, TIMEOUT = os.environ.get("COPILOT_LLM_KEY", ""), float(os.environ.get("COPILOT_LLM_TIMEOUT", "120"))
pytestmark = [
    pytest.mark.llm,
    pytest.mark.timeout(4 * TIMEOUT),
    pytest.mark.usefixtures("_anywhere"),
]
SITUATIONS = ("workers-down@15", "slots-exhausted@24", "database-locked@20")


@pytest.fixture
def _anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint may be far away; the key goes where OpenAI's client looks for it."""
    if not (URL and NAME):
        pytest.fail("set COPILOT_LLM_BASE_URL and COPILOT_LLM_MODEL: docs/models.md says how")
    if KEY:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_a_real_model_answers_in_the_shape_asked_for(situation: str, capsys: pytest.CaptureFixture[str]) -> None:
    models = explainers(ModelSettings(dispatcher=f"openai-chat:{NAME}", base_url=URL))
    judged = evaluation(situation)
    activities = ExplainActivities(ExplainDeps(MemoryStore(), LocalKnowledge(), models))
    ask = FetchRagContext(evaluation=judged.model_dump(mode="json"), deadline_sec=5)
    passages = [Passage.model_validate(p) for p in (await activities.fetch_rag_context(ask)).passages]
    known = evidence(judged, judged.signals.logs, passages, addresses=True)
    first = await models.dispatching(judged, known).ask(TIMEOUT)
    deep = await models.research(judged, known, {}).ask(TIMEOUT)
    checked = grounded(deep.explanation, known) if deep.explanation else None
    with capsys.disabled():
        print(f"\n{situation}")
        for who, told in (("dispatcher", first), ("researcher", deep)):
            print(f"{who}: {told.outcome.value} {told.why} {told.input_tokens} tokens in, {told.output_tokens} out")
        if isinstance(checked, Refused):
            print("refused:", *(f"\n  {o.reason.value} in {o.place}: {o.found}" for o in checked.objections))
        if isinstance(checked, Grounded):
            print(json.dumps(checked.answer.model_dump(mode="json"), indent=1, ensure_ascii=False))
    assert first.outcome in (Outcome.SERVED, Outcome.NOT_NEEDED, Outcome.DEEPER), first.why
    assert deep.outcome is Outcome.SERVED, deep.why
