"""Ways to tell people: one module a channel, each over its own protocol. What is told, when, is notify/decide.py."""

from typing import Protocol

from copilot.notify.decide import Outcome
from copilot.notify.messages import Notice


class Channel(Protocol):
    """Somewhere a message can be sent to."""

    async def send(self, notice: Notice) -> Outcome:
        """Try once to deliver it, within seconds. Never raises for what the other side does; nothing secret stands in
        the outcome."""
