"""Passages of runbooks for the language model: from a folder, or from an Amazon Bedrock Knowledge Base."""

from typing import Protocol

from copilot.explain.model.knowledge import Retrieved


class Knowledge(Protocol):
    """Something that finds passages of runbooks."""

    async def retrieve(self, question: str) -> Retrieved:
        """The passages that fit the question. Raises nothing: when a service is down there are none, and the reason."""
        ...
