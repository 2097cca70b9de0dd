"""What the running API says, as it comes in."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx

POLL_SEC = 0.5
ASK_SEC = 2.0
ID = "evaluation_id"


class Verdicts:
    """Reads the API at `base_url`. Used as an async context manager by way of its client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def status(self) -> dict[str, Any] | None:
        """GET /status; None while there is no answer."""
        return await self._get("/status")

    async def evaluations(self) -> AsyncIterator[dict[str, Any]]:
        """Each new evaluation once, as the replay contract writes it (design.md §4), from the newest on."""
        last: object = None
        while True:
            newest = await self._get("/status/evaluation")
            if newest is not None and newest.get(ID) != last:
                last = newest.pop(ID)
                yield newest
            await asyncio.sleep(POLL_SEC)

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            answer = await self._client.get(path)
        except httpx.HTTPError:
            return None
        if answer.status_code != httpx.codes.OK:
            return None
        body = answer.json()
        return body if isinstance(body, dict) else None


def verdicts_client(base_url: str) -> httpx.AsyncClient:
    """A client for an API on this machine: no proxy, short patience."""
    return httpx.AsyncClient(base_url=base_url, timeout=ASK_SEC, trust_env=False)
