"""Assessments explained by models that stand on this machine."""

import asyncio
from typing import Any

from temporalio.client import Client, WorkflowHandle

from copilot.explain import ExplainedEvaluation
from copilot.explain.model.answer import in_words
from copilot.explain.model.provider import explainers
from copilot.explain.model.usage import ModelCall
from copilot.loops.activities.explain import ExplainActivities
from copilot.loops.activities.observe import ObserveActivities
from copilot.loops.assess import AssessHealthWorkflow
from copilot.loops.definitions import AssessInput
from copilot.loops.worker import build_worker
from copilot.rules.model import Evaluation
from copilot.settings.models import ModelSettings
from copilot.sources.knowledge.local import LocalKnowledge
from tests.agents.answers import INJECTION, SECRET, critical, logged
from tests.fakes.memory_store import MemoryStore
from tests.workflows.conftest import EVER

MODEL = "openai-chat:gpt-5-mini"


def judged(case: str) -> Evaluation:
    """The evaluation of a case, named in a log pattern; rules find that `quick…` needs a quick explanation only."""
    text = {"injected": INJECTION, "secret": f"access denied for {SECRET}"}.get(case, "no poller")
    found = critical(case, logged(f"case-{case} {text}"))
    if case.startswith("quick"):
        known = found.signals.logs[0].model_copy(update={"mined": False})
        found = found.model_copy(update={"signals": found.signals.model_copy(update={"logs": (known,)})})
    return Evaluation.model_validate(found.model_dump(include=set(Evaluation.model_fields)))


class Assessing:
    """Assesses with a worker of its own over given models, and looks at what came of it."""

    def __init__(self, client: Client, store: MemoryStore, **models: Any) -> None:
        self._client = client
        self._store = store
        self._queue = f"queue-{id(self)}"
        self._few = asyncio.Semaphore(6)
        settings = ModelSettings(dispatcher=MODEL, **models)
        explain = ExplainActivities(store, LocalKnowledge(), explainers(settings))
        deps = ObserveActivities(sources={}, contexts={}, store=store)
        self.worker = build_worker(client, self._queue, deps, explain)

    async def assess(self, case: str) -> tuple[ExplainedEvaluation, list[ModelCall], float]:
        """What is stored in the end, the calls that were made, and how long it took (s)."""
        ask = AssessInput(cluster=case, evaluation=judged(case).model_dump(mode="json"), trigger="state_change")
        async with self._few:
            handle = await self._client.start_workflow(
                AssessHealthWorkflow.run, ask, id=self._id(case), task_queue=self._queue
            )
            await handle.result()
        described = await handle.describe()
        assert described.close_time is not None
        took = (described.close_time - described.start_time).total_seconds()
        kept = await self._store.latest_assessment(case)
        assert kept is not None
        return in_words(kept), await self._store.model_calls(case, *EVER), took

    def assessment(self, case: str) -> WorkflowHandle[Any, Any]:
        """The workflow of a case."""
        return self._client.get_workflow_handle(self._id(case))

    def _id(self, case: str) -> str:
        return f"{self._queue}-{case}"
