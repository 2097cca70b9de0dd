"""What models cost by the list prices that genai-prices, a dependency of pydantic-ai, carries."""

from functools import cache

from genai_prices import Usage, calc_price

from copilot.core.budget import Price

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
