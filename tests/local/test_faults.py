"""The table of faults."""

from copilot.demo.faults import FAULTS

ASKED_FOR = {
    "workers-down",
    "slots-exhausted",
    "workflows-failing",
    "burst",
    "idle",
    "server-frozen",
    "server-restart",
    "frontend-rate-limit",
    "persistence-rate-limit",
    "database-locked",
}


def test_every_fault_asked_for_is_there_and_nothing_unnamed() -> None:
    assert set(FAULTS) == ASKED_FOR | {"metrics-cut"}
    assert all(fault.what and fault.name == name for name, fault in FAULTS.items())
