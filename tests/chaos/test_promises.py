"""A promise that is broken is found, and one that is kept is not called broken."""

from dataclasses import replace

import pytest

from chaos import promises
from chaos.deeds import Outage, away_between
from chaos.evidence import Assessed, Evidence, Verdict
from chaos.promises import Promise
from chaos.readers import Seen

KEPT = Evidence(
    evaluated=[Verdict(100, "happy"), Verdict(102, "stressed"), Verdict(104, "stressed")],
    stored=[Verdict(100, "happy"), Verdict(102, "stressed"), Verdict(104, "stressed")],
    assessed=[Assessed(100, "state_change"), Assessed(102, "state_change"), Assessed(104, "scheduled")],
    assessments=[Assessed(100, "state_change"), Assessed(102, "state_change"), Assessed(104, "scheduled")],
    loops={"observe-chaos": ["CONTINUED_AS_NEW", "RUNNING"], "scheduled-chaos": ["RUNNING"]},
    runs_counted={"observe-chaos": 2, "scheduled-chaos": 1},
    others=["COMPLETED", "COMPLETED"],
    unsettled="",
)

ONE = "one loop of each kind, never lost or duplicated"


def broken(*found: Promise) -> list[str]:
    return [promise.name for promise in found if promise.broken]


def test_what_is_kept_is_not_called_broken() -> None:
    assert broken(*promises.kept_once(KEPT), *promises.one_loop(KEPT)) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        pytest.param({"stored": KEPT.stored[:2]}, "every evaluated tick is stored", id="lost"),
        pytest.param({"stored": [*KEPT.stored, KEPT.stored[0]]}, "no tick is stored twice", id="twice"),
        pytest.param(
            {"stored": [*KEPT.stored, Verdict(106, "happy")]}, "only evaluated ticks are stored", id="made up"
        ),
        pytest.param(
            {"evaluated": [*KEPT.evaluated, Verdict(102, "happy")]}, "no tick is evaluated twice", id="a moment twice"
        ),
        pytest.param(
            {"stored": [Verdict(100, "critical"), *KEPT.stored[1:]]},
            "stored verdicts equal the evaluated ones",
            id="changed",
        ),
        pytest.param(
            {"assessed": KEPT.assessed[1:], "assessments": KEPT.assessments[1:]},
            "every change of state leads to an assessment",
            id="a change nobody keeps",
        ),
        pytest.param({"assessments": KEPT.assessments[:2]}, "every assessment is stored once", id="no assessment"),
        pytest.param(
            {"assessments": [*KEPT.assessments, KEPT.assessments[0]]},
            "every assessment is stored once",
            id="two assessments",
        ),
        pytest.param({"unsettled": "3 pending"}, "everything is stored at the end", id="never arrived"),
        pytest.param({"loops": {**KEPT.loops, "scheduled-chaos": ["RUNNING"] * 2}}, ONE, id="two loops"),
        pytest.param({"loops": {**KEPT.loops, "scheduled-chaos": ["FAILED"]}}, ONE, id="no loop"),
        pytest.param({"loops": {**KEPT.loops, "scheduled-chaos": []}}, ONE, id="a loop never started"),
        pytest.param({"runs_counted": {**KEPT.runs_counted, "observe-chaos": 3}}, ONE, id="a run too few"),
        pytest.param({"others": ["COMPLETED", "FAILED"]}, "child workflows complete", id="a failed child"),
    ],
)
def test_each_way_to_break_a_promise_is_found(changed: dict[str, object], name: str) -> None:
    evidence = replace(KEPT, **changed)  # type: ignore[arg-type]
    assert broken(*promises.kept_once(evidence), *promises.one_loop(evidence)) == [name]


def test_a_hole_is_measured_against_the_outages_in_it() -> None:
    ticks = [100, 102, 132, 134]
    assert promises.no_long_hole(ticks, [], 2).broken
    assert promises.no_long_hole(ticks, [Outage("copilot-worker", 103, 108)], 2).broken
    assert not promises.no_long_hole(ticks, [Outage("copilot-worker", 103, 128)], 2).broken


def test_outages_that_overlap_count_once() -> None:
    both = [Outage("a", 10, 20), Outage("b", 15, 30), Outage("c", 16, 18), Outage("d", 90, 99)]
    assert away_between(both, 0, 50) == 20
    assert away_between(both, 12, 25) == 13


def test_two_verdicts_for_one_moment_are_found_and_age_is_not_taken_for_one() -> None:
    seen = [Seen("status", 103, 102, "stressed"), Seen("page", 200, 102, "unknown")]
    assert broken(*promises.one_verdict_a_moment(seen, {}, KEPT, [])) == []
    seen.append(Seen("events", 104, 102, "happy"))
    assert broken(*promises.one_verdict_a_moment(seen, {}, KEPT, [])) == [
        "no client gets two verdicts for one tick",
        "every client gets the evaluated verdict",
    ]
    early = [Seen("status", 110, 102, "unknown")]
    assert broken(*promises.one_verdict_a_moment(early, {}, KEPT, [])) == ["every client gets the evaluated verdict"]
    told = {102: {"stressed", "happy"}}
    assert broken(*promises.one_verdict_a_moment([], told, KEPT, [])) == ["all timelines agree about a tick"]


def test_a_reader_taken_back_is_found_unless_the_api_was_killed_between() -> None:
    seen = [Seen("status", 105, 104, "happy"), Seen("status", 106, 102, "happy"), Seen("page", 107, 102, "happy")]
    assert promises.never_backwards(seen, [], []).broken
    assert not promises.never_backwards(seen, [105.5], []).broken
    assert not promises.never_backwards(seen, [], [(100, 110)]).broken


def test_an_old_verdict_shown_as_fresh_is_found() -> None:
    seen = [Seen("status", 101, 100, "happy", stale=False), Seen("status", 103, 100, "happy", stale=False)]
    assert not promises.never_old_as_fresh(seen, 2).broken
    seen += [Seen("status", 110, 100, "happy", stale=True), Seen("page", 111, 100, "happy")]
    assert not promises.never_old_as_fresh(seen, 2).broken
    seen.append(Seen("status", 110, 100, "happy", stale=False))
    assert promises.never_old_as_fresh(seen, 2).broken
