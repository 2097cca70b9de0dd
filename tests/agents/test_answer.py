"""How an explanation is applied: below the rules' sentence about the state, and never above their first action."""

from copilot.explain import ExplainedEvaluation, explained
from copilot.explain.model.answer import ActionRef, Answer, apply_explanation, carry_over, rules_explanation
from copilot.explain.model.check import model_explanation
from copilot.explain.model.evidence import evidence
from copilot.rules.model import ActionType, GateResult, Severity
from tests.agents.answers import critical, sound
from tests.evaluations import NOON, evaluation, scale_workers, signals

ALERT = scale_workers(key="alert_clients", action_type=ActionType.ALERT)
RESTART = scale_workers(key="restart_workers", action_type=ActionType.RESTART)


def judged() -> ExplainedEvaluation:
    """Critical, with three actions for its finding."""
    made = explained(critical())
    first = made.findings[0]
    actions = (*first.suggested_actions, ALERT, RESTART)
    return made.model_copy(update={"findings": (first.model_copy(update={"suggested_actions": actions}),)})


JUDGED = judged()
CHOICES = (ActionRef(finding="no_pollers", action="restart_workers"), ActionRef(finding="no_pollers", action="x"))
ANSWER = Answer.model_validate(sound()).model_copy(update={"actions": CHOICES})
EXPLANATION = model_explanation(JUDGED, ANSWER, evidence(JUDGED))
EXPLAINED = apply_explanation(JUDGED, EXPLANATION)


def at(seconds: float, **changed: object) -> ExplainedEvaluation:
    return judged().model_copy(update={"time": NOON.add(seconds=seconds), **changed})


def test_the_rules_sentence_about_the_state_comes_first_and_empty_parts_stay_the_rules() -> None:
    assert EXPLANATION.summary.startswith(JUDGED.summary.partition(". ")[0])
    assert EXPLANATION.summary.endswith("No worker polls `orders`, so its 113 tasks wait.")
    assert EXPLANATION.narrative.why.endswith(ANSWER.factors[0].sentence)
    bare = model_explanation(JUDGED, Answer(summary="S.", why="Because."), evidence(JUDGED)).narrative
    assert bare == JUDGED.narrative.model_copy(update={"why": "Because."})


def test_chosen_actions_move_up_below_the_rules_first_action() -> None:
    first, chosen, other = EXPLAINED.findings[0].suggested_actions
    assert (first, other) == (JUDGED.findings[0].suggested_actions[0], ALERT)
    assert chosen == RESTART.model_copy(update={"source": "model"})


def test_where_the_rules_explain_nothing_changes_but_a_note() -> None:
    explained = apply_explanation(JUDGED, rules_explanation(JUDGED, "No model answered"))
    assert explained == JUDGED.model_copy(update={"explanation_note": "Explained by the rules: no model answered."})


def test_an_explanation_is_carried_over_while_only_numbers_change() -> None:
    gate = GateResult(name="falling_behind", severity=Severity.CRITICAL, fired=True)
    verdict = JUDGED.verdict.model_copy(update={"gates": (*JUDGED.verdict.gates, gate)})
    later = at(30, signals=signals(matching__backlog_count=1300.0), summary="Now.", verdict=verdict)
    carried = carry_over(later, EXPLAINED)
    assert (carried.explained_by, carried.summary, carried.narrative) == ("model", "Now.", EXPLAINED.narrative)
    assert carried.findings == EXPLAINED.findings
    assert carried.verdict == later.verdict
    assert "2026-11-22T12:00:00Z" in carried.explanation_note


def test_an_explanation_ends_with_its_situation_and_never_goes_back_in_time() -> None:
    happy = explained(evaluation("happy", NOON.add(seconds=30)))
    for other in (happy, at(-30), at(30, findings=())):
        assert carry_over(other, EXPLAINED) == other
    for earlier in (JUDGED, None):
        assert carry_over(at(30), earlier) == at(30)


def test_an_action_that_the_rules_no_longer_suggest_is_not_carried_over() -> None:
    findings = explained(critical()).findings
    assert carry_over(at(30, findings=findings), EXPLAINED).findings == findings
