"""`copilot token`."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner, Result

from copilot.api.auth import holder
from copilot.api.caller import Caller
from copilot.cli.main import app
from copilot.errors import SettingsError
from copilot.settings.access import Role
from copilot.settings.api import ApiSettings


def token(*words: str) -> Result:
    return CliRunner().invoke(app, ["token", *words])


@pytest.mark.parametrize(
    ("name", "more", "known"),
    [
        ("grafana", (), Caller("grafana")),
        ("team.a-1", ("--role", "operator"), Caller("team.a-1", Role.OPERATOR)),
        ("a", ("--cluster", "e", "--cluster", 'w "2"'), Caller("a", clusters=frozenset({"e", 'w "2"'}))),
    ],
)
def test_what_is_printed_can_be_put_into_the_configuration_and_knows_the_token(
    name: str, more: tuple[str, ...], known: Caller
) -> None:
    lines = token("new", name, *more).output.split("\n")
    shown = next(line.strip() for line in lines if line.strip().startswith("cop_"))
    section = "\n".join(line.strip() for line in lines[lines.index("  [api.tokens]") :])
    settings = ApiSettings.model_validate(tomllib.loads(section)["api"])
    assert holder(shown, settings) == known
    assert shown not in section


def test_as_json_and_never_the_same_twice() -> None:
    one, other = (json.loads(token("new", "a", "--json").output) for _ in range(2))
    assert len(ApiSettings.model_validate({"tokens": {"a": one["hash"], "b": other["hash"]}}).tokens) == 2
    assert one["line"] == f'a = "{one["hash"]}"'


@pytest.mark.parametrize(
    ("words", "said"),
    [(("two words",), "is not a valid name"), (("ci", "--changes", "--role", "admin"), "goes without --role")],
)
def test_what_cannot_be_kept_is_refused(words: tuple[str, ...], said: str) -> None:
    error = token("new", *words).exception
    assert isinstance(error, SettingsError)
    assert said in str(error)


@pytest.mark.servers
def test_the_api_with_a_token_and_a_certificate_is_asked_by_status_and_ends_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    made = json.loads(token("new", "me", "--json").output)
    config = tmp_path / "copilot.toml"
    config.write_text(f"""
        temporal = {{address = "127.0.0.1:1"}}
        store = {{url = "postgresql://copilot@127.0.0.1:1/copilot"}}
        clusters = [{{name = "east", metrics = [{{url = "http://127.0.0.1:1/metrics", role = "server"}}]}}]
        [api]
        host = "0.0.0.0"
        port = 0
        cert_file = "{tmp_path / "cert.pem"}"
        key_file = "{tmp_path / "key.pem"}"
        [api.tokens]
        {made["line"]}
    """)
    api = [sys.executable, "-m", "copilot", "api", "--config", str(config)]
    with subprocess.Popen(api, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        address = running.stdout.readline().rpartition(" ")[2].strip()
        monkeypatch.setenv("COPILOT_TOKEN", made["token"])
        at = address.replace("0.0.0.0", "127.0.0.1")
        done = CliRunner().invoke(app, ["status", "--config", str(config), "--api", at, "--json"])
        running.terminate()
        assert running.wait(timeout=30) == 0
        assert running.stderr is not None
        assert running.stderr.read() == ""
    assert address.startswith("https://0.0.0.0:")
    assert (done.exit_code, json.loads(done.output)["health_state"]) == (1, "unknown")
