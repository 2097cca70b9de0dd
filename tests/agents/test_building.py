"""Models are built from settings before any request, and errors name what is missing."""

from typing import Any

import pytest
from pydantic import ValidationError

from copilot.bootstrap import models
from copilot.errors import SettingsError
from copilot.explain.model.provider import build_model, explainers, list_price
from copilot.explain.model.usage import Price
from copilot.settings.models import BEDROCK_DISPATCHER, BEDROCK_RESEARCHER, NO_MODEL, Cap, ModelSettings


def test_deployment_defaults_are_built_without_calling_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = ModelSettings(dispatcher=BEDROCK_DISPATCHER, researcher=BEDROCK_RESEARCHER, region="us-east-1")
    built = explainers(settings)
    assert built.quick.price == Price(2.2, 11.0)
    assert built.deep.price == Price(4.4, 22.0)
    assert "max_retries" not in str(built.deep.agent.model_settings)


def test_one_model_serves_both_depths() -> None:
    built = explainers(ModelSettings(researcher="ollama:qwen3", base_url="http://127.0.0.1:1/v1"))
    assert (built.quick.model, built.deep.model) == ("ollama:qwen3", "ollama:qwen3")
    assert built.deep.price is None
    assert built.deep.bound("x" * 300)[2] == 0.0


@pytest.mark.parametrize(
    ("name", "says"), [("anthropic:claude-opus-5-5", "ANTHROPIC_API_KEY"), ("nobody:model", "nobody:model")]
)
def test_an_unusable_model_is_an_error_at_start(name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(SettingsError, match=says):
        models(ModelSettings(dispatcher=name))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"dispatcher": "gpt"}, "is not a model"),
        ({"dispatcher": "bedrock:anthropic.claude"}, "need region"),
        ({"dispatcher": "anthropic:claude", "base_url": "http://localhost:1"}, "base_url is for"),
        ({"daily_usd": 0}, "greater than 0"),
        ({"daily_usd": float("inf")}, "finite"),
        ({"timeout_sec": 24}, "less than or equal to 23"),
        ({"api_key": "x"}, "not permitted"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ModelSettings.model_validate(wrong)


LOCAL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({"dispatcher": "openai-chat:local", "base_url": LOCAL}, "json_schema"),
        ({"dispatcher": "ollama:qwen3", "base_url": LOCAL}, "json_schema"),
        ({"dispatcher": "openai-chat:local", "base_url": LOCAL, "output": "tool"}, "tool"),
        ({"dispatcher": "openai-chat:gpt-4o"}, "tool"),
        ({"dispatcher": BEDROCK_DISPATCHER, "region": "us-east-1"}, "tool"),
        ({"dispatcher": BEDROCK_DISPATCHER, "region": "us-east-1", "output": "prompted"}, "prompted"),
    ],
)  # fmt: skip
def test_a_model_is_asked_in_the_mode_that_its_server_knows(settings: dict[str, Any], asked: str) -> None:
    assert ModelSettings(**settings).output_mode == asked


def test_a_mode_that_a_model_does_not_have_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = ModelSettings(dispatcher="bedrock:amazon.nova-lite-v1:0", region="us-east-1", output="json_schema")
    with pytest.raises(SettingsError, match='has no output "json_schema": set output = "tool"'):
        models(settings)


def test_without_a_model_there_is_none_and_no_cap() -> None:
    assert models(ModelSettings()) is None
    assert ModelSettings().cap == NO_MODEL
    assert ModelSettings(dispatcher="test", daily_usd=2.0).cap == Cap(2.0, 2_000_000)


def test_an_unknown_model_has_no_price_and_builds_all_the_same() -> None:
    assert list_price("openai-chat:local") is None
    built = build_model("openai-chat:local", ModelSettings(dispatcher="openai-chat:local", base_url="http://h/v1"))
    assert built.model_name == "local"
