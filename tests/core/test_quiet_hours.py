"""When quiet hours end, by the clocks of a time zone."""

import pytest
from whenever import Instant, Time

from copilot.notify.decide import QuietHours
from copilot.rules.model import ReportedState

NIGHT = QuietHours(
    start=Time(22), end=Time(7), timezone="Europe/Berlin", but=frozenset({ReportedState.CRITICAL})
)  # UTC+1 in winter, UTC+2 in summer
LUNCH = QuietHours(start=Time(12), end=Time(13), timezone="UTC")


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        pytest.param(NIGHT, "2026-11-22T20:59:59Z", None, id="before"),
        pytest.param(NIGHT, "2026-11-22T21:00:00Z", "2026-11-23T06:00:00Z", id="from its first moment on"),
        pytest.param(NIGHT, "2026-11-22T23:30:00Z", "2026-11-23T06:00:00Z", id="after local midnight"),
        pytest.param(NIGHT, "2026-11-23T05:59:59Z", "2026-11-23T06:00:00Z", id="the last second"),
        pytest.param(NIGHT, "2026-11-23T06:00:00Z", None, id="its end is not quiet"),
        pytest.param(NIGHT, "2026-07-01T20:30:00Z", "2026-07-02T05:00:00Z", id="summer time"),
        pytest.param(NIGHT, "2026-03-28T22:30:00Z", "2026-03-29T05:00:00Z", id="the night summer time begins"),
        pytest.param(NIGHT, "2026-10-24T22:30:00Z", "2026-10-25T06:00:00Z", id="the night summer time ends"),
        pytest.param(LUNCH, "2026-11-22T12:30:00Z", "2026-11-22T13:00:00Z", id="within a day"),
        pytest.param(LUNCH, "2026-11-22T11:30:00Z", None, id="before, within a day"),
        pytest.param(LUNCH, "2026-11-22T13:30:00Z", None, id="after, within a day"),
    ],
)
def test_what_can_wait_waits_until_the_quiet_hours_are_over(hours: QuietHours, now: str, until: str | None) -> None:
    moment = Instant.parse_iso(now)
    assert hours.until(ReportedState.UNKNOWN, moment) == Instant.parse_iso(until or now)


def test_what_cannot_wait_does_not() -> None:
    midnight = Instant.parse_iso("2026-11-22T23:00:00Z")
    assert NIGHT.until(ReportedState.CRITICAL, midnight) == midnight
    assert NIGHT.until(ReportedState.STRESSED, midnight) > midnight
