"""Waiting that ends: whoever waits says for what and how long, and is told so when it was in vain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from copilot.embedded.supervisor import Probe
from copilot.errors import CopilotError

ANSWER = timedelta(seconds=20)
"""What one question to Temporal may take."""
BACK_SEC = 120.0
PROBE_SEC = 0.1


class InVainError(CopilotError):
    """What chaos waited for did not happen."""


@asynccontextmanager
async def at_most(sec: float, what: str) -> AsyncIterator[None]:
    """Bounds the block; InVainError names `what` it waited for."""
    try:
        async with asyncio.timeout(sec) as deadline:
            yield
    except TimeoutError:
        if not deadline.expired():
            raise
        raise InVainError(f"chaos waited {sec:g} s in vain for {what}") from None


async def until(probe: Probe, what: str, within_sec: float = BACK_SEC, every_sec: float = PROBE_SEC) -> None:
    """Ask a probe until it says yes; InVainError."""
    async with at_most(within_sec, what):
        while not await probe():  # noqa: ASYNC110 - another process becomes ready, it sets no event of ours
            await asyncio.sleep(every_sec)
