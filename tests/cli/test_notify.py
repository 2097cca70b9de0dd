"""`copilot notify` as a person or a script sees it."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from copilot.cli.main import app
from copilot.embedded.ports import free_ports
from copilot.errors import CopilotError, SettingsError
from tests.notify.standin import standing_in

CLUSTER = '[[clusters]]\nname = "east"\nmetrics = [{ url = "http://127.0.0.1:1/metrics", role = "server" }]\n'
SECRET = "wh-s3cret-that-nobody-may-see"


def channels(*urls: str) -> str:
    return CLUSTER + "".join(
        f'[[notify]]\nname = "hook{n}"\nkind = "webhook"\nurl = "{url}"\nsecret = "{SECRET}"\n'
        for n, url in enumerate(urls, start=1)
    )


async def notify(*words: str, config: str, folder: Path) -> Result:
    file = folder / "copilot.toml"
    file.write_text(config, encoding="utf-8")
    done = await asyncio.to_thread(CliRunner().invoke, app, ["notify", *words, "--config", str(file)])
    if isinstance(done.exception, CopilotError):
        raise done.exception
    return done


async def test_a_test_goes_to_every_channel_and_says_what_came_back(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with standing_in() as it:
        config = channels(it.url, f"http://127.0.0.1:{port}")
        done = await notify("test", config=config, folder=tmp_path)
        one = await notify("test", "--channel", "hook1", "--json", config=config, folder=tmp_path)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "hook1 (webhook): delivered",
        "hook2 (webhook): not delivered: 127.0.0.1 cannot be reached (connection refused)",
    ]
    assert one.exit_code == 0
    assert json.loads(one.stdout) == {"channel": "hook1", "kind": "webhook", "delivered": True, "why": ""}
    assert [posted.json["kind"] for posted in it.posted] == ["test", "test"]
    assert it.posted[0].json["headline"] == "[TEST] east: notifications from Temporal SRE Copilot work"


async def test_a_channel_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no channel is named other; there is hook1"):
        await notify("test", "--channel", "other", config=channels("http://127.0.0.1:1"), folder=tmp_path)


async def test_the_list_says_who_hears_of_what_and_no_secret(tmp_path: Path) -> None:
    muted = 'mute_time_intervals = [{ start_time = "22:00", end_time = "07:00", location = "Europe/Berlin" }]\n'
    muted += 'clusters = ["east"]\n'
    config = channels("http://127.0.0.1:1/path-that-is-secret") + muted
    shown = await notify("list", config=config, folder=tmp_path)
    as_json = await notify("list", "--json", config=config, folder=tmp_path)
    assert shown.stdout == (
        "hook1 (webhook): critical, unknown, of east, muted from 22:00 to 07:00 Europe/Berlin except critical\n"
    )
    assert json.loads(as_json.stdout)["mute_time_intervals"][0]["except_states"] == ["critical"]
    assert "secret" not in shown.stdout + as_json.stdout
