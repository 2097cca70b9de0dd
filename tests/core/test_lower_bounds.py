"""A duration of which only a lower bound is known is "over 10 s" in every sentence, never a number that was made up."""

import pytest

from copilot.explain import explained
from copilot.explain.model.evidence import _readings
from copilot.rules.signals.readings import Signals, merge
from copilot.rules.signals.taxonomy import SPECS
from copilot.web.cards import _row
from tests.cluster_signals import after, workers_down
from tests.scraped import START, Pages, read

EXECUTION = "workers.activity_execution_p95_ms"
BUCKETS = ("1", "10000", "100000", "+Inf")
PRESENT = 'temporal_num_pollers{poller_type="activity_task"} 5'


def reading(*at_bounds: int) -> Signals:
    """Of a worker whose activities fell, by each of two reads, within these bounds."""
    pages = Pages("worker")
    for at in (0, 30, 60):
        lines = [
            f'temporal_activity_execution_latency_bucket{{le="{le}"}} {n * at}'
            for le, n in zip(BUCKETS, at_bounds, strict=True)
        ]
        pages.add(at, PRESENT, *lines)
    return read(pages, at=60)


def test_a_reading_in_the_bucket_from_10_s_to_100_s_is_its_lower_bound_and_marked() -> None:
    wide, narrow = reading(0, 1, 10, 10), reading(0, 10, 10, 10)
    assert (wide.value(EXECUTION), wide.at_least) == (10_000, (EXECUTION,))
    assert narrow.value(EXECUTION) == pytest.approx(9500.05)
    assert narrow.at_least == ()
    nothing = Signals(time=START, readings={})
    assert merge(nothing, wide).at_least == merge(wide, nothing).at_least == (EXECUTION,)


def test_the_cause_says_over_10_s() -> None:
    slow = workers_down(
        60.0,
        workers__activity_slots_available=0.0,
        workers__activity_slots_used=4.0,
        workers__activity_execution_p95_ms=10_000.0,
    ).model_copy(update={"targets": {"server": 1, "worker": 2}, "at_least": (EXECUTION,)})
    evaluation = explained(after(slow))
    assert evaluation.top_factor == "slots_exhausted"
    assert "Activities take over 10 s (p95)." in evaluation.findings[0].likely_cause
    assert dict(_readings(evaluation, addresses=False))[EXECUTION] == "over 10 s"
    assert _row(evaluation.signals, SPECS[EXECUTION]).text == "over 10 s"
