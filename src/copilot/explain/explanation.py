"""An evaluation explained: `explained` makes them from the decision alone, after it was made and stored."""

from typing import Literal

from whenever import Instant

from copilot.explain.gates import describe, gate_sentence
from copilot.explain.narrative import Words
from copilot.explain.numbers import lowered
from copilot.explain.templates import fill
from copilot.rules.findings.queues import BACKLOG_DRAINING
from copilot.rules.findings.registry import BY_NAME, action
from copilot.rules.model import (
    ActionType,
    Detected,
    DetectedIssue,
    Evaluation,
    GateResult,
    HealthAssessment,
    Issue,
    Narrative,
    OfferedAction,
    StoredIssue,
    SuggestedAction,
    Trigger,
)
from copilot.rules.scaling import ScalingRule
from copilot.rules.staleness import as_of

_NOTE = "Worth knowing; it does not move the state."
_STICKY = " Running workflows stay with the workers that cache them (sticky queues)."


class ExplainedEvaluation(Evaluation):
    """An evaluation with its explanation: the gates have sentences, the findings titles, causes and actions.
    `explanation_note`: who wrote the words and why, where that needs saying. `trigger`: why it was assessed."""

    findings: tuple[Issue, ...]
    summary: str
    narrative: Narrative
    explained_by: Literal["rules", "model"] = "rules"
    explanation_note: str = ""
    trigger: Trigger | None = None


def explained(evaluation: Evaluation) -> ExplainedEvaluation:
    """The evaluation explained by the rules."""
    if isinstance(evaluation, ExplainedEvaluation):
        return evaluation
    gates = tuple(_with_sentence(gate, evaluation) for gate in evaluation.verdict.gates)
    issues = tuple(_issue(detected, gates) for detected in evaluation.findings)
    words = Words(evaluation, gates, issues)
    fields = {name: getattr(evaluation, name) for name in Evaluation.model_fields}
    return ExplainedEvaluation.model_construct(
        **{
            **fields,
            "verdict": evaluation.verdict.model_copy(update={"gates": gates}),
            "findings": issues,
            "summary": words.summary(),
            "narrative": words.narrative(),
            "trigger": evaluation.trigger if isinstance(evaluation, HealthAssessment) else None,
        }
    )


def explained_issue(stored: DetectedIssue) -> StoredIssue:
    """A stored issue explained, as it was last seen."""
    issue = _issue(stored, ())
    fields = {name: getattr(issue, name) for name in Issue.model_fields}
    return StoredIssue(
        **fields,
        id=stored.id,
        first_seen=stored.first_seen,
        last_seen=stored.last_seen,
        resolved_at=stored.resolved_at,
    )


def explained_as_of(evaluation: ExplainedEvaluation, now: Instant) -> ExplainedEvaluation:
    """The explained evaluation as a reader must see it at `now`: with a summary that says first for how long nothing
    was read, once the verdict is unknown for that reason (`rules/staleness.py`)."""
    seen = as_of(evaluation, now)
    if seen.verdict.health_state is evaluation.verdict.health_state:
        return seen
    read = evaluation.verdict.usable_at or evaluation.time
    missed = "No evaluation" if read == evaluation.time else "Not enough data for a verdict"
    since = read.round("second", mode="floor").format_iso()
    return seen.model_copy(update={"summary": f"{missed} since {since}. Before that: {evaluation.summary}"})


def _with_sentence(gate: GateResult, evaluation: Evaluation) -> GateResult:
    return GateResult(
        gate.name, gate.severity, gate.fired, gate.unjudged, gate.value, gate.threshold, gate.margin, gate.unit,
        gate.evidence, gate.labels, gate.aspect, gate.lacking, gate.since, gate_sentence(gate, evaluation.signals),
    )  # fmt: skip


def _issue(detected: Detected, gates: tuple[GateResult, ...]) -> Issue:
    finding = BY_NAME.get(detected.finding)
    name = detected.finding.replace("_", " ")
    title = fill(finding.title, detected.evidence) if finding else name.capitalize()
    cause = fill(finding.cause, detected.evidence) if finding else "Another version of the rules found it."
    cause = f"{cause[:1].upper()}{cause[1:]}"
    description = describe(g for g in gates if g.name in detected.contributing_factors) or _NOTE
    if detected.phase == "past":
        description, cause = "Nothing is over its limit now.", f"No longer observed. Last known cause: {lowered(cause)}"
        if detected.finding == BACKLOG_DRAINING.name:
            title, cause = "A backlog has drained", "The backlog is done."
    elif detected.phase == "unsure":
        description = "Too little can be read to tell whether anything is over its limit."
        cause = f"Last known cause: {lowered(cause)}"
    actions = (_suggested(detected, offered) for offered in detected.actions)
    fields = {name: getattr(detected, name) for name in Detected.model_fields}
    return Issue(
        **fields,
        title=title,
        description=description,
        likely_cause=cause,
        suggested_actions=tuple(a for a in actions if a is not None),
    )


def _suggested(detected: Detected, offered: OfferedAction) -> SuggestedAction | None:
    """The offered action, explained; None where this version's catalogue does not have it."""
    chosen = action(detected.finding, offered.key)
    if chosen is None:
        return None
    sticky = offered.rule == ScalingRule.STICKY_QUEUE_WARNING.value
    parameters: dict[str, str | int | float] = {"rule": offered.rule} if offered.rule else {}
    if chosen.kind is ActionType.SCALE:
        parameters["direction"] = "up"
    for key, name in (("queues", "task_queue"), ("versions", "worker_version")):
        if isinstance(value := detected.evidence.get(key), tuple):
            parameters[name] = ", ".join(value)
    return SuggestedAction(
        key=chosen.key,
        action_type=chosen.kind,
        target_service=chosen.target,
        description=fill(chosen.text, detected.evidence) + (_STICKY if sticky else ""),
        confidence=chosen.confidence,
        risk_level=chosen.risk,
        parameters=parameters,
        runbook=detected.finding,
    )
