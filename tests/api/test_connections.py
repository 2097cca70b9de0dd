"""A client that opens connections and asks for nothing locks nobody out."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from copilot.api.app import create_app
from copilot.api.connections import Connections
from copilot.api.serve import listening_socket, serve_on
from copilot.embedded.ports import free_ports
from tests.api.standin import deps
from tests.api.test_status import telling

HALF = b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n"
UNFINISHED = {
    "nothing": b"",
    "half a head": HALF,
    "a head without its body": HALF + b"Content-Length: 5\r\n\r\n",
    "half a second request": HALF + b"\r\n" + HALF,
}
CONFIG = """
[store]
url = "postgresql://copilot@127.0.0.1:1/none"
[temporal]
address = "127.0.0.1:1"
[api]
port = {port}
[[clusters]]
metrics = [{{ url = "http://127.0.0.1:1/metrics", role = "server" }}]
"""


@asynccontextmanager
async def served(bounds: Connections) -> AsyncIterator[int]:
    """An API with these bounds; its port."""
    listening = listening_socket("127.0.0.1", 0)
    app = create_app(deps(telling()))
    serving = asyncio.create_task(serve_on(app, listening, bounds=bounds))
    try:
        yield int(listening.getsockname()[1])
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def opened(port: int, sent: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What was still said on a connection until the other side closed it."""
    said = b""
    try:
        async with asyncio.timeout(60):
            while part := await reader.read(65_536):
                said += part
    except ConnectionResetError:
        pass
    return said


async def health(port: int) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
async def test_a_request_that_does_not_arrive_in_time_is_hung_up_on(sent: bytes) -> None:
    async with served(Connections(50, 50, request_sec=0.3)) as port:
        reader, writer = await opened(port, sent)
        answers = await ended(reader)
        assert b"200 OK" in answers or not sent.startswith(HALF + b"\r\n")
        writer.close()


async def test_the_longest_waiting_makes_room_and_who_is_served_stays() -> None:
    async with served(Connections(3, 3, request_sec=60)) as port:
        listener, stream = await opened(port, b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert await listener.readuntil(b"event: verdict")
        idle = [await opened(port, HALF) for _ in range(4)]
        await asyncio.gather(*(ended(reader) for reader, _ in idle[:2]))
        assert await health(port) == 200
        assert not listener.at_eof()
        for _, writer in (*idle, (None, stream)):
            writer.close()


async def test_one_address_gets_its_share_and_a_proxy_all() -> None:
    for proxies, stay in (((), 2), (("127.0.0.0/8",), 4)):
        async with served(Connections(50, 2, proxies, request_sec=60)) as port:
            idle = [await opened(port, HALF) for _ in range(4)]
            await asyncio.gather(*(ended(reader) for reader, _ in idle[: 4 - stay]))
            _, writer = idle[-1]
            writer.write(b"Connection: close\r\n\r\n")
            assert b"200 OK" in await ended(idle[-1][0])
            for _, writer in idle:
                writer.close()


async def test_four_hundred_half_open_requests_do_not_lock_out_an_api_with_256_descriptors(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "copilot.toml").write_text(CONFIG.format(port=port))
    command = f"ulimit -n 256; exec '{sys.executable}' -m copilot api"
    with (tmp_path / "log").open("wb") as log:
        api = await asyncio.create_subprocess_exec("bash", "-c", command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
                                                   stderr=log)  # fmt: skip
        try:
            assert api.stdout is not None
            async with asyncio.timeout(120):
                assert b"ready" in await api.stdout.readline()
            held = [await opened(port, HALF) for _ in range(400)]
            assert await health(port) == 200
            for _, writer in held:
                writer.close()
        finally:
            api.kill()
            await api.wait()
    said = (tmp_path / "log").read_text()
    assert "at most 156 connections, not max_connections = 800: raise the limit of open files" in said
    assert len(said.splitlines()) < 20
