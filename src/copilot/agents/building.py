"""Models from settings. Nothing is asked over the network."""

import os
import re
from typing import Any

from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider

from copilot.agents.asking import Asker
from copilot.agents.dispatcher import MOST_TOKENS as SHORT_ANSWER
from copilot.agents.dispatcher import dispatcher
from copilot.agents.explainers import Explainers
from copilot.agents.prices import price_of
from copilot.agents.prompts import DISPATCHER_INSTRUCTIONS, RESEARCHER_INSTRUCTIONS
from copilot.agents.researcher import MOST_TOKENS as LONG_ANSWER
from copilot.agents.researcher import researcher
from copilot.core.errors import SettingsError
from copilot.model_settings import ModelSettings

NO_KEY = "none"
CONNECT_SEC = 5.0


def explainers(settings: ModelSettings) -> Explainers:
    """The agents over the models that settings name; one for both where only one is named. ValueError where none is,
    SettingsError where one cannot be built."""
    first, second = settings.dispatcher or settings.researcher, settings.researcher or settings.dispatcher
    if first is None or second is None:
        raise ValueError("no model is named")
    return Explainers(
        dispatcher=Asker(
            dispatcher(model(first, settings)), first, price_of(first), DISPATCHER_INSTRUCTIONS, SHORT_ANSWER
        ),
        researcher=Asker(
            researcher(model(second, settings)), second, price_of(second), RESEARCHER_INSTRUCTIONS, LONG_ANSWER
        ),
        cap=settings.cap,
        timeout_sec=settings.timeout_sec,
        addresses=settings.redact_addresses,
    )


def model(name: str, settings: ModelSettings) -> Model:
    """A model by its name. SettingsError says what is missing: a package, a key, a region."""
    try:
        return infer_model(name, lambda provider: _provider(provider, settings))
    except (UserError, ImportError, ValueError) as error:
        why = re.split(r"(?<=\.)\s", str(error), maxsplit=1)[0]
        hint = ": install temporal-sre-copilot with its extra `models`" if isinstance(error, ImportError) else ""
        raise SettingsError([f"models: {name} cannot be used: {why}{hint}"]) from error


def _provider(name: str, settings: ModelSettings) -> Provider[Any]:
    if name == "bedrock":
        return _bedrock(settings)
    if settings.base_url is not None and name in ("openai", "openai-chat"):
        from pydantic_ai.providers.openai import OpenAIProvider

        return OpenAIProvider(base_url=settings.base_url, api_key=os.environ.get("OPENAI_API_KEY") or NO_KEY)
    if settings.base_url is not None and name == "ollama":
        from pydantic_ai.providers.ollama import OllamaProvider

        return OllamaProvider(base_url=settings.base_url, api_key=os.environ.get("OLLAMA_API_KEY") or NO_KEY)
    return infer_provider(name)


def _bedrock(settings: ModelSettings) -> Provider[Any]:
    """One attempt a call: who retries is decided elsewhere."""
    import boto3
    from botocore.config import Config
    from pydantic_ai.providers.bedrock import BedrockProvider

    limits = Config(connect_timeout=CONNECT_SEC, read_timeout=settings.timeout_sec, retries={"total_max_attempts": 1})
    client = boto3.Session(region_name=settings.region).client("bedrock-runtime", config=limits)
    return BedrockProvider(bedrock_client=client)
