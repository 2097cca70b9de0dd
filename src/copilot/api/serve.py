"""Serves the app over HTTP until it is told to stop."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from copilot.core.errors import StartError

LAST_REQUESTS_SEC = 3


async def serve(app: FastAPI, host: str, port: int, *, insecure: bool = False) -> None:
    """Serve `app` (of create_app) until SIGINT or SIGTERM, or until cancelled; `port` 0 takes a free one.

    Raises StartError when the address is taken, or lies beyond this machine and `insecure` is not said."""
    listening = listening_socket(host, port, insecure=insecure)
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    try:
        await serve_on(app, listening, until=told)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def serve_on(app: FastAPI, listening: socket.socket, *, until: asyncio.Event | None = None) -> None:
    """The same on a socket that listens already (its port is known before the first request), without touching signals:
    until `until` is set, or until cancelled."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=LAST_REQUESTS_SEC,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="serve the API")
    told = asyncio.create_task((until or asyncio.Event()).wait(), name="wait for the end of the API")
    try:
        await asyncio.wait((serving, told), return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        server.should_exit = True
        await serving


def listening_socket(host: str, port: int, *, insecure: bool = False) -> socket.socket:
    """A socket bound to the address. StartError says in one line why it cannot be."""
    if not insecure and not _loopback(host):
        raise StartError(
            f"the API has no authentication yet and will not listen on {host}: use 127.0.0.1, "
            "or say --insecure if whatever stands before it lets only the right people through"
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"the API cannot listen on {host}: {error.strerror}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(256)
    except OSError as error:
        listening.close()
        raise StartError(
            f"the API cannot listen on {host}:{port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from error
    return listening


class _Server(uvicorn.Server):
    """Leaves signals to others, and ends the event streams, which would never end, before it waits for requests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, FastAPI):
            await app.state.live.close()
        await super().shutdown(sockets)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
