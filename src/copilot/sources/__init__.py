"""Where readings come from: bare metrics pages and Temporal's own API."""

from typing import Protocol

from whenever import Instant

from copilot.rules.signals.readings import Signals


class Source(Protocol):
    """Something that reads signals of one cluster."""

    @property
    def name(self) -> str:
        """What kind of source it is: `metrics`, `api`, …"""
        ...

    @property
    def expected(self) -> tuple[str, ...]:
        """The ids it is there to read: those are missing when it does not answer."""
        ...

    async def read(self, now: Instant) -> Signals:
        """The signals at `now`. What could not be read is missing in the answer with its reason, not raised."""
        ...

    async def aclose(self) -> None:
        """Stop what runs in the background and close connections."""
        ...
