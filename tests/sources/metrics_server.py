"""A real HTTP server on loopback whose answer a test chooses."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from tests.fakes.http import read_request
from tests.fakes.serving import serving


class MetricsServer:
    """Answers every GET with `status`, `headers` and `body`, in which @asked@ stands for the number of requests; `hang`
    never answers, `cut` breaks the answer off."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.kind = "text/plain; version=0.0.4"
        self.headers: tuple[str, ...] = ()
        self.body = b""
        self.hang = False
        self.cut = False
        self.asked = 0
        self.url = ""
        self.counted = asyncio.Condition()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        self.asked += 1
        async with self.counted:
            self.counted.notify_all()
        if self.hang:
            await reader.read()
            return
        body = self.body.replace(b"@asked@", b"%d" % self.asked)
        length = len(body) + (100 if self.cut else 0)
        head = [f"HTTP/1.1 {self.status}", f"Content-Type: {self.kind}", f"Content-Length: {length}", *self.headers]
        writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
        await writer.drain()

    async def until_asked(self, times: int) -> None:
        """Wait for that many requests from now on."""
        goal = self.asked + times
        async with asyncio.timeout(60), self.counted:
            await self.counted.wait_for(lambda: self.asked >= goal)

    async def walk(self, pages: Sequence[bytes | None]) -> None:
        """Serve these pages, one a scrape; None fails."""
        for page in pages:
            self.status, self.body = ("200 OK", page) if page is not None else ("503 Service Unavailable", b"")
            await self.until_asked(1)

    @classmethod
    @asynccontextmanager
    async def start(cls, body: bytes = b"") -> AsyncIterator[Self]:
        """A server on a free port."""
        self = cls()
        self.body = body
        async with serving(self.answer) as port:
            self.url = f"http://127.0.0.1:{port}/metrics"
            yield self
