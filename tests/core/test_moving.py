"""How signals moved, in a word."""

import pytest

from copilot.explain.model.fingerprint import moving, worth_following
from tests.evaluations import evaluation


@pytest.mark.parametrize(
    ("values", "how"),
    [
        ([1, 2, 3, 4, 5, 6], "rises"),
        ([6, 5, 4, 3, 2, 1], "falls"),
        ([10, 11, 10, 12, 11, 10], "is steady"),
        ([0.0] * 9, "is steady"),
        ([0, 0, 0, 0, 0, 7.0], "rises"),
        ([-1, -1, -1, -2, -2, -2], "falls"),
        ([None, 1, None, 2, 3, 4, 5, 6], "rises"),
        ([1, 2, 3, 4, 5], ""),
        ([None] * 20, ""),
    ],
)
def test_a_signal_rises_falls_or_is_steady(values: list[float | None], how: str) -> None:
    assert moving(values) == how


def test_the_signals_of_gates_and_findings_are_followed() -> None:
    judged = evaluation("critical")
    gates = judged.verdict.gates
    gates[0].evidence = {"demand.starts_per_sec": 2.9, "workers.workflow_pollers": 1.0}
    assert worth_following(judged, 9) == ("demand.starts_per_sec", "poller.pending_polls", "matching.backlog_count")
    assert worth_following(judged, 1) == ("demand.starts_per_sec",)
