"""The verdict on every recorded incident, as recorded and with other thresholds; see test_whole_lab for variants."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from copilot.errors import RecordingError
from copilot.rules.model import Evaluation
from copilot.rules.thresholds import Thresholds
from lab.judge import RunScore, Share, judge, play
from lab.labels import LabelError, label_of
from lab.recorded_run import RecordedRun, load_run
from lab.score import ACCURACY, TOP_CAUSE, percent, score_lab, total
from tests.lab.runs import RECORDED, scored
from tests.lab.watched_thresholds import watched

# What is not met, so that a cure must remove its line.
UNMET_THRESHOLDS: dict[str, set[str]] = {}


@pytest.fixture(scope="module", params=list(RECORDED))
def run(request: pytest.FixtureRequest) -> RecordedRun:
    return load_run(request.param, RECORDED[request.param])


@pytest.fixture(scope="module")
def evaluations(run: RecordedRun) -> list[Evaluation]:
    return play(run)


def test_the_verdict_on_a_recorded_incident_is_right(run: RecordedRun, evaluations: list[Evaluation]) -> None:
    score = judge(run, label_of(run.name), evaluations)
    often_wrong = len(score.wrong) > 1 and (score.states.ratio or 0.0) < ACCURACY
    mistakes = {
        "missed": score.missed,
        "called critical, and it is not": score.false_criticals,
        "called happy, and it is not": score.false_happies,
        "another state": score.wrong if often_wrong else (),
        "flaps": score.flaps,
        "another cause": score.cause.ratio is not None and score.cause.ratio < TOP_CAUSE and score.causes_said,
        "another cause at the end": score.cause_at_end is False,
        "another bottleneck": score.bottleneck.ratio is not None and score.bottleneck.ratio < TOP_CAUSE,
        "forbidden states": score.broken_never,
        "forbidden advice": score.forbidden_advice,
    }
    assert {mistake: what for mistake, what in mistakes.items() if what} == {}, score.wrong


def changed_thresholds() -> dict[str, Thresholds]:
    """Every single threshold a fifth lower and a fifth higher, by what was changed."""
    changed = {}
    for field, value in Thresholds().model_dump().items():
        for part in value if isinstance(value, dict) else (None,):
            for factor in (0.8, 1.2):
                document = Thresholds().model_dump()
                if part is None:
                    document[field] = value * factor
                else:
                    document[field][part] = value[part] * factor
                name = field if part is None else f"{field}.{part}"
                changed[f"{name} ×{factor:g}"] = Thresholds.model_validate(document)
    return changed


def outcome(score: RunScore) -> tuple[str, str | None]:
    """The worst state in the fault and the cause that came first most often."""
    return score.worst.value, next(iter(score.causes_said), None)


def flips(run: RecordedRun, evaluations: list[Evaluation], sets: Iterable[str]) -> set[str]:
    """Those of the changed thresholds under which the outcome is not that of these evaluations."""
    label, changed = label_of(run.name), changed_thresholds()
    usual = outcome(judge(run, label, evaluations))
    return {what for what in sets if outcome(judge(run, label, play(run, changed[what]))) != usual}


def mattering(run: RecordedRun) -> set[str]:
    """Those of the changed thresholds under which some comparison ends otherwise; under all others the same is said."""
    thresholds, noted = watched(changed_thresholds())
    play(run, thresholds)
    return noted


def test_no_single_threshold_changed_by_a_fifth_changes_the_worst_state_or_the_first_cause(
    run: RecordedRun, evaluations: list[Evaluation]
) -> None:
    ticks = tuple(tick for tick in run.ticks if tick.time < run.taken.marks.after)  # What follows does not count.
    begun = replace(run, ticks=ticks)
    assert flips(begun, evaluations[: len(ticks)], mattering(begun)) == UNMET_THRESHOLDS.get(run.name, set())


def test_thresholds_that_change_no_comparison_change_nothing_that_is_said() -> None:
    whole = load_run("slow-ramp", RECORDED["slow-ramp"])
    run = replace(whole, ticks=whole.ticks[10:22])
    noted, said = mattering(run), words(play(run))
    for what, thresholds in changed_thresholds().items():
        assert what in noted or words(play(run, thresholds)) == said, what
    assert 0 < len(noted) < len(changed_thresholds()) / 2


def words(evaluations: list[Evaluation]) -> list[tuple[object, ...]]:
    """What is said at each tick, but for the limits that are named beside it."""
    return [
        (e.verdict.health_state, e.verdict.fired(), e.bottleneck, [f.finding for f in e.findings]) for e in evaluations
    ]


def test_every_threshold_is_changed_both_ways() -> None:
    changed = changed_thresholds()
    set_by_default = {field for field, value in Thresholds().model_dump().items() if value}
    assert {what.split(" ")[0].split(".")[0] for what in changed} == set_by_default
    assert len({t.digest() for t in changed.values()}) == len(changed)
    with pytest.raises(ValidationError):
        Thresholds.model_validate(Thresholds().model_dump() | {"backlog_age_sec": 200.0})


def test_sums_are_of_evaluations_not_of_runs() -> None:
    fine = scored({"states": ["happy"]})
    alarmed = scored({"states": ["happy"], "never": ["stressed"]}, (100, "stressed"), (120, "happy"))
    sums = total([fine, alarmed])
    assert sums.states == fine.states + alarmed.states
    assert (sums.runs, sums.false_alarms, sums.flaps, sums.forbidden) == (2, 1, 1, (alarmed.scenario,))


def test_a_share_never_looks_better_than_it_is() -> None:
    assert percent(Share(right=9699, judged=10_000)) == "96.9 %"
    assert percent(Share(right=10, judged=10)) == "100 %"
    assert percent(Share()) == "–"


def test_without_recordings_there_is_nothing_to_score() -> None:
    with pytest.raises(RecordingError, match="no recording to score"):
        score_lab({}, with_variants=False)


def test_a_recording_without_a_label_is_said(tmp_path: Path) -> None:
    recorded = RECORDED["healthy"]
    shutil.copyfile(recorded, tmp_path / "klingons.jsonl.gz")
    note = json.loads(recorded.with_name("healthy.json").read_text(encoding="utf-8"))
    (tmp_path / "klingons.json").write_text(json.dumps(note | {"scenario": "klingons"}), encoding="utf-8")
    with pytest.raises(LabelError, match="klingons"):
        score_lab({"klingons": tmp_path / "klingons.jsonl.gz"}, with_variants=False)
