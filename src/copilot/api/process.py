"""The process that serves the API and the page."""

import logging
from contextlib import AsyncExitStack

from whenever import Instant

from copilot import bootstrap
from copilot.api.app import create_app
from copilot.api.deps import Deps
from copilot.api.serve import keep_for_good, listening_socket, loopback, serve_on, tls_context, told_to_end
from copilot.errors import SettingsError
from copilot.loops.live import LoopLive, PendingWrites
from copilot.settings.load import Settings
from copilot.telemetry.process_log import say
from copilot.telemetry.runtime import begin_runtime
from copilot.telemetry.switch import traced

log = logging.getLogger(__name__)


async def run_api(settings: Settings, *, insecure: bool = False) -> None:
    """Serve until SIGINT or SIGTERM. Neither Temporal nor the store need to be there: what they know is missing
    until they are. StartError when the address cannot be used."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    form = settings.logging.format
    begin_runtime()
    api = settings.api
    tls = tls_context(api.cert_file, api.key_file) if api.cert_file and api.key_file else None
    async with AsyncExitStack() as closing:
        closing.enter_context(traced("api"))
        told = closing.enter_context(told_to_end())
        store = bootstrap.store(settings)
        closing.push_async_callback(store.close)
        client = await bootstrap.temporal_client(settings.temporal, lazy=True)
        clusters = tuple(c.name for c in settings.clusters)
        deps = Deps(
            store=store,
            live=LoopLive(client),
            clusters=clusters,
            now=Instant.now,
            unsaved=PendingWrites(client).why,
            model_cap=settings.models.cap,
            runbooks=settings.knowledge.folder,
        )
        app = create_app(deps, api)
        listening = listening_socket(api.host, api.port, insecure=insecure or bool(api.tokens))
        closing.callback(listening.close)
        host, port = listening.getsockname()[:2]
        if tls is None and api.tokens and not loopback(host):
            log.warning("tokens travel in the clear to %s: set cert_file and key_file of [api]", host)
        keep_for_good()
        shown = f"[{host}]" if ":" in host else host
        say(f"copilot api is ready: {api.scheme}://{shown}:{port}", form)
        await serve_on(app, listening, until=told, tls=tls)
