"""The labels, the scenarios against them, and the document beside a recording."""

from pathlib import Path

import pytest
from whenever import TimeDelta

from copilot.demo.watched import WORKERS
from copilot.demo.workflows import BILLING, ORDERS
from copilot.rules.model import BottleneckClassification, ReportedState
from lab import cluster_scenarios
from lab.labels import LabelError, cluster_labels, label_of, labels, read_labels
from lab.recorded_run import Marks, Taken
from lab.scenarios import SCENARIOS, Scenario, ScenarioError, scenario_named
from tests.evaluations import NOON


def test_a_label_says_what_may_and_must_be_said() -> None:
    full, bare = label_of("slots-exhausted"), label_of("idle")
    assert (full.states, full.reaches) == ((ReportedState.STRESSED, ReportedState.CRITICAL), ReportedState.CRITICAL)
    assert (full.cause, full.bottleneck) == (("slots_exhausted",), (BottleneckClassification.WORKER_LIMITED,))
    assert (full.needs, full.not_said) == (("sdk",), ("scale down",))
    assert (bare.reaches, bare.cause, bare.bottleneck, bare.needs, bare.not_said) == (None, (), (), (), ())


def test_no_label_allows_what_it_forbids() -> None:
    both = {**labels(), **cluster_labels()}
    assert {name for name, label in both.items() if set(label.states) & set(label.never)} == set()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("[idle\n", "is not TOML", id="no TOML"),
        pytest.param('[idle]\nstates = ["cheerful"]\n', r"idle\.states\.0: ", id="no such state"),
        pytest.param("[idle]\nstates = []\n", r"idle\.states: ", id="no state"),
        pytest.param('[idle]\nnever = ["critical"]\n', r"idle\.states: Field required", id="no states"),
        pytest.param('[idle]\nstates = ["happy"]\ncauses = ["x"]\n', r"idle\.causes: Extra", id="a key nobody reads"),
        pytest.param('[idle]\nstates = ["happy"]\nneeds = ["luck"]\n', r"idle\.needs\.0: ", id="no such source"),
        pytest.param("idle = 3\n", "idle: ", id="no table"),
    ],
)
def test_a_wrong_label_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "labels.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=why):
        read_labels(file)


def test_missing_labels_are_reported(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="No such file"):
        read_labels(tmp_path / "labels.toml")
    with pytest.raises(LabelError, match="no label for 'earthquake'"):
        label_of("earthquake")


def taken(judged_after: float | None = None) -> Taken:
    before, fault, after, end = (NOON + TimeDelta(seconds=at) for at in (0.0, 60.0, 360.0, 480.0))
    marks = Marks(before=before, fault=fault, after=after, end=end)
    return Taken(scenario="x", marks=marks, taken="2026-11-22", machine={}, label_judged_after_sec=judged_after)


def test_what_is_written_beside_a_recording_can_be_read_again() -> None:
    document = taken(190.0).document()
    assert Taken.model_validate_json(document) == taken(190.0)
    assert '"fault": "2026-11-22T12:01:00Z"' in document
    assert "label_judged_after_sec" not in taken().document()


def test_every_label_has_a_scenario_that_says_in_one_sentence_what_happens() -> None:
    of_cluster = cluster_scenarios.SCENARIOS
    assert (set(SCENARIOS), set(of_cluster)) == (set(labels()), set(cluster_labels()))
    both = {**SCENARIOS, **of_cluster}
    assert {name for name, each in both.items() if each.name != name or len(each.what) < 15} == set()
    assert len({each.what for each in both.values()}) == len(both) == len(SCENARIOS) + len(of_cluster)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda each: each.name)
def test_each_begins_with_a_stock_server_and_workers_for_all_work(scenario: Scenario) -> None:
    baseline = scenario.baseline
    assert baseline.dynamic_config == {}
    assert set(baseline.workers) == set(WORKERS)
    assert {queue for tuning in baseline.workers.values() for queue in tuning.queues} == {ORDERS, BILLING}
    assert {ORDERS, BILLING} <= set(scenario.queues)
    assert 0 < baseline.load.short_per_sec + baseline.load.long_per_sec <= 3, "light enough for several at once"


def test_a_queue_with_a_share_of_its_own_has_a_worker_of_its_own() -> None:
    for name, share in (("one-of-two-queues", 0.4), ("small-queue-without-workers", 0.05)):
        baseline = SCENARIOS[name].baseline
        assert baseline.load.billing_share == share
        assert [tuning.queues for tuning in baseline.workers.values()] == [(ORDERS,), (BILLING,)]


def test_a_name_nobody_knows_is_answered_with_those_there_are() -> None:
    assert scenario_named("idle") is SCENARIOS["idle"]
    with pytest.raises(ScenarioError, match="there is no scenario 'earthquake'; choose one of healthy, idle, "):
        scenario_named("earthquake")
