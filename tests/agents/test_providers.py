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
from tests.agents.model_server import ModelServer, Wire, answers


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
    assert set(asked["tools"][0]["input_schema"]["properties"]) == {"summary", "why", "meaning", "factors", "actions"}


async def test_anthropic_that_is_overloaded_is_not_asked_twice(server: ModelServer) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    server.deep = wire(error, "529 Overloaded")
    reply = await explained(ModelSettings(researcher="anthropic:claude-opus-5-5"))
    assert reply.outcome is Outcome.UNAVAILABLE
    assert len(server.requests) == 1


@pytest.mark.parametrize(("output", "key"), [("tool", "tools"), ("json_schema", "response_format"), ("prompted", "")])
async def test_a_server_of_one_s_own_is_asked_in_each_mode(server: ModelServer, output: str, key: str) -> None:
    server.deep = answers(sound())
    local = {"researcher": "openai-chat:local", "base_url": server.url, "output": output}
    reply = await explained(ModelSettings.model_validate(local))
    assert (reply.outcome, reply.reason) == (Outcome.SERVED, "")
    (asked,) = server.requests
    assert {k for k in ("tools", "response_format") if k in asked and asked[k] != {"type": "json_object"}} == {key} - {
        ""
    }
    assert "factors" in str(asked[key] if key else asked["messages"])


BEDROCK = ModelSettings(researcher=BEDROCK_RESEARCHER, region="us-east-1")


def converse(stop: str, *content: dict[str, Any]) -> Wire:
    """An answer as Bedrock's Converse gives it."""
    return wire({
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": stop, "metrics": {"latencyMs": 1},
        "usage": {"inputTokens": 1_200, "outputTokens": 300, "totalTokens": 1_500},
    })  # fmt: skip


def calls(name: str, **given: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": "t", "name": name, "input": given}}


async def test_bedrock_is_asked_with_its_cache_on(server: ModelServer) -> None:
    server.deep = converse("tool_use", calls("final_result", **sound()))
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


# The finish reasons and contents that AWS documents for Converse.
CUT, EMPTY = "The model's answer was cut off at 800 tokens", "The model's answer is empty"
NO_SHAPE = "The model's answer does not have the required structure"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (converse("max_tokens", {"text": "No worker polls"}), CUT),
        (converse("max_tokens", calls("final_result", summary="No worker polls")), CUT),
        (converse("end_turn"), EMPTY),
        (converse("end_turn", {"text": " "}), EMPTY),
        (converse("content_filtered", {"text": ""}), EMPTY),
        (converse("guardrail_intervened", {"text": "Sorry, I cannot answer that."}), NO_SHAPE),
        (converse("end_turn", {"text": "All is well."}), NO_SHAPE),
        (converse("tool_use", calls("delete_queue", queue="orders")), "The model called a tool, and there is none"),
        (converse("tool_use", calls("final_result", summary="No workers.")), NO_SHAPE),
    ],
)  # fmt: skip
async def test_what_bedrock_leaves_unsaid_is_malformed_and_counted(server: ModelServer, answer: Wire, why: str) -> None:
    server.deep = answer
    reply = await explained(BEDROCK)
    assert (reply.outcome, reply.reason) == (Outcome.MALFORMED, why)
    assert reply.output_tokens == 300
    assert len(server.requests) == 1
