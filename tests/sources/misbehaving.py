"""A real HTTP server that goes wrong on the wire in the ways servers do, whatever it is asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from tests.fakes.http import read_request
from tests.fakes.serving import serving


@dataclass
class Misbehaving:
    """Every request is answered by `head` (a status and headers) and `body` `repeat` times. Its length is not said, so
    that the end of the connection is the end of the body, unless `length` claims one. `drip_sec`: between two bytes.

    `sent`: the bytes of bodies that were taken from it; `gone`: set when the other side has hung up."""

    head: str = "200 OK\r\nContent-Type: text/plain"
    body: bytes = b""
    repeat: int = 1
    length: int | None = None
    drip_sec: float = 0.0
    sent: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self.gone = asyncio.Event()
        self.asked = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        self.asked += 1
        claimed = f"\r\nContent-Length: {self.length}" if self.length is not None else ""
        try:
            writer.write(f"HTTP/1.1 {self.head}{claimed}\r\nConnection: close\r\n\r\n".encode())
            for _ in range(self.repeat):
                for piece in self._pieces():
                    writer.write(piece)
                    await writer.drain()
                    self.sent += len(piece)
                    await asyncio.sleep(self.drip_sec)
        except OSError:
            self.gone.set()

    def _pieces(self) -> list[bytes]:
        return [self.body[n : n + 1] for n in range(len(self.body))] if self.drip_sec else [self.body]

    @asynccontextmanager
    async def run(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Serve on a free port."""
        async with serving(self._answer, tls) as port:
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            yield self
