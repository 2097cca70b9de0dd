"""`copilot token`."""

import json
import tomllib

import pytest
from typer.testing import CliRunner, Result

from copilot.api.tokens import Tokens
from copilot.api_settings import ApiSettings
from copilot.cli.main import app
from copilot.core.errors import SettingsError


def token(*words: str) -> Result:
    return CliRunner().invoke(app, ["token", *words])


@pytest.mark.parametrize("name", ["grafana", "team.a-1"])
def test_what_is_printed_can_be_put_into_the_configuration_and_knows_the_token(name: str) -> None:
    lines = token("new", name).output.split("\n")
    shown = next(line.strip() for line in lines if line.strip().startswith("cop_"))
    section = "\n".join(line.strip() for line in lines[lines.index("  [api.tokens]") :])
    settings = ApiSettings.model_validate(tomllib.loads(section)["api"])
    assert Tokens(settings.tokens).bearer(shown) == name
    assert shown not in section


def test_as_json_and_never_the_same_twice() -> None:
    one, other = (json.loads(token("new", "a", "--json").output) for _ in range(2))
    assert len(ApiSettings.model_validate({"tokens": {"a": one["hash"], "b": other["hash"]}}).tokens) == 2
    assert one["line"] == f'a = "{one["hash"]}"'


def test_a_name_that_cannot_be_kept_is_refused() -> None:
    error = token("new", "two words").exception
    assert isinstance(error, SettingsError)
    assert "is no name" in str(error)
