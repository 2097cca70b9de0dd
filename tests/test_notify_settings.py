"""What an operator may write under [[notify]]."""

from pathlib import Path
from typing import Any

import pytest

from copilot.errors import SettingsError
from copilot.rules.model import ReportedState
from copilot.settings.load import load_settings

CLUSTER = '[[clusters]]\nname = "east"\nmetrics = [{ url = "http://127.0.0.1:1/metrics", role = "server" }]\n'
SLACK = 'name = "ops"\nkind = "slack"\n'
URL = 'url = "https://hooks.example.org/services/T0/B0/v3rysecret"\n'


def loaded(folder: Path, *channels: str) -> Any:
    file = folder / "copilot.toml"
    file.write_text(CLUSTER + "".join(f"[[notify]]\n{channel}\n" for channel in channels))
    return load_settings(file)


def test_the_least_hears_of_critical_and_unknown_everywhere(tmp_path: Path) -> None:
    (channel,) = loaded(tmp_path, SLACK + URL).notify
    rules = channel.rules()
    assert rules.states == {ReportedState.CRITICAL, ReportedState.UNKNOWN}
    assert rules.hears_of("east")
    assert (rules.quiet_hours, rules.repeat_after_sec, rules.remind_every_sec) == (None, 600, None)


@pytest.mark.parametrize(
    ("channel", "why"),
    [
        (SLACK, "slack needs url or url_file"),
        (SLACK + URL + 'url_file = "x"\n', "choose one of url and url_file"),
        (SLACK + URL + 'key = "v3rysecret"\n', "slack has no key"),
        (SLACK + 'url = "ftp://v3rysecret"\n', "url is no http:// or https:// address"),
        (SLACK + 'url = "http://"\n', "url is no http:// or https:// address"),
        ('name = "w"\nkind = "webhook"\n' + URL, "webhook needs secret or secret_file"),
        ('name = "p"\nkind = "pagerduty"\n', "pagerduty needs key or key_file"),
        (SLACK + URL + 'clusters = ["west"]\n', "hears of west, which is no cluster"),
        (SLACK + URL + 'states = ["happy"]\n', "critical"),
        (SLACK + URL + "states = []\n", "at least 1 item"),
        (SLACK + URL + 'quiet_hours = { from = "22:00", to = "22:00" }\n', "quiet hours end when they begin"),
        (SLACK + URL + 'quiet_hours = { from = "22", to = "7:00" }\n', "no time of day"),
        (SLACK + URL + 'quiet_hours = { from = "22:00", to = "07:00", timezone = "Mars/Base" }\n', "no time zone"),
        (SLACK + URL + "remind_every_sec = 1\n", "greater than or equal to 60"),
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
