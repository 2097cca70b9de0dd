"""Small questions whether something answers yet. Each gives true or false; what cannot be reached is false."""

from collections.abc import Awaitable, Callable

import httpx

Probe = Callable[[], Awaitable[bool]]

ASK_SEC = 2.0


def http_answers(url: str, *, containing: str = "") -> Probe:
    """A probe: does `url` answer 200, and does its body hold `containing`? It asks our own children on this machine and
    tells them nothing, so any certificate will do."""

    async def ask() -> bool:
        async with httpx.AsyncClient(timeout=ASK_SEC, trust_env=False, verify=False) as client:
            try:
                answer = await client.get(url)
            except httpx.HTTPError:
                return False
        return answer.status_code == httpx.codes.OK and containing in answer.text

    return ask
