"""A loopback relay in front of a metrics page, so that the page can be cut off while its server lives."""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from copilot.local.ports import LOOPBACK

CHUNK = 1 << 18


class MetricsRelay:
    """Listens on `port` and hands bytes to and from `target_port`. Cut: connections are refused. `fail_every`: each
    n-th request is hung up on instead of answered (None: none)."""

    def __init__(self, port: int, target_port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}/metrics"
        self._port = port
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._requests = 0
        self.fail_every: int | None = None

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def restore(self) -> None:
        """Listen (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._relay, LOOPBACK, self._port)

    async def cut(self) -> None:
        """Listen no more, and drop what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for writer in list(self._open):
                writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        writers = {writer, target_writer}
        self._open |= writers
        ways = [
            asyncio.create_task(_copy(reader, target_writer, self._may_pass)),
            asyncio.create_task(_copy(target_reader, writer)),
        ]
        try:
            await asyncio.wait(ways)
        finally:
            for way in ways:
                way.cancel()
            for each in writers:
                each.transport.abort()
            self._open -= writers

    def _may_pass(self, data: bytes) -> bool:
        if not data.startswith(b"GET "):
            return True
        self._requests += 1
        return not self.fail_every or self._requests % self.fail_every != 0


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_pass: Callable[[bytes], bool] = lambda _data: True
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            if not may_pass(data):
                writer.transport.abort()
                return
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
