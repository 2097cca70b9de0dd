"""Property 1: primary signals are indicators of progress, amplifiers of pressure, and only the former are judged."""

from hypothesis import given
from hypothesis import strategies as st

from copilot.rules.flow import cluster_flow, queue_flows
from copilot.rules.gates.context import GateContext
from copilot.rules.gates.registry import judge
from copilot.rules.memory import Memory
from copilot.rules.signals.readings import Signals
from copilot.rules.signals.spec import SignalSpec
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.thresholds import Thresholds
from tests.properties.test_state_machine import EXPLAINING, rates, ticks, with_readings

GROUPS = {
    "primary": "state_transitions workflow_completion history frontend matching poller workflow_tasks activity_tasks "
    "persistence demand system_workers queries visibility",
    "amplifier": "persistence_contention connection_pool queue worker cache shard grpc runtime host throttling deploy "
    "log_patterns clients calls visibility_store history_length workflow_lock schedules nexus archival replication "
    "certificates limits namespaces",
    "worker": "workers worker_cache worker_poll worker_tasks version",
}
"""The groups of signals."""
KIND = {group: kind for kind, groups in GROUPS.items() for group in groups.split()}


@given(st.sampled_from(list(SPECS.values())))
def test_1_a_signals_kind_is_that_of_its_group(found: SignalSpec) -> None:
    """Those that tell of progress decide, those that tell of pressure or of workers explain."""
    assert found.kind == KIND[found.id.split(".")[0]]


@given(ticks(), st.dictionaries(st.sampled_from(EXPLAINING), st.one_of(rates, st.none()), max_size=8))
def test_1_gates_judge_by_primary_signals_and_cite_nothing_else(tick: Signals, noise: dict[str, float | None]) -> None:
    def judged(signals: Signals) -> tuple[object, ...]:
        flows = cluster_flow(signals), queue_flows(signals)
        results = judge(GateContext(signals, *flows, Memory(), Thresholds(), 30.0, signals.time))
        assert {i for r in results for i in r.evidence if i in SPECS and SPECS[i].kind != "primary"} == set()
        return results

    assert judged(tick) == judged(with_readings(tick, noise))
