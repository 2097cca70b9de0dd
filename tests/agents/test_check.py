"""A sentence that the evidence does not support is dropped, and nothing else; every action is the catalogue's."""

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.explain import ExplainedEvaluation, explained
from copilot.explain.model.answer import ActionRef, Answer, Factor, apply_explanation
from copilot.explain.model.check import (
    LONGEST_PART,
    LONGEST_SENTENCE,
    MOST_ITEMS,
    Checked,
    checked,
    model_explanation,
    objection,
)
from copilot.explain.model.evidence import LONGEST_NAME, MOST_NAMES, evidence
from copilot.explain.model.knowledge import Passage
from copilot.explain.model.usage import LONGEST_ANSWER
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import BreakdownRow
from tests.agents.answers import SECRET, critical, logged, sound
from tests.evaluations import scale_workers

CORPUS = tomllib.loads((Path(__file__).parent / "benign.toml").read_text(encoding="utf-8"))
ROW = BreakdownRow(labels={"namespace": "default", "task_queue": "orders-v2", "task_type": "workflow"}, value=1204.0)


def with_rows(judged: Evaluation, *rows: BreakdownRow) -> ExplainedEvaluation:
    breakdowns = judged.signals.breakdowns | {"matching.backlog_count": rows}
    read = judged.signals.model_copy(update={"breakdowns": breakdowns})
    return explained(judged.model_copy(update={"signals": read}))


EVALUATION = with_rows(critical(), ROW)
EVIDENCE = evidence(EVALUATION)


def dropped(**changed: Any) -> dict[str, int]:
    left = checked(Answer.model_validate(sound(**changed)), EVIDENCE)
    return {reason.value: count for reason, count in left.dropped.items()}


def test_the_corpus_was_not_thinned_out() -> None:
    assert len(CORPUS["benign"]) == 40
    assert len(CORPUS["harmful"]) == 15


@pytest.mark.parametrize("sentence", CORPUS["benign"])
def test_a_benign_sentence_is_served(sentence: str) -> None:
    assert objection(sentence, EVIDENCE) is None
    assert checked(Answer.model_validate(sound(meaning=sentence)), EVIDENCE).answer.meaning == sentence


@pytest.mark.parametrize("case", CORPUS["harmful"], ids=lambda c: c["sentence"])
def test_a_harmful_sentence_is_dropped_for_its_digits_names_links_secrets_or_phrases(case: dict[str, str]) -> None:
    reason = objection(case["sentence"], EVIDENCE)
    assert (reason.value if reason else "") == case["dropped_for"]


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("Tasks wait for ½ hour.", "number"),
        ("{matching.backlog} tasks wait.", "reading"),
        ("The pool has {connection_pool.wait_count} waiters.", "reading"),
        ("{ tasks wait.", "reading"),
        ("Look at `orders.", "name"),
        ("Queue `orders and then some` waits.", "name"),
        ("Run `kubectl delete pod`.", "name"),
        ("The queue\x0b waits.", "characters"),
        ("The wоrkers are gone.", "characters"),
        ("Alles in \u202eOrdnung.", "characters"),
        ("Все задачи ждут.", "characters"),
        ("Workers are gone \U0001f916.", "characters"),
        ("See [this](somewhere).", "link"),
        ("See fix-temporal.io for help.", "link"),
        ("<b>Workers</b> are gone.", "link"),
        ("Truncate the backlog.", "phrase"),
        ("The workers " + "really " * 80 + "wait.", "length"),
    ],
)
def test_each_check_drops_what_it_is_for(sentence: str, reason: str) -> None:
    assert dropped(meaning=sentence) == {reason: 1}


def test_a_dropped_sentence_takes_no_other_with_it() -> None:
    answer = Answer.model_validate(sound(why="No worker polls. They died 7 times. Nothing is dispatched."))
    left = checked(answer, EVIDENCE)
    assert left.answer.why == "No worker polls. Nothing is dispatched."
    assert left.usable


@pytest.mark.parametrize("part", ["summary", "why"])
def test_an_answer_without_a_summary_or_a_cause_is_not_served(part: str) -> None:
    assert not checked(Answer.model_validate(sound(**{part: "They died 7 times."})), EVIDENCE).usable


def test_readings_are_filled_in_with_their_units_and_names_of_the_evidence_may_hold_digits() -> None:
    answer = Answer.model_validate(sound(
        why="{matching.backlog_count:default/orders-v2/workflow} tasks wait on `orders-v2` (orders-v2).",
        trigger="`{work_stalled.value}` against {work_stalled.threshold}; p99 is {frontend.latency_p99_ms}.",
    ))  # fmt: skip
    left = checked(answer, EVIDENCE)
    assert not left.dropped
    narrative = model_explanation(EVALUATION, left.answer, EVIDENCE).narrative
    assert narrative.why.startswith("1,204 tasks wait on `orders-v2` (orders-v2).")
    assert narrative.trigger == "`0 %` against 10 %; p99 is 267 ms."


