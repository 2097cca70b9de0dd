"""What an operator may write under [[notify]]."""

from pathlib import Path
from typing import Any

import pytest

from copilot.errors import SettingsError
from copilot.settings.load import load_settings

CLUSTER = '[[clusters]]\nname = "east"\nmetrics = [{ url = "http://127.0.0.1:1/metrics", role = "server" }]\n'
SLACK = 'name = "ops"\nkind = "slack"\n'
NIGHT = 'mute_time_intervals = [{ start_time = "22:00", end_time = "07:00", location = "UTC" }]\n'
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
        (SLACK + 'url = "ftp://v3rysecret"\n', "url is not an http:// or https:// URL"),
        (SLACK + 'url = "http://"\n', "url is not an http:// or https:// URL"),
        ('name = "w"\nkind = "webhook"\n' + URL, "webhook needs secret or secret_file"),
        ('name = "p"\nkind = "pagerduty"\n', "pagerduty needs key or key_file"),
        (SLACK + URL + 'clusters = ["west"]\n', "there is no cluster west"),
        (SLACK + URL + 'states = ["happy"]\n', "critical"),
        (SLACK + URL + "states = []\n", "at least 1 item"),
        (SLACK + URL + 'mute_time_intervals = [{ start_time = "22:00", end_time = "22:00" }]\n', "ends when it starts"),
        (SLACK + URL + 'mute_time_intervals = [{ start_time = "22", end_time = "7:00" }]\n', "not a time of day"),
        (SLACK + URL + NIGHT.replace("UTC", "Mars/Base"), "not a time zone"),
        (SLACK + URL + "repeat_interval_sec = 1\n", "greater than or equal to 60"),
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
