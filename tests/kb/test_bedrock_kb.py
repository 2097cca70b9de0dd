"""Retrieval from a knowledge base: what becomes of its answers, and of its silence."""

from typing import Any

import pytest

from copilot.sources.knowledge.bedrock import BedrockKnowledge
from tests.kb.aws_servers import BASE, BedrockStandIn, aws_environment, knowledge_settings


def result(text: str, score: float, **changes: Any) -> dict[str, Any]:
    uri = "s3://runbooks-of-tests/runbooks/no_pollers.md"
    made = {"content": {"type": "TEXT", "text": text}, "score": score,
            "location": {"type": "S3", "s3Location": {"uri": uri}}, "metadata": {}}  # fmt: skip
    return made | changes


async def test_passages_are_best_first_above_the_threshold_and_at_most_five(bedrock: BedrockStandIn) -> None:
    bedrock.results = [result(f"passage {n}", n / 10) for n in range(10)]
    found = await BedrockKnowledge(knowledge_settings()).retrieve("no pollers")
    assert [p.text for p in found.passages] == [f"passage {n}" for n in (9, 8, 7, 6, 5)]
    asked, sent = bedrock.asked[0]
    assert asked == f"POST /knowledgebases/{BASE}/retrieve"
    assert sent["retrievalQuery"] == {"text": "no pollers"}
    own = await BedrockKnowledge(knowledge_settings(least_score=0.85)).retrieve("no pollers")
    assert [p.text for p in own.passages] == ["passage 9"]


async def test_a_passage_says_where_it_is_from(bedrock: BedrockStandIn) -> None:
    web = {"type": "WEB", "webLocation": {"url": "https://example.org/runbook"}}
    bedrock.results = [
        result("# No pollers\n\n## Do first\n\nStart workers.", 0.9),
        result("Plain text.", 0.8, location=web),
        result("From nowhere.", 0.7, location={"type": "CUSTOM"}),
    ]
    found = (await BedrockKnowledge(knowledge_settings()).retrieve("x")).passages
    assert [p.source for p in found] == [
        "s3://runbooks-of-tests/runbooks/no_pollers.md#no-pollers",
        "https://example.org/runbook",
        "a document without an address",
    ]
    assert [p.title for p in found] == ["No pollers", "Plain text.", "From nowhere."]


async def test_promql_pictures_and_odd_scores_do_no_harm(bedrock: BedrockStandIn) -> None:
    bedrock.results = [
        result("sum(rate(service_errors[1m]))", 0.99),
        result("", 0.95),
        result("twice as near as near", 1.7),
        result("no score", 0.0) | {"content": {"text": "no score at all"}},
        {"content": {"byteContent": "data:image/png;base64,AAAA", "type": "IMAGE"}, "score": 0.9},
        {"content": {"text": "unscored"}},
    ]
    found = (await BedrockKnowledge(knowledge_settings()).retrieve("x")).passages
    assert [(p.text, p.score) for p in found] == [("twice as near as near", 1.0)]


@pytest.mark.parametrize("question", ["", "  \n"])
async def test_nothing_is_asked_for_nothing(bedrock: BedrockStandIn, question: str) -> None:
    found = await BedrockKnowledge(knowledge_settings()).retrieve(question)
    assert (found.passages, found.reason, bedrock.asked) == ((), "", [])


async def test_a_long_question_is_cut(bedrock: BedrockStandIn) -> None:
    await BedrockKnowledge(knowledge_settings()).retrieve("word " * 5000)
    assert len(bedrock.asked[0][1]["retrievalQuery"]["text"]) == 1000


@pytest.mark.parametrize(
    "failure", [(403, "AccessDeniedException"), (429, "ThrottlingException"), (500, "InternalServerException")]
)
async def test_a_refusal_is_no_passages_with_a_reason_and_is_not_tried_again(
    bedrock: BedrockStandIn, failure: tuple[int, str]
) -> None:
    bedrock.fail = failure
    found = await BedrockKnowledge(knowledge_settings()).retrieve("x")
    assert found.passages == ()
    assert found.reason == f"knowledge base {BASE}: {failure[1]}: said the stand-in"
    assert len(bedrock.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"retrievalResults": 5}', b'{"retrievalResults": [3]}', b"{}"])
async def test_nonsense_is_no_passages_with_a_reason(bedrock: BedrockStandIn, body: bytes) -> None:
    bedrock.body = body
    found = await BedrockKnowledge(knowledge_settings()).retrieve("x")
    assert found.passages == ()
    assert "could not be parsed" in found.reason


async def test_silence_ends_with_a_reason(bedrock: BedrockStandIn) -> None:
    bedrock.silent = True
    found = await BedrockKnowledge(knowledge_settings(timeout_sec=0.3)).retrieve("x")
    assert found.passages == ()
    assert "did not answer" in found.reason


async def test_a_service_that_is_away_and_missing_credentials_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    assert "no AWS credentials" in (await BedrockKnowledge(knowledge_settings()).retrieve("x")).reason
    aws_environment(monkeypatch, bedrock="http://127.0.0.1:1")
    assert "Could not connect" in (await BedrockKnowledge(knowledge_settings()).retrieve("x")).reason