def test_factors_and_actions_are_those_of_the_rules() -> None:
    assert dropped(factors=[{"finding": "disk_full", "sentence": "The disk is full."}]) == {"finding": 1}
    for finding, key in (("no_pollers", "restart_frontend"), ("disk_full", "start_workers"), ("no_pollers", "")):
        assert dropped(actions=[{"finding": finding, "action": key}]) == {"action": 1}


def test_an_action_that_breaks_a_scaling_rule_is_not_offered() -> None:
    down = scale_workers(parameters={"direction": "down"})
    findings = (EVALUATION.findings[0].model_copy(update={"suggested_actions": (down,)}),)
    full = EVALUATION.signals.readings | {"workers.workflow_slots_available": 0.0}
    read = EVALUATION.signals.model_copy(update={"readings": full})
    assert evidence(EVALUATION.model_copy(update={"findings": findings, "signals": read})).actions == frozenset()


def test_log_text_gives_no_names_but_patterns_that_we_know_do() -> None:
    judged = critical("default", logged("lock_table"), logged("no poller").model_copy(update={"mined": False}))
    known = evidence(explained(judged))
    assert objection("The table `lock_table` is held.", known) is not None
    assert objection("History logs `no poller`.", known) is None


def test_evidence_is_bounded_and_holds_no_secret() -> None:
    rows = [BreakdownRow(labels={"task_queue": f"{n} {SECRET} {'x' * 500}"}, value=n) for n in range(99)]
    passages = [Passage(source="a.md", title="T", text="dial postgres://u:geheim@db/x " * 9999, score=1)] * 99
    known = evidence(with_rows(critical(SECRET), *rows), passages)
    assert len(known.names) <= MOST_NAMES
    assert all(len(name) <= LONGEST_NAME for name in known.names)
    assert SECRET not in str(known)
    assert "geheim" not in str(known)
    assert len(str(known)) < 100_000


anything = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(
            [*CORPUS["benign"], *(c["sentence"] for c in CORPUS["harmful"]), "`", "{", "}", "\n", "7", "_", SECRET]
            + [f"{{{name}}}" for name in sorted(EVIDENCE.readings)]
            + [f"`{name}`" for name in sorted(EVIDENCE.names)]
        ),
        max_size=12,
    ).map(" ".join),
)
findings = st.one_of(st.sampled_from(sorted(EVIDENCE.findings)), st.text(max_size=20))
keys = st.one_of(st.sampled_from(["start_workers", "restart_workers", "alert_server", "delete_everything"]), anything)
answers = st.builds(
    Answer, summary=anything, why=anything, meaning=anything, setting=anything, trigger=anything, watch_next=anything,
    reactions=st.lists(anything, max_size=12).map(tuple),
    factors=st.lists(st.builds(Factor, finding=findings, sentence=anything), max_size=12).map(tuple),
    actions=st.lists(st.builds(ActionRef, finding=findings, action=keys), max_size=12).map(tuple),
)  # fmt: skip


@given(answers)
def test_whatever_a_model_writes_actions_are_the_catalogues_digits_are_ours_and_nothing_raises(answer: Answer) -> None:
    left = checked(answer, EVIDENCE)
    assert len(left.answer.model_dump_json()) <= LONGEST_ANSWER
    assert checked(left.answer, EVIDENCE) == Checked(left.answer, Counter())
    served = apply_explanation(EVALUATION, model_explanation(EVALUATION, left.answer, EVIDENCE))
    assert served.verdict == EVALUATION.verdict
    for mine, rules in zip(served.findings, EVALUATION.findings, strict=True):
        assert mine.suggested_actions[:1] == _marked(rules.suggested_actions[:1], mine.suggested_actions)
        assert {a.description for a in mine.suggested_actions} == {a.description for a in rules.suggested_actions}
        assert mine.model_copy(update={"suggested_actions": ()}) == rules.model_copy(update={"suggested_actions": ()})
    for text in (left.answer.summary, left.answer.why, left.answer.meaning, *left.answer.reactions):
        assert len(text) <= LONGEST_PART
        foreign = re.sub(r"\{[^{}]+\}|`[^`]*`|orders-v2|\bp99\b", "", text)
        assert not any(map(str.isnumeric, foreign))
        assert SECRET not in text
    assert len(left.answer.reactions) <= MOST_ITEMS
    assert LONGEST_SENTENCE <= LONGEST_PART


def _marked(first: tuple[Any, ...], served: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.model_copy(update={"source": s.source}) for a, s in zip(first, served, strict=False))
