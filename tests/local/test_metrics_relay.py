"""The relay before a metrics page."""

import asyncio

import httpx
import pytest

from copilot.demo.watched import MetricsRelay
from copilot.embedded.ports import free_ports

PAGE = b"x" * 3_000_000


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(PAGE) + PAGE)
    await writer.drain()
    writer.close()


async def test_a_page_passes_unchanged_until_it_is_cut_and_again_when_restored() -> None:
    target, front = free_ports(2)
    async with (
        await asyncio.start_server(_serve, "127.0.0.1", target),
        MetricsRelay(front, target) as relay,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert (await client.get(relay.url)).content == PAGE
        await relay.cut()
        with pytest.raises(httpx.ConnectError):
            await client.get(relay.url)
        await relay.restore()
        assert (await client.get(relay.url)).content == PAGE


async def test_a_dead_server_behind_it_breaks_the_connection() -> None:
    target, front = free_ports(2)
    async with MetricsRelay(front, target) as relay, httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(relay.url)


async def test_every_third_read_is_hung_up_on_when_it_is_to_flap() -> None:
    target, front = free_ports(2)
    async with (
        await asyncio.start_server(_serve, "127.0.0.1", target),
        MetricsRelay(front, target) as relay,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert (await client.get(relay.url)).content == PAGE
        relay.fail_every = 3
        failed = []
        for read in range(2, 8):
            try:
                await client.get(relay.url)
            except httpx.TransportError:
                failed.append(read)
        assert failed == [3, 6]
        relay.fail_every = None
        assert [(await client.get(relay.url)).content == PAGE for _ in range(3)] == [True] * 3
