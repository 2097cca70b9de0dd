"""The process that serves the API and the page."""

import asyncio
import signal
from contextlib import AsyncExitStack

from whenever import Instant

from copilot import bootstrap
from copilot.api.app import create_app
from copilot.api.deps import Deps
from copilot.api.serve import listening_socket, serve_on
from copilot.core.errors import SettingsError
from copilot.settings import Settings
from copilot.telemetry.process_log import say
from copilot.telemetry.runtime import begin_runtime
from copilot.telemetry.switch import traced
from copilot.unsaved import Unsaved


async def run_api(settings: Settings, *, insecure: bool = False) -> None:
    """Serve until SIGINT or SIGTERM. Neither Temporal nor the store need to be there: what they know is missing
    until they are. StartError when the address cannot be used."""
    if not settings.clusters:
        raise SettingsError(["no cluster is configured: add a [[clusters]] section to copilot.toml"])
    form = settings.logging.format
    begin_runtime(form)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as closing:
        closing.enter_context(traced("api"))
        store = bootstrap.store(settings)
        closing.push_async_callback(store.close)
        client = await bootstrap.temporal_client(settings.temporal, lazy=True)
        clusters = tuple(c.name for c in settings.clusters)
        live, unsaved = bootstrap.LoopLive(client), Unsaved(client).why
        app = create_app(Deps(store=store, live=live, clusters=clusters, now=Instant.now, unsaved=unsaved))
        listening = listening_socket(settings.api.host, settings.api.port, insecure=insecure)
        closing.callback(listening.close)
        host, port = listening.getsockname()[:2]
        say(f"copilot api is ready: http://{host}:{port}", form)
        await serve_on(app, listening, until=stop)
