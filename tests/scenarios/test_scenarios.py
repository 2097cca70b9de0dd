"""The rules on the earlier, shorter recordings of the demo's faults, against the labels of the lab."""

from pathlib import Path

import pytest

from copilot.demo.faults import FAULTS
from lab.judge import RunScore, judge, mistakes_of, play
from lab.labels import label_of
from lab.recorded_run import find_runs, load_run

RUNS = find_runs(Path(__file__).parent)


@pytest.fixture(scope="module", params=RUNS)
def score(request: pytest.FixtureRequest) -> RunScore:
    run = load_run(request.param, RUNS[request.param])
    return judge(run, label_of(run.name), play(run))


def test_every_verdict_is_one_that_the_label_allows(score: RunScore) -> None:
    assert list(mistakes_of(score)) == []
    assert score.fine
    assert score.false_alarms == 0


def test_every_fault_of_the_demo_has_a_recording_or_a_live_test() -> None:
    live = {"workers-down", "server-frozen", "bad-deploy", "stuck-workflow-tasks"}
    assert set(FAULTS) - live <= set(RUNS)
