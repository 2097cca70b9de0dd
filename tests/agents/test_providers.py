"""What goes over the wire to Anthropic and Bedrock: instructions cached, one attempt, failures understood."""

import json
from typing import Any

import pytest

from copilot.explain import explained as in_rules_words
from copilot.explain.model.evidence import evidence
from copilot.explain.model.provider import explainers
from copilot.explain.model.usage import Outcome, Reply
from copilot.settings.models import BEDROCK_RESEARCHER, ModelSettings
from tests.agents.answers import critical, sound
from tests.agents.model_server import ModelServer, Wire


async def explained(settings: ModelSettings) -> Reply:
    judged = in_rules_words(critical())
    explainer, prompt = explainers(settings).request("deep", judged, evidence(judged), {})
    return await explainer.ask(prompt, 10)


def wire(body: dict[str, Any], status: str = "200 OK") -> Wire:
    return Wire(json.dumps(body).encode(), status)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    async with ModelServer().run() as running:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url.removesuffix("/v1"))
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", running.url.removesuffix("/v1"))
        yield running


async def test_anthropic_is_asked_with_its_cache_on(server: ModelServer) -> None:
    server.deep = wire({
        "id": "m", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "t", "name": "final_result", "input": sound()}],
        "usage": {"input_tokens": 200, "output_tokens": 300, "cache_read_input_tokens": 1_000},
    })  # fmt: skip
    reply = await explained(ModelSettings(researcher="anthropic:claude-opus-5-5"))
    assert (reply.outcome, reply.input_tokens, reply.output_tokens) == (Outcome.SERVED, 1_200, 300)
    assert reply.cost_usd == pytest.approx((200 * 4 + 1_000 * 0.2 + 300 * 20) / 1e6)
    (asked,) = server.requests
    assert asked["system"][-1]["cache_control"]["type"] == "ephemeral"
    assert "cache_control" not in json.dumps(asked["messages"])


async def test_anthropic_that_is_overloaded_is_not_asked_twice(server: ModelServer) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.deep = wire(error, "529 Overloaded")
    reply = await explained(ModelSettings(researcher="anthropic:claude-opus-5-5"))
    assert reply.outcome is Outcome.UNAVAILABLE
    assert len(server.requests) == 1


BEDROCK = ModelSettings(researcher=BEDROCK_RESEARCHER, region="us-east-1")


async def test_bedrock_is_asked_with_its_cache_on(server: ModelServer) -> None:
    server.deep = wire({
        "output": {"message": {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "t", "name": "final_result", "input": sound()}}]}},
        "stopReason": "tool_use", "metrics": {"latencyMs": 1},
        "usage": {"inputTokens": 1_200, "outputTokens": 300, "totalTokens": 1_500},
    })  # fmt: skip
    reply = await explained(BEDROCK)
    assert (reply.outcome, reply.reason) == (Outcome.SERVED, "")
    assert reply.cost_usd == pytest.approx((1_200 * 4.4 + 300 * 22) / 1e6)
    (asked,) = server.requests
    assert asked["system"][-1] == {"cachePoint": {"type": "default"}}
    assert "cachePoint" not in json.dumps(asked["messages"])


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        ("429 Too Many Requests", "ThrottlingException", Outcome.THROTTLED),
        ("503 Service Unavailable", "ServiceUnavailableException", Outcome.UNAVAILABLE),
        ("403 Forbidden", "AccessDeniedException", Outcome.DENIED),
    ],
)
async def test_what_bedrock_refuses_is_understood_and_not_tried_again(
    server: ModelServer, status: str, error: str, outcome: Outcome
) -> None:
    server.deep = Wire(json.dumps({"message": "no"}).encode(), f"{status}\r\nx-amzn-ErrorType: {error}")
    reply = await explained(BEDROCK)
    assert reply.outcome is outcome
    assert len(server.requests) == 1
