"""The activities that explain a stored assessment. Whatever a model does, the explanation they return may be served."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError
from temporalio import activity
from temporalio.common import MetricMeter
from whenever import Instant

from copilot.errors import StoreError
from copilot.explain import ExplainedEvaluation, explained
from copilot.explain.model.answer import Answer, Explanation, rules_explanation
from copilot.explain.model.check import checked, model_explanation
from copilot.explain.model.evidence import evidence
from copilot.explain.model.knowledge import MOST_PASSAGES, Passage, question
from copilot.explain.model.situation import Depth, decide_depth, fingerprint, movement, signals_of_interest
from copilot.explain.model.usage import ModelCall, Outcome, day_start
from copilot.loops import messages as m
from copilot.rules.model import Evaluation, Trigger
from copilot.sources.knowledge import Knowledge
from copilot.store.base import Store

if TYPE_CHECKING:
    from copilot.explain.model.agent import Explainers

log = logging.getLogger(__name__)
MOST_QUESTIONS = 3
"""Findings whose runbooks are looked up."""
HISTORY_SEC, HISTORY_POINTS, HISTORY_WITHIN_SEC, MOST_MOVEMENTS = 600.0, 30, 0.5, 8
"""How far back a deep explanation looks (s), in how many points, for how long at most (s), and at how many signals."""


@dataclass(frozen=True)
class ExplainActivities:
    """Explains assessments, over injected clients. `models` None: the rules explain. `meter` counts calls of models."""

    store: Store
    knowledge: Knowledge
    models: "Explainers | None" = None
    now: Callable[[], Instant] = Instant.now
    budget: asyncio.Lock = field(default_factory=asyncio.Lock)
    meter: MetricMeter = MetricMeter.noop

    @activity.defn
    async def explain_assessment(self, ask: m.ExplainAssessment) -> m.Explained:
        """Decide by rule how much explanation is needed. An unchanged situation keeps the explanation it had."""
        models, by_rules = self.models, m.Explained(explained_by="rules")
        try:
            evaluation = _explained({k: v for k, v in ask.evaluation.items() if k in Evaluation.model_fields})
        except ValidationError:
            return by_rules
        if models is None or (depth := decide_depth(evaluation)) is None:
            return by_rules
        before = await self.store.settled_call(evaluation.cluster, fingerprint(evaluation))
        explanation = None if before is None else _unchanged(evaluation, before, models.addresses)
        if explanation is None and ask.left_sec is not None and ask.left_sec < m.LEAST_SEC:
            explanation = rules_explanation(evaluation, "Storing the assessment left no time for a model")
        if explanation is None:
            unanswered = rules_explanation(evaluation, "no model could be called").model_dump(mode="json")
            within = models.timeout_sec
            return m.Explained(explained_by="rules", explanation=unanswered, ask_within_sec=within, depth=depth)
        return m.Explained(explained_by=explanation.explained_by, explanation=explanation.model_dump(mode="json"))

    @activity.defn(name="ask_dispatcher")
    async def explain_quickly(self, ask: m.AskModel) -> m.ModelAsked:
        """A quick explanation, by the smaller model."""
        return await self._explain("quick", ask)

    @activity.defn(name="ask_researcher")
    async def explain_deeply(self, ask: m.AskModel) -> m.ModelAsked:
        """A deep explanation, by the larger model, with runbooks, logs and history."""
        return await self._explain("deep", ask)

    @activity.defn
    async def fetch_rag_context(self, ask: m.FetchRagContext) -> m.RagContext:
        """The passages of runbooks for the first findings: at most five, best first."""
        evaluation = _explained(ask.evaluation)
        questions = [question(issue) for issue in evaluation.findings[:MOST_QUESTIONS]]
        try:
            async with asyncio.timeout(ask.deadline_sec):
                answers = await asyncio.gather(*(self.knowledge.retrieve(q) for q in questions))
        except TimeoutError:
            return m.RagContext(reason=f"no runbooks within {ask.deadline_sec:g} s")
        best: dict[str, Passage] = {}
        for passage in (p for answer in answers for p in answer.passages):
            if passage.source not in best or passage.score > best[passage.source].score:
                best[passage.source] = passage
        ranked = sorted(best.values(), key=lambda p: -p.score)[:MOST_PASSAGES]
        reason = next((a.reason for a in answers if a.reason), "")
        return m.RagContext(passages=[p.model_dump() for p in ranked], reason=reason)

    @activity.defn
    async def improve_explanation(self, ask: m.ImproveExplanation) -> m.ExplanationImproved:
        """Store a better explanation with the assessment."""
        explanation = Explanation.model_validate(ask.explanation)
        kept = await self.store.improve_explanation(ask.evaluation_id, Trigger(ask.trigger), explanation)
        return m.ExplanationImproved(kept=kept)

    async def _movements(self, evaluation: ExplainedEvaluation) -> dict[str, str]:
        """How the signals of interest moved, as far as the store answers at once."""
        since, movements = evaluation.time.subtract(seconds=HISTORY_SEC), {}
        try:
            async with asyncio.timeout(HISTORY_WITHIN_SEC):
                for name in signals_of_interest(evaluation, MOST_MOVEMENTS):
                    points = await self.store.signal_series(
                        evaluation.cluster, name, since, evaluation.time, HISTORY_POINTS
                    )
                    if how := movement([point.value for point in points]):
                        movements[name] = how
        except (StoreError, TimeoutError) as error:
            reason = str(error) or "the state store did not answer in time"
            log.warning("no signal history: %s", reason, extra={"event": "explanation.no_history"})
        return movements

    async def _explain(self, depth: Depth, ask: m.AskModel) -> m.ModelAsked:
        models, evaluation = self.models, _explained(ask.evaluation)
        if models is None:
            raise ValueError("this worker has no model")
        movements = await self._movements(evaluation) if depth == "deep" else {}
        passages = [Passage.model_validate(p) for p in ask.passages]
        known = evidence(evaluation, passages, addresses=models.addresses)
        explainer, prompt = models.request(depth, evaluation, known, movements)
        now, (tokens_in, tokens_out, cost) = self.now(), explainer.bound(prompt)
        call = ModelCall(
            cluster=evaluation.cluster, evaluation_id=evaluation.evaluation_id, trigger=ask.trigger, time=now,
            agent=explainer.name, model=explainer.model, fingerprint=fingerprint(evaluation),
            input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=cost,
        )  # fmt: skip
        # The call is entered with the most it can cost. While the store is away (StoreError) what was spent is unknown,
        # so no model is called. Workers of several processes may each reserve the last of a day at once.
        async with self.budget:
            call = call.within(models.cap, await self.store.model_spend(day_start(now)))
            await self.store.save_model_call(call)
        if call.outcome is Outcome.OVER_BUDGET:
            self._count(call)
            return _result(rules_explanation(evaluation, f"No model was called, because {call.why}"))
        reply = await explainer.ask(prompt, ask.deadline_sec)
        left = await asyncio.to_thread(checked, reply.answer, known) if reply.answer else None
        call = call.ended(reply, left)
        self._count(call)
        try:
            await self.store.save_model_call(call)
        except StoreError as error:  # The reservation stays.
            log.warning("a call of %s is not recorded: %s", call.model, error, extra={"event": "model.not_recorded"})
        if left is not None and left.usable:
            return _result(model_explanation(evaluation, left.answer, known))
        log.warning(
            "%s, %s %s: %s", evaluation.evaluation_id, call.agent, call.outcome.value, call.why,
            extra={"event": "model.not_served", "outcome": call.outcome.value},
        )  # fmt: skip
        return _result(rules_explanation(evaluation, call.why))

    def _count(self, call: ModelCall) -> None:
        calls = self.meter.create_counter("copilot_model_outcomes", "Calls of models, by how they ended")
        calls.add(1, {"cluster": call.cluster, "agent": call.agent, "outcome": call.outcome.value})


def _explained(document: m.Document) -> ExplainedEvaluation:
    return explained(Evaluation.model_validate(document))


def _unchanged(evaluation: ExplainedEvaluation, before: ModelCall, addresses: bool) -> Explanation | None:
    """The explanation of an unchanged situation, by what an earlier call came to: the model's with the present
    readings, or the rules'. None: another release wrote that answer, and a model has to be called again."""
    time = before.time.format_iso()
    if before.outcome is not Outcome.SERVED:
        return rules_explanation(evaluation, f"Nothing has changed since {time}: {before.why}")
    try:
        answer = Answer.model_validate_json(before.answer)
    except ValidationError:
        return None
    known = evidence(evaluation, addresses=addresses)
    left = checked(answer, known)
    if not left.usable:
        return rules_explanation(evaluation, f"The model's explanation of {time} no longer applies")
    note = f"The model's explanation is of {time}; only numbers have changed since."
    return model_explanation(evaluation, left.answer, known, note)


def _result(explanation: Explanation) -> m.ModelAsked:
    return m.ModelAsked(explanation=explanation.model_dump(mode="json"))
