"""When a run injects which fault."""

import pytest

from copilot.demo.faults import PlannedFault, planned_fault, seconds
from copilot.errors import CopilotError


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90.0), ("1.5m", 90.0), ("500ms", 0.5), ("2h", 7200.0), ("10", 10.0)]
)
def test_a_duration_is_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-5s", "10 days", "1m30s"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CopilotError, match="is no duration: write 90s"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("idle", PlannedFault("idle")),
        ("workers-down@60s", PlannedFault("workers-down", 60.0)),
        ("server-frozen@1m-90s", PlannedFault("server-frozen", 60.0, 90.0)),
    ],
)
def test_a_planned_fault_is_read(text: str, expected: PlannedFault) -> None:
    assert planned_fault(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("earthquake@60s", "no fault is called 'earthquake'; there are workers-down, "),
        ("idle@", "names no time"),
        ("idle@soon", "is no duration"),
        ("idle@60s-30s", "ends before it begins"),
        ("burst@60s-90s", "ends by itself"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(CopilotError, match=why):
        planned_fault(text)
