"""Until when a channel is muted, by the clocks of a time zone."""

import pytest
from whenever import Instant

from copilot.rules.model import ReportedState
from copilot.settings.notify import ChannelRules, MuteTimeInterval

# UTC+1 in winter, UTC+2 in summer
NIGHT = MuteTimeInterval(start_time="22:00", end_time="07:00", location="Europe/Berlin")
LUNCH = MuteTimeInterval(start_time="12:00", end_time="13:00", except_states=())


@pytest.mark.parametrize(
    ("interval", "now", "until"),
    [
        pytest.param(NIGHT, "2026-11-22T20:59:59Z", None, id="before"),
        pytest.param(NIGHT, "2026-11-22T21:00:00Z", "2026-11-23T06:00:00Z", id="from its first moment on"),
        pytest.param(NIGHT, "2026-11-22T23:30:00Z", "2026-11-23T06:00:00Z", id="after local midnight"),
        pytest.param(NIGHT, "2026-11-23T05:59:59Z", "2026-11-23T06:00:00Z", id="the last second"),
        pytest.param(NIGHT, "2026-11-23T06:00:00Z", None, id="its end is not muted"),
        pytest.param(NIGHT, "2026-07-01T20:30:00Z", "2026-07-02T05:00:00Z", id="summer time"),
        pytest.param(NIGHT, "2026-03-28T22:30:00Z", "2026-03-29T05:00:00Z", id="the night summer time begins"),
        pytest.param(NIGHT, "2026-10-24T22:30:00Z", "2026-10-25T06:00:00Z", id="the night summer time ends"),
        pytest.param(LUNCH, "2026-11-22T12:30:00Z", "2026-11-22T13:00:00Z", id="within a day"),
        pytest.param(LUNCH, "2026-11-22T11:30:00Z", None, id="before, within a day"),
        pytest.param(LUNCH, "2026-11-22T13:30:00Z", None, id="after, within a day"),
    ],
)
def test_a_state_is_muted_until_the_interval_ends(interval: MuteTimeInterval, now: str, until: str | None) -> None:
    moment = Instant.parse_iso(now)
    assert interval.muted_until(ReportedState.UNKNOWN, moment) == Instant.parse_iso(until or now)


def test_excepted_states_are_not_muted() -> None:
    midnight = Instant.parse_iso("2026-11-22T23:00:00Z")
    assert NIGHT.muted_until(ReportedState.CRITICAL, midnight) == midnight
    assert NIGHT.muted_until(ReportedState.STRESSED, midnight) > midnight


def test_intervals_that_adjoin_are_muted_as_one() -> None:
    rules = ChannelRules(
        name="ops", mute_time_intervals=(LUNCH, MuteTimeInterval(start_time="13:00", end_time="14:00"))
    )
    ends = Instant.parse_iso("2026-11-22T14:00:00Z")
    assert rules.muted_until(ReportedState.STRESSED, Instant.parse_iso("2026-11-22T12:30:00Z")) == ends
