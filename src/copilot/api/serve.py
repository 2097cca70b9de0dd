"""Serves the app over HTTP until it is told to stop."""

import asyncio
import contextlib
import gc
import ipaddress
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from copilot.errors import StartError

LAST_REQUESTS_SEC = 3


async def serve(app: FastAPI, host: str, port: int, *, insecure: bool = False) -> None:
    """Serve `app` (of create_app) until SIGINT or SIGTERM, or until cancelled; `port` 0 takes a free one.

    Raises StartError when the address is taken, or lies beyond this machine and `insecure` is not said."""
    listening = listening_socket(host, port, insecure=insecure)
    with told_to_end() as told:
        await serve_on(app, listening, until=told)


@contextlib.contextmanager
def told_to_end() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, instead of ending the process."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def serve_on(
    app: FastAPI, listening: socket.socket, *, until: asyncio.Event | None = None, tls: ssl.SSLContext | None = None
) -> None:
    """The same on a socket that listens already (its port is known before the first request), without touching signals:
    until `until` is set, or until cancelled. With `tls` it speaks HTTPS."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # The app believes its trusted_proxies; uvicorn would believe an environment variable.
        ws="none",
        timeout_graceful_shutdown=LAST_REQUESTS_SEC,
        ssl_context_factory=None if tls is None else lambda *_: tls,
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


def keep_for_good() -> None:
    """Tell the garbage collector that what a process has by now it keeps. Going through it takes 45 ms, in which
    nothing is answered. For a process that serves and does nothing else, right before it does."""
    gc.collect()
    gc.freeze()


def tls_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """How HTTPS is spoken: TLS 1.2 or later. StartError says in one line what is wrong with the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in (cert_file, key_file):
        try:
            file.read_bytes()
        except OSError as error:
            raise StartError(f"the API cannot read {file}: {error.strerror}") from error
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise StartError(
            f"the API cannot speak HTTPS with {cert_file} and {key_file} ({reason}): a certificate and the key it was "
            "made for are needed, in PEM, the key without a password"
        ) from error
    return context


def listening_socket(host: str, port: int, *, insecure: bool = False) -> socket.socket:
    """A socket bound to the address; `insecure`: it may lie beyond this machine. StartError says in one line why it
    cannot be."""
    if not insecure and not loopback(host):
        raise StartError(
            f"the API knows no tokens and will not listen on {host}: put what `copilot token new NAME` prints under "
            "[api.tokens], or use 127.0.0.1, or say --insecure if whatever stands before it lets only the right in"
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


def _no_password() -> str:
    raise ValueError("the key has a password")


def loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
