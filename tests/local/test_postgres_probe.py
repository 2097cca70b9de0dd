"""Whether a PostgreSQL is ready, asked of one that dies at any moment of being asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from copilot.embedded.postgres import accepts_connections

NO_TLS = b"N"
VERSION = b"server_version\0" + b"18.6\0"
WELCOME = b"R\0\0\0\x08\0\0\0\0" + b"S" + (4 + len(VERSION)).to_bytes(4, "big") + VERSION + b"Z\0\0\0\x05I"
STEPS = {
    "before it says a word": (),
    "after it has said that it speaks no TLS": (NO_TLS,),
    "after it has let the client in": (NO_TLS, WELCOME),
}


@asynccontextmanager
async def dying_after(words: tuple[bytes, ...], hang_up: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """A server that answers one message with each word, waits for the next message, and is gone."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for word in words:
            await reader.read(4096)
            writer.write(word)
        await reader.read(4096)
        hang_up(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://copilot:secret@127.0.0.1:{port}/postgres"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_database_that_dies_while_it_is_asked_is_not_ready(step: str, how: str) -> None:
    def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close() if how == "end" else writer.transport.abort()

    async with dying_after(STEPS[step], hang_up) as url:
        assert await accepts_connections(url)() is False
