"""Models are built from settings, before anything is asked, and what is missing is said."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from copilot.bootstrap import models
from copilot.errors import SettingsError
from copilot.explain.model.build import explainers, model, price_of
from copilot.explain.model.usage import NO_MODEL, Cap, Price
from copilot.settings.models import BEDROCK_DISPATCHER, BEDROCK_RESEARCHER, ModelSettings


def test_deployments_defaults_are_built_without_asking_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = ModelSettings(dispatcher=BEDROCK_DISPATCHER, researcher=BEDROCK_RESEARCHER, region="us-east-1")
    built = explainers(settings)
    assert built.dispatcher.price == Price(2.2, 11.0)
    assert built.researcher.price == Price(4.4, 22.0)
    assert "max_retries" not in str(built.researcher.agent.model_settings)


def test_one_model_does_both_jobs() -> None:
    built = explainers(ModelSettings(researcher="ollama:qwen3", base_url="http://127.0.0.1:1/v1"))
    assert (built.dispatcher.model, built.researcher.model) == ("ollama:qwen3", "ollama:qwen3")
    assert built.researcher.price is None
    assert built.researcher.at_most("x" * 300)[2] == 0.0


@pytest.mark.parametrize(
    ("name", "says"),
    [("anthropic:claude-opus-5-5", "ANTHROPIC_API_KEY"), ("nobody:model", "nobody:model")],
)
def test_a_model_that_cannot_be_used_is_said_at_start(name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_without_a_model_there_is_none_and_no_cap() -> None:
    assert models(ModelSettings()) is None
    assert ModelSettings().cap == NO_MODEL
    assert ModelSettings(dispatcher="test", daily_usd=2.0).cap == Cap(2.0, 2_000_000)


def test_an_unknown_model_has_no_price_and_builds_all_the_same() -> None:
    assert price_of("openai-chat:local") is None
    built = model("openai-chat:local", ModelSettings(dispatcher="openai-chat:local", base_url="http://h/v1"))
    assert built.model_name == "local"


def test_a_worker_without_a_model_imports_no_agent() -> None:
    code = (
        "import sys, copilot.loops.worker; from copilot import bootstrap; from copilot.settings.load import Settings;"
        "bootstrap.models(Settings().models);"
        "heavy = {'pydantic_ai', 'genai_prices', 'openai', 'anthropic', 'boto3'};"
        "print(*sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
