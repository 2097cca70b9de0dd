"""The activities that explain a stored assessment. Whatever a model does, they answer with words that may be served."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError
from temporalio import activity
from whenever import Instant

from copilot.errors import StoreError
from copilot.explain import ExplainedEvaluation, explained
from copilot.explain.model import ledger
from copilot.explain.model.answer import Explanation, ModelExplanation
from copilot.explain.model.evidence import Evidence, Passage, evidence
from copilot.explain.model.fingerprint import fingerprint, moving, worth_explaining, worth_following
from copilot.explain.model.grounding import Grounded, Reason, grounded
from copilot.explain.model.knowledge import MOST_PASSAGES, question
from copilot.explain.model.knowledge import Passage as Found
from copilot.explain.model.usage import NO_MODEL, AgentName, Cap, ModelCall, Outcome, Told, day_start
from copilot.explain.model.wording import carried, rules_stand, served
from copilot.loops.messages import (
    LEAST_SEC,
    AskModel,
    Document,
    ExplainAssessment,
    Explained,
    ExplanationImproved,
    FetchRagContext,
    ImproveExplanation,
    ModelAsked,
    RagContext,
)
from copilot.rules.model import Evaluation, Trigger
from copilot.sources.knowledge.base import Knowledge
from copilot.store.base import Store

log = logging.getLogger(__name__)
ASKED_ABOUT = 3
"""Findings whose runbooks are looked up."""
HISTORY_SEC, HISTORY_POINTS, HISTORY_WITHIN_SEC, MOST_FOLLOWED = 600.0, 30, 0.5, 8
"""How far back the researcher is told how signals moved, and what that may take."""
OF_THEN = frozenset({Reason.NUMBER, Reason.NAME})
"""What may be out of date in words that say of when they are: numbers, and names that only runbooks had."""


class Question(Protocol):
    """A question to a model, and what it can take at most (tokens, US$)."""

    @property
    def agent(self) -> AgentName: ...
    @property
    def model(self) -> str: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cost_usd(self) -> float: ...

    async def ask(self, within_sec: float) -> Told:
        """Ask it, once. Never raises but for cancellation."""


class Models(Protocol):
    """The models there are, what they may cost a day, how long one explanation may take (s), and whether IP addresses
    are kept from them."""

    @property
    def cap(self) -> Cap: ...
    @property
    def timeout_sec(self) -> float: ...
    @property
    def addresses(self) -> bool: ...

    def dispatching(self, evaluation: ExplainedEvaluation, evidence: Evidence) -> Question:
        """How much explanation does it need?"""

    def research(self, evaluation: ExplainedEvaluation, evidence: Evidence, moved: Mapping[str, str]) -> Question:
        """What is the explanation? `moved`: signals and how they moved of late."""


@dataclass(frozen=True)
class ExplainDeps:
    """What these activities work with. `models` None: the rules' words are all there is."""

    store: Store
    knowledge: Knowledge
    models: Models | None = None
    now: Callable[[], Instant] = Instant.now
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class ExplainActivities:
    """Explains assessments, over injected clients."""

    def __init__(self, deps: ExplainDeps) -> None:
        self._deps = deps

    @activity.defn
    async def explain_assessment(self, ask: ExplainAssessment) -> Explained:
        """Whether a model is to be asked. What it said of the same situation before is said again."""
        models, judged = self._deps.models, _readable(ask.evaluation)
        if models is None or judged is None or not worth_explaining(judged):
            return Explained(explained_by="rules")
        before = await self._deps.store.settled_call(judged.cluster, fingerprint(judged))
        if before is not None:
            explanation = _said_before(judged, before, models.addresses)
        elif ask.left_sec is not None and ask.left_sec < LEAST_SEC:
            explanation = rules_stand(judged, "It took too long to be stored for a model to be asked")
        else:
            unanswered = rules_stand(judged, "No model could be asked").model_dump(mode="json")
            return Explained(explained_by="rules", explanation=unanswered, ask_within_sec=models.timeout_sec)
        return Explained(explained_by=explanation.explained_by, explanation=explanation.model_dump(mode="json"))

    @activity.defn
    async def ask_dispatcher(self, ask: AskModel) -> ModelAsked:
        """Ask the fast model how much explanation is needed; a quick one it gives at once."""
        models, judged, known = self._given(ask)
        return await self._asked(models.dispatching(judged, known), judged, known, ask)

    @activity.defn
    async def ask_researcher(self, ask: AskModel) -> ModelAsked:
        """Ask for a deep explanation."""
        models, judged, known = self._given(ask)
        return await self._asked(models.research(judged, known, await self._moved(judged)), judged, known, ask)

    @activity.defn
    async def fetch_rag_context(self, ask: FetchRagContext) -> RagContext:
        """The passages of runbooks for the first findings: at most five, best first."""
        judged = explained(Evaluation.model_validate(ask.evaluation))
        questions = [question(issue) for issue in judged.findings[:ASKED_ABOUT]]
        try:
            async with asyncio.timeout(ask.deadline_sec):
                answers = await asyncio.gather(*(self._deps.knowledge.retrieve(q) for q in questions))
        except TimeoutError:
            return RagContext(reason=f"no runbooks within {ask.deadline_sec:g} s")
        best: dict[str, Found] = {}
        for passage in (p for answer in answers for p in answer.passages):
            if passage.source not in best or passage.score > best[passage.source].score:
                best[passage.source] = passage
        ranked = sorted(best.values(), key=lambda p: -p.score)[:MOST_PASSAGES]
        reason = next((a.reason for a in answers if a.reason), "")
        return RagContext(
            passages=[{"source": p.source, "text": f"{p.title}\n{p.text}"} for p in ranked], reason=reason
        )

    @activity.defn
    async def improve_explanation(self, ask: ImproveExplanation) -> ExplanationImproved:
        """Keep better words with the assessment."""
        explanation = Explanation.model_validate(ask.explanation)
        kept = await self._deps.store.improve_explanation(ask.evaluation_id, Trigger(ask.trigger), explanation)
        return ExplanationImproved(kept=kept)

    def _given(self, ask: AskModel) -> tuple[Models, ExplainedEvaluation, Evidence]:
        models = self._deps.models
        if models is None:
            raise ValueError("this worker has no model to ask")
        judged = explained(Evaluation.model_validate(ask.evaluation))
        passages = [Passage.model_validate(p) for p in ask.passages]
        return models, judged, evidence(judged, judged.signals.logs, passages, addresses=models.addresses)

    async def _moved(self, judged: ExplainedEvaluation) -> dict[str, str]:
        """How the signals that matter moved, as far as the store says so at once."""
        since, moved = judged.time.subtract(seconds=HISTORY_SEC), {}
        try:
            async with asyncio.timeout(HISTORY_WITHIN_SEC):
                for name in worth_following(judged, MOST_FOLLOWED):
                    points = await self._deps.store.signal_series(
                        judged.cluster, name, since, judged.time, HISTORY_POINTS
                    )
                    if how := moving([point.value for point in points]):
                        moved[name] = how
        except (StoreError, TimeoutError) as error:
            log.warning("without history: %s", str(error) or "the state store did not answer in time")
        return moved

    async def _asked(self, what: Question, judged: ExplainedEvaluation, known: Evidence, ask: AskModel) -> ModelAsked:
        call = await self._begun(what, judged, ask.trigger)
        if call.outcome is Outcome.OVER_BUDGET:
            return _kept(rules_stand(judged, f"No model was asked, for {call.why}"))
        told = await what.ask(ask.deadline_sec)
        checked = await asyncio.to_thread(grounded, told.explanation, known) if told.explanation else None
        call = ledger.settled(call, told, checked)
        await self._keep(call)
        if isinstance(checked, Grounded):
            return _kept(served(judged, checked.answer))
        if call.outcome is Outcome.DEEPER:
            return ModelAsked(deeper=True)
        if call.outcome is Outcome.NOT_NEEDED:
            return ModelAsked()
        log.warning("%s, %s %s: %s", judged.evaluation_id, what.agent, call.outcome.value, call.why)
        return _kept(rules_stand(judged, call.why))

    async def _begun(self, what: Question, judged: ExplainedEvaluation, trigger: str) -> ModelCall:
        """Reserve what the call can cost. Where the store cannot be asked nobody knows what was spent: then no model is
        asked. Workers of several processes may each reserve the last of a day at once."""
        deps = self._deps
        now = deps.now()
        call = ModelCall(
            cluster=judged.cluster, evaluation_id=judged.evaluation_id, trigger=trigger, time=now, agent=what.agent,
            model=what.model, fingerprint=fingerprint(judged), input_tokens=what.input_tokens,
            output_tokens=what.output_tokens, cost_usd=what.cost_usd,
        )  # fmt: skip
        async with deps.asking:
            spent = await deps.store.model_spend(day_start(now))
            call = ledger.within(call, spent, deps.models.cap if deps.models else NO_MODEL)
            await deps.store.save_model_call(call)
        return call

    async def _keep(self, call: ModelCall) -> None:
        """What became of it. What was reserved stands where this cannot be kept."""
        try:
            await self._deps.store.save_model_call(call)
        except StoreError as error:
            log.warning("what a call of %s came to is not kept: %s", call.model, error)


def _readable(document: Document) -> ExplainedEvaluation | None:
    fields: dict[str, Any] = {name: document[name] for name in Evaluation.model_fields if name in document}
    try:
        return explained(Evaluation.model_validate(fields))
    except ValidationError:
        return None


def _said_before(judged: ExplainedEvaluation, before: ModelCall, addresses: bool) -> Explanation:
    """The model's words of before if nothing in them is wrong by now but what is of then, else the rules'."""
    told = before.time.format_iso()
    if before.outcome is Outcome.SERVED:
        answer = ModelExplanation.model_validate_json(before.answer)
        checked = grounded(answer, evidence(judged, judged.signals.logs, addresses=addresses))
        if isinstance(checked, Grounded) or set(checked.counts()) <= OF_THEN:
            return carried(judged, answer, told)
        return rules_stand(judged, f"What the model said at {told} does not hold any more")
    if before.outcome is Outcome.NOT_NEEDED:
        return rules_stand(judged, f"A model had nothing to add at {told}")
    return rules_stand(judged, f"Nothing has changed since {told}, when there was this: {before.why}")


def _kept(explanation: Explanation) -> ModelAsked:
    return ModelAsked(explanation=explanation.model_dump(mode="json"))
