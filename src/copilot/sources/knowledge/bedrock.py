"""Runbooks in an Amazon Bedrock Knowledge Base, asked by meaning."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from copilot.errors import SettingsError, SourceError
from copilot.explain.model.knowledge import MOST_PASSAGES, Passage, Retrieved, chosen
from copilot.rules.signals.readings import MissingCode
from copilot.settings.models import KnowledgeSettings
from copilot.sources.knowledge.aws import call, client
from copilot.sources.knowledge.sections import anchor

LEAST_SCORE = 0.4
"""For Titan Text Embeddings V2 and cosine distance; not measured: it needs an account. Set `least_score` by looking at
`copilot kb search --json`."""
MOST_QUESTION = 1000
MOST_TEXT = 4000
SPARE = 2 * MOST_PASSAGES
"""More than are used are asked for, because those with PromQL fall away."""

_HEADING = re.compile(r"^#{1,3}\s+(.+?)\s*$", re.MULTILINE)


class BedrockKnowledge:
    """A knowledge base by its id. Its client is made with the first question."""

    def __init__(self, settings: KnowledgeSettings) -> None:
        self._settings = settings
        self._least = LEAST_SCORE if settings.least_score is None else settings.least_score
        self._client: Any = None

    async def retrieve(self, question: str) -> Retrieved:
        """The passages whose meaning is near; none, with the reason, when the knowledge base cannot be asked."""
        if not question.strip():
            return Retrieved()
        try:
            async with asyncio.timeout(self._settings.timeout_sec):
                answer = await asyncio.to_thread(self._ask, question[:MOST_QUESTION])
            found = tuple(_passages(answer))
        except TimeoutError:
            return Retrieved(reason=f"{self._name}: did not answer within {self._settings.timeout_sec:g} s")
        except (SourceError, SettingsError) as error:
            return Retrieved(reason=str(error))
        return Retrieved(passages=chosen(found, self._least))

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
            retrievalConfiguration={"vectorSearchConfiguration": {"numberOfResults": SPARE}},
        )


def _passages(answer: dict[str, Any]) -> Iterator[Passage]:
    """Those results that are text. SourceError where the answer is none of retrieve's."""
    try:
        for result in answer["retrievalResults"]:
            text = str(result.get("content", {}).get("text", "")).strip()[:MOST_TEXT]
            if text:
                score = min(max(float(result.get("score", 0.0)), 0.0), 1.0)
                yield Passage(source=_source(result, text), title=_title(text), text=text, score=score)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(MissingCode.PARSE, "the answer could not be understood", asked="knowledge base") from error


def _source(result: dict[str, Any], text: str) -> str:
    """Where the document lies, by the address its kind of place has, and the section if the passage begins one."""
    places = (v for k, v in (result.get("location") or {}).items() if k != "type" and isinstance(v, dict))
    address = next((v for place in places for v in place.values() if isinstance(v, str) and v), "")
    heading = _HEADING.search(text)
    section = f"#{anchor(heading[1])}" if heading else ""
    return f"{address or 'a document without address'}{section}"


def _title(text: str) -> str:
    heading = _HEADING.search(text)
    return (heading[1] if heading else text.splitlines()[0])[:200]
