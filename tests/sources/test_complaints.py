"""What goes on failing is said once a minute."""

import logging

import pytest

from copilot.sources.complaints import Complaints


def test_a_failure_every_five_seconds_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    complaints = Complaints(logging.getLogger("copilot.sources"), clock=lambda: now)
    times = []
    for _ in range(36):
        caplog.clear()
        complaints.say("cannot read %s", "it")
        times += [now for r in caplog.records if r.getMessage() == "cannot read it"]
        now += 5
    assert times == [100.0, 160.0, 220.0]
