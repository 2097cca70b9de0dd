"""The table of scenarios against the labels, and the settings each asks for."""

import pytest

from copilot.demo.watched import WORKERS
from copilot.demo.workflows import BILLING, ORDERS
from lab.labels import labels
from lab.scenarios import SCENARIOS, Scenario, ScenarioError, scenario_named


def test_every_label_has_a_scenario() -> None:
    assert set(SCENARIOS) == set(labels())


def test_each_says_in_one_sentence_what_happens() -> None:
    assert {name for name, each in SCENARIOS.items() if each.name != name or len(each.what) < 15} == set()
    assert len({each.what for each in SCENARIOS.values()}) == len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda each: each.name)
def test_each_begins_with_a_stock_server_and_workers_for_all_work(scenario: Scenario) -> None:
    usual = scenario.usual
    assert usual.dynamic_config == {}
    assert set(usual.workers) == set(WORKERS)
    assert {queue for tuning in usual.workers.values() for queue in tuning.queues} == {ORDERS, BILLING}
    assert {ORDERS, BILLING} <= set(scenario.queues)
    assert 0 < usual.load.short_per_sec + usual.load.long_per_sec <= 3, "light enough for several at once"


def test_a_queue_with_a_share_of_its_own_has_a_worker_of_its_own() -> None:
    for name, share in (("one-of-two-queues", 0.4), ("small-queue-without-workers", 0.05)):
        usual = SCENARIOS[name].usual
        assert usual.load.billing_share == share
        assert [tuning.queues for tuning in usual.workers.values()] == [(ORDERS,), (BILLING,)]


def test_a_name_nobody_knows_is_answered_with_those_there_are() -> None:
    assert scenario_named("idle") is SCENARIOS["idle"]
    with pytest.raises(ScenarioError, match="no scenario is called 'earthquake'; there are healthy, idle, "):
        scenario_named("earthquake")
