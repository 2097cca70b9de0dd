"""A server on loopback that keeps what it is posted and answers what the test says."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

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
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.posted.append(Posted(first.split(" ")[1], headers, body))
        self.reached.set()
        if answer is None:
            await reader.read()
        else:
            status, more, text = answer
            fields = {"Content-Length": str(len(text)), "Connection": "close", **more}
            lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in fields.items())]
            writer.write("\r\n".join([*lines, "", ""]).encode() + text)
            await writer.drain()


@contextlib.asynccontextmanager
async def standing_in(*answers: Answer | None) -> AsyncIterator[StandIn]:
    """A stand-in at a port of its own."""
    it = StandIn(list(answers) or [OK])
    async with serving(it.serve) as it.port:
        yield it
