"""Whose words are served, and that they stand below the rules' sentence about the state."""

from copilot.explain.model.answer import ModelExplanation, reworded
from copilot.explain.model.wording import carried, rules_stand, served, still_said
from copilot.rules.model import GateResult, Narrative, Severity
from tests.agents.answers import critical, sound
from tests.evaluations import NOON, evaluation, signals

JUDGED = critical()
ANSWER = ModelExplanation.model_validate(sound())


def test_the_rules_sentence_about_the_state_comes_first() -> None:
    explained = served(JUDGED, ANSWER)
    assert explained.summary == f"{JUDGED.summary} {ANSWER.summary}"
    assert explained.narrative.why.startswith(ANSWER.narrative.why)
    assert explained.narrative.why.endswith(ANSWER.factors[0].words)


def test_what_a_model_leaves_empty_the_rules_say() -> None:
    bare = Narrative(setting="", trigger="", reactions=(), why="Because.", meaning="", watch_next="")
    said = served(JUDGED, ANSWER.model_copy(update={"narrative": bare, "factors": ()})).narrative
    assert said == JUDGED.narrative.model_copy(update={"why": "Because."})


def test_a_models_actions_stand_before_those_of_the_rules_it_has_none_for() -> None:
    (advice,) = served(JUDGED, ANSWER).actions
    assert (advice.finding, advice.subject) == ("no_pollers", "orders")
    assert advice.actions == ANSWER.actions
    alert = ANSWER.actions[0].model_copy(update={"target_service": "metrics"})
    (advice,) = served(JUDGED, ANSWER.model_copy(update={"actions": (alert,)})).actions
    assert advice.actions == (alert, *JUDGED.findings[0].suggested_actions)


def test_words_of_before_say_of_when_they_are_and_leave_the_present_to_the_rules() -> None:
    explained = carried(JUDGED, ANSWER, "2026-11-22T11:55:00Z")
    assert explained.summary == JUDGED.summary
    assert "2026-11-22T11:55:00Z" in explained.note


def test_where_the_rules_stand_nothing_changes_but_a_note() -> None:
    stands = reworded(JUDGED, rules_stand(JUDGED, "No model"))
    assert stands == JUDGED.model_copy(update={"explanation_note": "No model: the rules' words."})


def test_a_models_words_stand_at_later_ticks_while_nothing_but_numbers_changes() -> None:
    explained = reworded(JUDGED, served(JUDGED, ANSWER))
    later = critical().model_copy(
        update={"time": NOON.add(seconds=30), "signals": signals(matching__backlog_count=1300.0), "summary": "Now."}
    )
    said = still_said(later, explained)
    assert (said.explained_by, said.summary, said.narrative) == ("model", "Now.", explained.narrative)
    assert said.findings[0].suggested_actions == explained.findings[0].suggested_actions
    assert said.verdict == later.verdict
    assert "2026-11-22T12:00:00Z" in said.explanation_note


def test_one_more_gate_of_the_same_findings_does_not_end_them() -> None:
    explained = reworded(JUDGED, served(JUDGED, ANSWER))
    gate = GateResult(name="falling_behind", severity=Severity.CRITICAL, fired=True)
    verdict = JUDGED.verdict.model_copy(update={"gates": (*JUDGED.verdict.gates, gate)})
    later = critical().model_copy(update={"time": NOON.add(seconds=30), "verdict": verdict})
    assert still_said(later, explained).explained_by == "model"
    other = later.model_copy(update={"findings": later.findings[:1]})
    assert still_said(other, explained).explained_by == "rules"


def test_a_models_words_end_with_the_situation_and_never_go_back_in_time() -> None:
    explained = reworded(JUDGED, served(JUDGED, ANSWER))
    happy = evaluation("happy", NOON.add(seconds=30))
    earlier = critical().model_copy(update={"time": NOON.subtract(seconds=30)})
    for other in (happy, earlier):
        assert still_said(other, explained) == other
    later = critical().model_copy(update={"time": NOON.add(seconds=30)})
    assert still_said(later, JUDGED) == later
    assert still_said(later, None) == later


def test_advice_that_breaks_a_scaling_rule_by_now_is_left_out() -> None:
    down = ANSWER.actions[0].model_copy(update={"parameters": {"direction": "down"}})
    explained = reworded(JUDGED, served(JUDGED, ANSWER.model_copy(update={"actions": (down,)})))
    later = critical().model_copy(update={"time": NOON.add(seconds=30)})
    assert down not in still_said(later, explained).findings[0].suggested_actions
