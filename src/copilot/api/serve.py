"""Serves the app over HTTP or HTTPS until it is stopped; `run_api` is the process of `copilot api`."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from whenever import Instant

from copilot import bootstrap
from copilot.api.app import create_app
from copilot.api.connections import ACCEPTED_AT_ONCE, BoundedHttp, Connections
from copilot.api.deps import Deps
from copilot.api.heartbeat import beat
from copilot.errors import SettingsError, StartError
from copilot.loops.live import LoopLive
from copilot.loops.starter import loop_ids
from copilot.settings.api import ApiSettings, is_loopback
from copilot.settings.load import Settings
from copilot.settings.notify import HEARTBEAT
from copilot.telemetry.process_log import say
from copilot.telemetry.runtime import start_runtime
from copilot.telemetry.spans import traced

GRACEFUL_SHUTDOWN_SEC = 3
BACKLOG = 256

log = logging.getLogger(__name__)


async def run_api(settings: Settings, *, insecure: bool = False) -> None:
    """Serve until cancelled. Temporal and the store may be down: their data is missing until they are up.
    SettingsError without a cluster; StartError when the address cannot be used."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    form = settings.logging.format
    start_runtime()
    api = settings.api
    tls = tls_context(api.cert_file, api.key_file) if api.cert_file and api.key_file else None
    async with contextlib.AsyncExitStack() as closing:
        closing.enter_context(traced("api"))
        store = bootstrap.store(settings)
        closing.push_async_callback(store.close)
        client = await bootstrap.temporal_client(settings.temporal, lazy=True)
        deps = Deps(
            store=store,
            live=LoopLive(client, loops=loop_ids(settings)),
            clusters=tuple(c.name for c in settings.clusters),
            now=Instant.now,
            model_cap=settings.models.cap,
            runbooks=settings.knowledge.folder,
        )
        app = create_app(deps, api)
        listening = listening_socket(api.host, api.port, insecure=insecure or api.asks)
        closing.callback(listening.close)
        host, port = listening.getsockname()[:2]
        if tls is None and api.asks and not is_loopback(host):
            log.warning("tokens are sent unencrypted to %s: set cert_file and key_file of [api]", host,
                        extra={"event": "api.tokens_unencrypted", "host": host})  # fmt: skip
        if heartbeats := [n for n in settings.notify if n.kind == HEARTBEAT]:
            beating = asyncio.create_task(beat(app.state.live, heartbeats, deps.clusters), name="send heartbeats")
            closing.callback(beating.cancel)
        freeze_heap()
        shown = f"[{host}]" if ":" in host else host
        say(f"copilot api is ready: {api.scheme}://{shown}:{port}", form)
        bounds = Connections(api.max_connections, api.max_connections_per_address, api.trusted_proxies)
        await serve_on(app, listening, tls=tls, bounds=bounds)


async def serve_on(
    app: FastAPI, listening: socket.socket, *, tls: ssl.SSLContext | None = None, bounds: Connections | None = None
) -> None:
    """Serve `app` (of create_app) on a listening socket until cancelled; HTTPS with `tls`. `bounds`: of its
    connections."""
    defaults = ApiSettings()
    bounds = bounds or Connections(defaults.max_connections, defaults.max_connections_per_address)
    asyncio.get_running_loop().set_exception_handler(bounds.on_loop_error)
    config = uvicorn.Config(
        app,
        http=partial(BoundedHttp, bounds=bounds),  # type: ignore[arg-type]
        backlog=ACCEPTED_AT_ONCE,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # The app has its trusted_proxies; uvicorn would trust an environment variable.
        ws="none",
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SEC,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="serve the API")
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


def freeze_heap() -> None:
    """Exclude all objects that exist now from garbage collection: scanning them takes 45 ms, in which nothing is
    answered. For a process that does nothing but serve, right before it serves."""
    gc.collect()
    gc.freeze()


def tls_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """A server's TLS context, 1.2 or later. StartError says in one line what is wrong with the files."""
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
            f"the API cannot serve HTTPS with {cert_file} and {key_file} ({reason}): it needs a certificate and its "
            "key in PEM, the key without a password"
        ) from error
    return context


def listening_socket(host: str, port: int, *, insecure: bool = False) -> socket.socket:
    """A socket bound to the address; `port` 0 takes a free one. StartError, in one line, when it cannot be bound, or is
    public and `insecure` is false."""
    if not insecure and not is_loopback(host):
        raise StartError(
            f"the API has no tokens and will not listen on {host}: put the output of `copilot token new NAME` under "
            "[api.tokens], or use 127.0.0.1, or pass --insecure if a proxy in front of it authenticates callers"
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(f"the API cannot listen on {host}: {error.strerror}") from error
    family, _, _, _, address = found[0]
    try:
        dualstack = family is socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=dualstack)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise StartError(
            f"the API cannot listen on {host}:{port}: {reason}; choose another port, or 0 for a free one"
        ) from error


class _Server(uvicorn.Server):
    """Does not handle signals, and on shutdown ends the event streams, which never end by themselves."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(BACKLOG)  # uvicorn's backlog is also how many are accepted at once.

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, FastAPI):
            await app.state.live.close()
        await super().shutdown(sockets)


def _no_password() -> str:
    raise ValueError("the key has a password")
