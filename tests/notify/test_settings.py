"""What an operator may write under [[notify]], and until when a channel is muted by the clocks of a time zone."""

from pathlib import Path
from typing import Any

import pytest
from whenever import Instant

from copilot.errors import SettingsError
from copilot.rules.model import ReportedState
from copilot.settings.load import load_settings
from copilot.settings.notify import ChannelRules, MuteTimeInterval

CLUSTER = '[[clusters]]\nname = "east"\nmetrics = [{ url = "http://127.0.0.1:1/metrics", role = "server" }]\n'
SLACK = 'name = "ops"\nkind = "slack"\n'
PUSH = 'name = "am"\nkind = "alertmanager"\n'
BY_NIGHT = 'mute_time_intervals = [{ start_time = "22:00", end_time = "07:00", location = "UTC" }]\n'
URL = 'url = "https://hooks.example.org/services/T0/B0/v3rysecret"\n'


def loaded(folder: Path, *channels: str) -> Any:
    file = folder / "copilot.toml"
    file.write_text(CLUSTER + "".join(f"[[notify]]\n{channel}\n" for channel in channels))
    return load_settings(file)


def test_by_default_a_channel_gets_critical_and_unknown_of_all_clusters(tmp_path: Path) -> None:
    (channel,) = loaded(tmp_path, SLACK + URL).notify
    assert channel.states == ("critical", "unknown")
    assert channel.matches("east")
    assert (channel.mute_time_intervals, channel.min_gap_sec, channel.repeat_interval_sec) == ((), 600, None)


@pytest.mark.parametrize(
    ("channel", "why"),
    [
        (SLACK, "slack needs url or url_file"),
        (SLACK + URL + 'url_file = "x"\n', "choose one of url and url_file"),
        (SLACK + URL + 'key = "v3rysecret"\n', "slack has no key"),
        (SLACK + 'token = "xoxb-v3rysecret"\n', "slack with a token needs channel"),
        (SLACK + URL + 'channel = "#ops"\n', "only slack with a token has channel"),
        (
            SLACK + 'channel = "#ops"\ntoken = "xoxb-v3rysecret"\ntoken_file = "x"\n',
            "choose one of token and token_file",
        ),
        ('name = "w"\nkind = "webhook"\nsecret = "v3rysecret"\ntoken = "v3rysecret"\n' + URL, "webhook has no token"),
        (SLACK + 'url = "ftp://v3rysecret"\n', "url is not an http:// or https:// URL"),
        (SLACK + 'url = "http://"\n', "url is not an http:// or https:// URL"),
        ('name = "w"\nkind = "webhook"\n' + URL, "webhook needs secret or secret_file"),
        ('name = "p"\nkind = "pagerduty"\n', "pagerduty needs key or key_file"),
        (SLACK + URL + 'clusters = ["west"]\n', "there is no cluster west"),
        (SLACK + URL + 'states = ["happy"]\n', "critical"),
        (SLACK + URL + "states = []\n", "at least 1 item"),
        (SLACK + URL + 'mute_time_intervals = [{ start_time = "22:00", end_time = "22:00" }]\n', "ends when it starts"),
        (SLACK + URL + 'mute_time_intervals = [{ start_time = "22", end_time = "7:00" }]\n', "not a time of day"),
        (SLACK + URL + BY_NIGHT.replace("UTC", "Mars/Base"), "not a time zone"),
        (SLACK + URL + "repeat_interval_sec = 1\n", "greater than or equal to 60"),
        (SLACK + URL + 'urls = ["http://v3rysecret"]\n', "slack has no urls"),
        (PUSH, "alertmanager needs urls"),
        (PUSH + 'urls = ["am:9093"]\n', "url is not an http:// or https:// URL"),
        (PUSH + 'url = "http://am:9093"\n', "alertmanager has no url"),
        (PUSH + 'urls = ["http://am"]\nrepeat_interval_sec = 60\n', "set repeat_interval_sec in Alertmanager's own"),
    ],
)
def test_a_mistake_is_named_and_shows_no_secret(tmp_path: Path, channel: str, why: str) -> None:
    with pytest.raises(SettingsError) as error:
        loaded(tmp_path, channel)
    assert why in str(error.value)
    assert "v3rysecret" not in str(error.value)


def test_two_channels_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two channels are named ops"):
        loaded(tmp_path, SLACK + URL, SLACK + URL)


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
