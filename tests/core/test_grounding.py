"""A model's answer is served only if the evidence bears it out: no hostile one gets through, and sound ones do."""

from typing import Any

import pytest

from copilot.explain.model.advice import as_meant
from copilot.explain.model.answer import ModelExplanation
from copilot.explain.model.evidence import LONGEST_LOG, MOST_LOGS, MOST_NAMES, Passage, evidence
from copilot.explain.model.grounding import CHECKS, Grounded, Reason, Refused, grounded, parsed
from copilot.explain.model.quantities import said
from copilot.rules.model import ActionType, SuggestedAction
from copilot.rules.signals.readings import LogPattern
from tests.core.grounding_situations import answer_of, evaluation, evidence_of, hostile, sound

SOUND, HOSTILE = sound(), hostile()
FULL = "slots-exhausted@24"


def full_workers(**changed: Any) -> dict[str, Any]:
    """A sound answer with some parts replaced."""
    return next(d for d in SOUND if d["situation"] == FULL) | changed


def reasons(document: dict[str, Any]) -> set[Reason]:
    """Why an answer is refused; nothing if it is not."""
    answer = grounded(answer_of(document), evidence_of(document))
    return set(answer.counts()) if isinstance(answer, Refused) else set()


@pytest.mark.parametrize("document", SOUND, ids=lambda d: d["name"])
def test_a_sound_answer_is_served(document: dict[str, Any]) -> None:
    answer = grounded(answer_of(document), evidence_of(document))
    assert isinstance(answer, Grounded), answer.objections


@pytest.mark.parametrize("document", HOSTILE, ids=lambda d: d["name"])
def test_a_hostile_answer_is_refused_for_what_is_wrong_with_it(document: dict[str, Any]) -> None:
    assert Reason(document["reason"]) in reasons(document)


def test_the_corpus_is_large_enough_and_tries_every_check() -> None:
    assert len(HOSTILE) >= 60
    assert len(SOUND) == 40
    assert len({d["name"] for d in HOSTILE}) == len(HOSTILE)
    assert {d["reason"] for d in HOSTILE} == {r.value for r in Reason} - {"malformed"}


def test_every_check_refuses_something_no_other_does() -> None:
    alone: set[Reason] = set()
    for document in HOSTILE:
        found = reasons(document)
        alone |= found if len(found) == 1 else set()
    assert alone == set(Reason) - {Reason.MALFORMED}
    assert len(CHECKS) == len(Reason) - 2  # size is looked at first, the shape before that


def test_an_answer_has_no_field_for_a_state() -> None:
    fields = str(ModelExplanation.model_json_schema()["properties"]).lower()
    assert "state" not in fields
    assert isinstance(parsed('{"health_state": "happy", "summary": "x"}'), Refused)


def test_what_is_no_json_and_what_is_huge_is_refused() -> None:
    for document, reason in (("{", Reason.MALFORMED), ("[]", Reason.MALFORMED), ("x" * 1_000_000, Reason.SIZE)):
        answer = parsed(document)
        assert isinstance(answer, Refused)
        assert set(answer.counts()) == {reason}


def test_an_answer_in_json_is_read() -> None:
    answer = answer_of(full_workers())
    assert parsed(answer.model_dump_json()) == answer


def test_served_actions_are_the_models_and_carry_what_the_scaling_rules_add() -> None:
    document = full_workers()
    answer = grounded(answer_of(document), evidence_of(document))
    assert isinstance(answer, Grounded)
    assert {a.source for a in answer.answer.actions} == {"model"}
    assert answer.answer.actions[0].parameters["rule"] == "sticky_queue_warning"
    assert [a.action_type for a in answer.answer.actions] == [ActionType.SCALE, ActionType.RESTART]


def test_objections_are_kept_without_the_secret() -> None:
    document = full_workers(why="The log shows AKIAIOSFODNN7EXAMPLE.")
    answer = grounded(answer_of(document), evidence_of(document))
    assert isinstance(answer, Refused)
    assert "AKIAIOSFODNN7EXAMPLE" not in str(answer)


@pytest.mark.parametrize(
    "text",
    [
        "The oldest task waits 159 s.",
        "The oldest task waits 159,258 ms.",
        "The oldest task waits 2.65 minutes.",
        "The oldest task waits 2 min 39 s.",
        "About 540 tasks wait.",
        "More than 500 tasks wait.",
        "Fewer than 600 tasks wait.",
        "Eight activity slots are used.",
        "0.67 workflows complete each second.",
        "Exactly 75 % of dispatched tasks met a poller.",
        "three quarters of the tasks met a poller.",
        "The 1st cause at p99 and the 95th percentile.",
        "At 14:27 UTC, and at 14:27:18Z on 2026-11-22.",
    ],
)
def test_numbers_may_be_rounded_and_said_in_other_units(text: str) -> None:
    assert Reason.NUMBER not in reasons(full_workers(setting=text))


@pytest.mark.parametrize(
    "text",
    [
        "The oldest task waits 161 s.",
        "The oldest task waits 159 ms.",
        "About 640 tasks wait.",
        "More than 600 tasks wait.",
        "Fewer than 400 tasks wait.",
        "Exactly 85 % of dispatched tasks met a poller.",
        "At 14:28 UTC it began.",
        "541 pollers are left.",
    ],
)
def test_a_number_nobody_measured_is_refused(text: str) -> None:
    assert Reason.NUMBER in reasons(full_workers(setting=text))


def test_a_step_is_known_when_a_runbook_has_it() -> None:
    passage = {"source": "slots.md", "text": "1. Look.\n2. Add workers."}
    known, unknown = (full_workers(meaning=f"Step {n} of slots.md applies.", passages=[passage]) for n in (2, 3))
    assert reasons(known) == set()
    assert reasons(unknown) == {Reason.NUMBER}


def test_log_text_gives_neither_numbers_nor_names_but_may_be_quoted_whole() -> None:
    log = {"pattern": "queue payments_eu holds lock_table", "count": 7, "service": "history"}
    assert reasons(full_workers(why="The table lock_table is held.", logs=[log])) == {Reason.NAME}
    assert reasons(full_workers(why="History says `queue payments_eu holds lock_table`, 7 times.", logs=[log])) == set()


def test_words_of_a_description_count_as_parameters() -> None:
    action = SuggestedAction(
        action_type=ActionType.SCALE,
        target_service="workers",
        description="Reduce the number of workers.",
        confidence=0.5,
        risk_level="low",
    )
    assert as_meant(action).parameters == {"direction": "down"}


def test_evidence_is_bounded_and_holds_no_secret() -> None:
    judged = evaluation(FULL)
    logs = [
        LogPattern(pattern=f"bob@example.org {'x ' * 5000}", count=1, service="history", last_seen=judged.time)
    ] * 99
    passages = [Passage(source="a.md", text="dial postgres://u:geheim@db/x " * 9999)] * 99
    known = evidence(judged, logs, passages)
    assert len(known.logs) == MOST_LOGS
    assert all(len(text) <= LONGEST_LOG for text in known.logs)
    assert "bob@" not in str(known)
    assert "geheim" not in str(known)
    assert len(known.names) <= MOST_NAMES
    assert len(str(known)) < 250_000


def test_numbers_are_read_with_their_units() -> None:
    read = {
        s.text: s.dimension for s in said("4/s, 12.5 s, 60 %, 1.5k tasks, 26 failed requests/s, twelve slots, 3 times")
    }
    assert read == {
        "4/s": "rate",
        "12.5 s": "time",
        "60 %": "share",
        "1.5k": None,
        "26": "rate",
        "twelve": None,
        "3 times": "times",
    }
