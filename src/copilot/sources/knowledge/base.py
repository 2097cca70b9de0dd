"""Where passages of runbooks come from: the folder beside us, or a knowledge base far away."""

from typing import Protocol

from copilot.explain.model.knowledge import Retrieved


class Knowledge(Protocol):
    """Something that knows runbooks."""

    async def retrieve(self, question: str) -> Retrieved:
        """The passages that fit the question. Never raises for what is away: then there are none, and the reason."""
        ...
