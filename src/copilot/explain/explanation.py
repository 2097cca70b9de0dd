"""An evaluation explained: `explained` makes them from the decision alone, after it was made and stored."""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

from whenever import Instant, TimeDelta

from copilot.explain.gates import describe, gate_sentence
from copilot.explain.narrative import LOGS_WITHIN_SEC, Words
from copilot.explain.numbers import count, lowered
from copilot.explain.templates import fill
from copilot.rules.findings.queues import BACKLOG_DRAINING
from copilot.rules.findings.registry import BY_NAME, action
from copilot.rules.model import (
    ActionType,
    Detected,
    DetectedIssue,
    Evaluation,
    GateResult,
    Issue,
    Narrative,
    OfferedAction,
    StoredIssue,
    SuggestedAction,
    Trigger,
)
from copilot.rules.scaling import ScalingRule
from copilot.rules.signals.readings import Signals
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


def freshness(signals: Signals) -> str:
    """How old metrics are that come late by design, as Temporal Cloud's do; empty where all readings are live."""
    if signals.metrics_at is None:
        return ""
    minutes = int((signals.time - signals.metrics_at).total("minutes"))
    return f"metrics are {minutes}–{minutes + 1} min old, API readings are live"


def explained(evaluation: Evaluation) -> ExplainedEvaluation:
    """The evaluation explained by the rules."""
    if isinstance(evaluation, ExplainedEvaluation):
        return evaluation
    verdict, signals = evaluation.verdict, evaluation.signals
    gates = tuple(replace(gate, sentence=gate_sentence(gate, signals)) for gate in verdict.gates)
    issues = tuple(
        Issue(**{name: value for name, value in found if name in Detected.model_fields}, **_explanation(found, gates))
        for found in evaluation.findings
    )
    issues = (*map(partial(_confirmed_by_logs, evaluation=evaluation), issues[:1]), *issues[1:])
    words = Words(evaluation, gates, issues)
    return ExplainedEvaluation.model_construct(
        **{
            **{name: value for name, value in evaluation if name in ExplainedEvaluation.model_fields},
            "verdict": verdict.model_copy(update={"gates": gates}),
            "findings": issues,
            "summary": words.summary(),
            "narrative": words.narrative(),
        }
    )


def _confirmed_by_logs(issue: Issue, evaluation: Evaluation) -> Issue:
    """The first finding, with the log pattern that fits it best and was seen lately; unchanged where there is none."""
    since = evaluation.time - TimeDelta(seconds=LOGS_WITHIN_SEC)
    lately = [p for p in evaluation.signals.logs if p.last_seen >= since]
    fitting = BY_NAME[issue.finding].logs if issue.finding in BY_NAME and issue.phase == "now" else ()
    for name in fitting:
        if same := [p for p in lately if p.pattern == name and not p.mined]:
            lines = max(same, key=lambda p: p.count)
            said = f" The {lines.service} log says so too: “{name}”, {count(lines.count, 'line')}."
            return issue.model_copy(update={"likely_cause": issue.likely_cause + said})
    return issue


def explained_issue(stored: DetectedIssue) -> StoredIssue:
    """A stored issue explained, as it was last seen."""
    return StoredIssue(**{**dict(stored), **_explanation(stored, ())})


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


def _explanation(detected: Detected, gates: tuple[GateResult, ...]) -> dict[str, Any]:
    """What a finding gets from its explanation."""
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
    elif detected.phase == "fading":
        description, cause = "Within its limit again, and not surely over.", f"Last known cause: {lowered(cause)}"
    elif detected.phase == "after":
        title, description = f"“{title}” is over, its effects are not", "No longer observed."
        cause = f"Last known cause: {lowered(cause)}"
    elif detected.phase == "unsure":
        description = "Too little can be read to tell whether anything is over its limit."
        cause = f"Last known cause: {lowered(cause)}"
    actions = (_suggested(detected, offered) for offered in detected.actions)
    return {
        "title": title,
        "description": description,
        "likely_cause": cause,
        "suggested_actions": tuple(a for a in actions if a is not None),
    }


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
