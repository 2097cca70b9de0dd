"""Explanations by a real model: `make test-llm`, see docs/models.md. Not part of `make test`."""

import json
import os
from functools import cache
from pathlib import Path

import pytest

from copilot.explain import explained
from copilot.explain.model.check import checked, model_explanation
from copilot.explain.model.evidence import evidence
from copilot.explain.model.knowledge import Passage
from copilot.explain.model.provider import explainers
from copilot.explain.model.situation import Depth
from copilot.explain.model.usage import Outcome
from copilot.loops.activities.explain import ExplainActivities
from copilot.loops.messages import FetchRagContext
from copilot.pipeline import replay
from copilot.rules.evaluate import Context
from copilot.rules.model import Evaluation
from copilot.settings.models import ModelSettings
from copilot.sources.knowledge.local import LocalKnowledge
from copilot.sources.recorded import read_recording
from tests.fakes.memory_store import MemoryStore

URL, NAME = os.environ.get("COPILOT_LLM_BASE_URL", ""), os.environ.get("COPILOT_LLM_MODEL", "")
KEY, TIMEOUT = os.environ.get("COPILOT_LLM_KEY", ""), float(os.environ.get("COPILOT_LLM_TIMEOUT", "120"))
pytestmark = [pytest.mark.llm, pytest.mark.timeout(4 * TIMEOUT), pytest.mark.usefixtures("_anywhere")]
SCENARIOS = Path(__file__).parents[1] / "scenarios"
SITUATIONS = ("slots-exhausted@24", "database-locked@20")


@pytest.fixture
def _anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint may be remote; the key goes where OpenAI's client reads it."""
    if not (URL and NAME):
        pytest.fail("set COPILOT_LLM_BASE_URL and COPILOT_LLM_MODEL: docs/models.md says how")
    if KEY:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)


@cache
def evaluation(situation: str) -> Evaluation:
    """The evaluation of `scenario@tick`."""
    scenario, _, tick = situation.partition("@")
    header, ticks = read_recording(SCENARIOS / scenario / "recording.jsonl.gz")
    context = Context(cluster=scenario, interval_sec=header.interval_sec, window_sec=header.window_sec)
    return tuple(replay(ticks, context))[int(tick)]


@pytest.mark.parametrize("depth", ["quick", "deep"])
@pytest.mark.parametrize("situation", SITUATIONS)
async def test_a_real_model_answers_in_the_shape_asked_for(
    situation: str, depth: Depth, capsys: pytest.CaptureFixture[str]
) -> None:
    models = explainers(ModelSettings(dispatcher=f"openai-chat:{NAME}", base_url=URL))
    decided = evaluation(situation)
    judged = explained(decided)
    activities = ExplainActivities(MemoryStore(), LocalKnowledge(), models)
    ask = FetchRagContext(evaluation=decided.model_dump(mode="json"), deadline_sec=5)
    passages = [Passage.model_validate(p) for p in (await activities.fetch_rag_context(ask)).passages]
    known = evidence(judged, passages, addresses=True)
    explainer, prompt = models.request(depth, judged, known, {})
    reply = await explainer.ask(prompt, TIMEOUT)
    with capsys.disabled():
        print(f"\n{situation}, {depth}: {reply.outcome.value} {reply.reason}")
        print(f"{reply.input_tokens} tokens in, {reply.output_tokens} out")
        if reply.answer:
            left = checked(reply.answer, known)
            print("dropped:", dict(left.dropped), "usable" if left.usable else "not usable")
            explanation = model_explanation(judged, left.answer, known)
            print(json.dumps(explanation.model_dump(mode="json"), indent=1, ensure_ascii=False))
    assert reply.outcome is Outcome.SERVED, reply.reason
