"""Runbooks in an Amazon Bedrock Knowledge Base, searched by meaning."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from copilot.errors import SettingsError, SourceError
from copilot.explain.model.knowledge import MOST_PASSAGES, Passage, Retrieved, chosen
from copilot.redaction.redactor import redacted
from copilot.rules.signals.readings import MissingCode
from copilot.settings.models import KnowledgeSettings
from copilot.sources import time_limit
from copilot.sources.knowledge.aws import call, client
from copilot.sources.knowledge.runbooks import anchor

LEAST_SCORE = 0.4
"""For Titan Text Embeddings V2 and cosine distance. Not measured, which needs an account: compare `least_score` with
`copilot kb search --json`."""
MAX_QUESTION = 1000
MAX_TEXT = 4000
RESULTS = 2 * MOST_PASSAGES
"""More than are used, because those with PromQL are dropped."""

_HEADING = re.compile(r"^#{1,3}\s+(.+?)\s*$", re.MULTILINE)


class BedrockKnowledge:
    """A knowledge base by its id. Its client is created at the first question."""

    def __init__(self, settings: KnowledgeSettings) -> None:
        self._settings = settings
        self._least = LEAST_SCORE if settings.least_score is None else settings.least_score
        self._client: Any = None

    async def retrieve(self, question: str) -> Retrieved:
        """The passages with a similar meaning; none, with the reason, when the knowledge base fails."""
        if not question.strip():
            return Retrieved()
        try:
            late = f"{self._name}: did not answer within {self._settings.timeout_sec:g} s"
            async with time_limit(self._settings.timeout_sec, late):
                answer = await asyncio.to_thread(self._ask, question[:MAX_QUESTION])
            return Retrieved(passages=chosen(tuple(_passages(answer)), self._least))
        except (SourceError, SettingsError) as error:
            return Retrieved(reason=str(error))

    @property
    def _name(self) -> str:
        return f"knowledge base {self._settings.knowledge_base_id}"

    def _ask(self, question: str) -> dict[str, Any]:
        if self._client is None:
            self._client = client("bedrock-agent-runtime", self._settings)
        return call(
            self._client,
            "retrieve",
            self._name,
            knowledgeBaseId=self._settings.knowledge_base_id,
            retrievalQuery={"text": question},
            retrievalConfiguration={"vectorSearchConfiguration": {"numberOfResults": RESULTS}},
        )


def _passages(answer: dict[str, Any]) -> Iterator[Passage]:
    """The results that are text, each with the address of its document, whatever its kind, and the section if it begins
    one. SourceError where the answer is not from `retrieve`."""
    try:
        for result in answer["retrievalResults"]:
            if text := redacted(str(result.get("content", {}).get("text", "")).strip()[:MAX_TEXT]):
                places = (v for k, v in (result.get("location") or {}).items() if k != "type" and isinstance(v, dict))
                address = next((v for place in places for v in place.values() if isinstance(v, str) and v), "")
                heading = _HEADING.search(text)
                yield Passage(
                    source=f"{redacted(address) or 'a document without an address'}"
                    f"{f'#{anchor(heading[1])}' if heading else ''}",
                    title=(heading[1] if heading else text.splitlines()[0])[:200],
                    text=text,
                    score=min(max(float(result.get("score", 0.0)), 0.0), 1.0),
                )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(MissingCode.PARSE, "the answer could not be parsed", asked="knowledge base") from error
