"""A server on loopback that keeps what it is posted and answers what the test says."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.http import read_request, response
from tests.fakes.serving import serving

Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"ok")


@dataclass
class Posted:
    """One request."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class StandIn:
    """Answers `answers` one after the other, then the last for ever; None: never answers. `reached` is set by each
    request."""

    answers: list[Answer | None] = field(default_factory=lambda: [OK])
    posted: list[Posted] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.posted.append(Posted(request.path, request.headers, request.body))
        self.reached.set()
        if answer is None:
            await reader.read()
        else:
            status, more, text = answer
            fields = {"Connection": "close", **more}
            writer.write(response(f"{status} Said", text, *(f"{name}: {value}" for name, value in fields.items())))
            await writer.drain()


@contextlib.asynccontextmanager
async def standing_in(*answers: Answer | None) -> AsyncIterator[StandIn]:
    """A stand-in at a port of its own."""
    it = StandIn(list(answers) or [OK])
    async with serving(it.serve) as it.port:
        yield it
