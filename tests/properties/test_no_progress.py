"""No progress is critical, however it fails to fail: whatever else is lost or reads zero beside demand."""

from hypothesis import example, given
from hypothesis import strategies as st

from copilot.rules.flow import AGES, PROGRESS
from tests.cluster_signals import healthy, play

STOPPED = (
    *PROGRESS,
    "state_transitions.throughput_per_sec",
    "demand.tasks_added_per_sec",
    "matching.tasks_spooled_per_sec",
)
MATCHINGS = ("matching.tasks_dispatched_per_sec", "demand.tasks_added_per_sec", "matching.tasks_spooled_per_sec")
"""Lost with matching's pages."""
ASIDE = (
    "demand.answered_per_sec", "demand.rejected_per_sec", "demand.requests_per_sec",
    "frontend.error_rate_per_sec", "frontend.throttled_per_sec", "frontend.latency_p99_ms",
    "frontend.request_rate_per_sec",
    "history.task_processing_rate_per_sec", "history.write_latency_p99_ms", "history.task_queue_latency_p99_sec",
    "persistence.latency_p99_ms", "persistence.error_rate_per_sec", "persistence.request_rate_per_sec",
    "matching.backlog_count", *AGES, *MATCHINGS, "poller.pending_polls", "poller.recent_pollers",
    "workflow_completion.completion_rate",
)  # fmt: skip


@example(dict.fromkeys((*MATCHINGS, *AGES, "poller.pending_polls")))
@given(st.dictionaries(st.sampled_from(ASIDE), st.sampled_from([None, 0.0])))
def test_17_demand_without_progress_is_critical_whatever_else_is_lost_or_zero(changed: dict[str, float | None]) -> None:
    stopped = dict.fromkeys(STOPPED, 0.0) | changed
    readings = {name.replace(".", "__"): value for name, value in stopped.items()}
    states = [e.verdict.health_state.value for e in play([healthy()] * 5 + [healthy(**readings)] * 10)[0]]
    assert states[-1] in ("critical", "unknown"), states


@given(st.dictionaries(st.sampled_from(ASIDE), st.none()))
def test_17_demand_that_is_met_is_never_critical_for_what_is_lost(changed: dict[str, float | None]) -> None:
    readings = {name.replace(".", "__"): value for name, value in changed.items()}
    states = [e.verdict.health_state.value for e in play([healthy()] * 5 + [healthy(**readings)] * 6)[0]]
    assert "critical" not in states
