"""Models built from settings, and their list prices, which genai-prices, a dependency of pydantic-ai, carries."""

import os
import re
from functools import cache
from typing import Any

from genai_prices import Usage, calc_price
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider, infer_provider_class

from copilot.errors import SettingsError
from copilot.explain.model.agent import Explainers, explainer
from copilot.explain.model.usage import Price
from copilot.settings.models import ModelSettings

NO_KEY = "none"
CONNECT_SEC = 5.0
_PROVIDERS = {"bedrock": "aws", "openai-chat": "openai", "openai-responses": "openai", "google-gla": "google"}
_MILLION = 1_000_000


def explainers(settings: ModelSettings) -> Explainers:
    """The agent over the configured models; with only one configured, over that for both depths. Raises ValueError
    where none is configured, SettingsError where one cannot be built."""
    quick, deep = settings.dispatcher or settings.researcher, settings.researcher or settings.dispatcher
    if quick is None or deep is None:
        raise ValueError("no model is configured")
    return Explainers(
        quick=explainer(build_model(quick, settings), quick, list_price(quick), "quick", settings.output_mode),
        deep=explainer(build_model(deep, settings), deep, list_price(deep), "deep", settings.output_mode),
        cap=settings.cap,
        timeout_sec=settings.timeout_sec,
        addresses=settings.redact_addresses,
    )


@cache
def list_price(model: str) -> Price | None:
    """The list price of a model by its pydantic-ai name (`provider:model`); None where it is not known, as for local
    models."""
    provider, _, name = model.partition(":")
    try:
        cost = calc_price(
            Usage(input_tokens=_MILLION, output_tokens=_MILLION), name, provider_id=_PROVIDERS.get(provider, provider)
        )
    except LookupError:
        return None
    return Price(float(cost.input_price), float(cost.output_price))


def build_model(name: str, settings: ModelSettings) -> Model:
    """A model by its pydantic-ai name. SettingsError says what is missing: a package, a key, a region."""
    try:
        model = infer_model(name, lambda provider: _provider(provider, settings))
    except (UserError, ImportError, ValueError) as error:
        why = re.split(r"(?<=\.)\s", str(error), maxsplit=1)[0]
        hint = ": install temporal-sre-copilot with its extra `models`" if isinstance(error, ImportError) else ""
        raise SettingsError([f"models: {name} cannot be used: {why}{hint}"]) from error
    able = {"tool": "supports_tools", "json_schema": "supports_json_schema_output"}.get(settings.output_mode)
    if able is not None and not model.profile.get(able, able == "supports_tools"):
        other = "tool" if able != "supports_tools" else "prompted"
        raise SettingsError([f'models: {name} has no output "{settings.output_mode}": set output = "{other}"'])
    return model


def _provider(name: str, settings: ModelSettings) -> Provider[Any]:
    if name == "bedrock":
        return _bedrock(settings)
    if settings.base_url is not None and name in ("openai", "openai-chat", "ollama"):
        kind: Any = infer_provider_class(name)
        key = os.environ.get("OLLAMA_API_KEY" if name == "ollama" else "OPENAI_API_KEY")
        local: Provider[Any] = kind(base_url=settings.base_url, api_key=key or NO_KEY)
        return local
    return infer_provider(name)


def _bedrock(settings: ModelSettings) -> Provider[Any]:
    """One attempt a call: retries are decided elsewhere."""
    import boto3
    from botocore.config import Config
    from pydantic_ai.providers.bedrock import BedrockProvider

    limits = Config(connect_timeout=CONNECT_SEC, read_timeout=settings.timeout_sec, retries={"total_max_attempts": 1})
    client = boto3.Session(region_name=settings.region).client("bedrock-runtime", config=limits)
    return BedrockProvider(bedrock_client=client)
