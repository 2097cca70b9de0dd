"""What models cost by the list prices that genai-prices, a dependency of pydantic-ai, carries."""

import os
import re
from functools import cache
from typing import Any

from genai_prices import Usage, calc_price
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider

from copilot.errors import SettingsError
from copilot.explain.model.agent import MOST_TOKENS as SHORT_ANSWER
from copilot.explain.model.agent import RESEARCHER_MOST_TOKENS as LONG_ANSWER
from copilot.explain.model.agent import Asker, Explainers, dispatcher, researcher
from copilot.explain.model.prompt import DISPATCHER_INSTRUCTIONS, RESEARCHER_INSTRUCTIONS
from copilot.explain.model.usage import Price
from copilot.settings.models import ModelSettings

_PROVIDERS = {"bedrock": "aws", "openai-chat": "openai", "openai-responses": "openai", "google-gla": "google"}
_MILLION = 1_000_000


@cache
def price_of(model: str) -> Price | None:
    """The list price of a model by its name in pydantic-ai (`provider:model`); None where none is known, as of a local
    one."""
    provider, _, name = model.partition(":")
    try:
        cost = calc_price(
            Usage(input_tokens=_MILLION, output_tokens=_MILLION), name, provider_id=_PROVIDERS.get(provider, provider)
        )
    except LookupError:
        return None
    return Price(float(cost.input_price), float(cost.output_price))


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
