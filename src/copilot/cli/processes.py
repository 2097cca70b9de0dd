"""`copilot worker`, `api` and `start`: the Copilot's processes and loops."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from copilot.cli.options import ConfigOption, JsonOption

OUTCOMES = {
    "started": "started",
    "running": "already runs",
    "resumed": "resumed with its memory",
    "redefined": "already runs, and takes over the changed settings",
    "moved": "resumed with its memory on another task queue",
    "freed": "was stuck; resumed with its memory",
    "forgotten": "runs although its cluster is not configured: stop it with `temporal workflow cancel`",
}


def worker(config: ConfigOption = None) -> None:
    """Run the loops of all configured clusters, until SIGTERM or Ctrl-C.

    Example: copilot worker --config copilot.toml"""
    from copilot.loops.worker import run_worker, worker_facts
    from copilot.settings.load import load_settings
    from copilot.telemetry.process_log import log_to_stderr

    settings = load_settings(config)
    facts = worker_facts(c.name for c in settings.clusters)
    log_to_stderr("worker", settings.log_level, settings.logging.format, facts)
    asyncio.run(run_worker(settings))


def api(
    config: ConfigOption = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen on a public address without authentication.")
    ] = False,
) -> None:
    """Serve the JSON API and the page, until SIGTERM or Ctrl-C.

    Example: copilot api --config copilot.toml, then open http://127.0.0.1:8765"""
    from copilot.api.errors import request_facts
    from copilot.api.serve import run_api
    from copilot.settings.load import load_settings
    from copilot.telemetry.process_log import log_to_stderr

    settings = load_settings(config)
    log_to_stderr("api", settings.log_level, settings.logging.format, request_facts)
    asyncio.run(run_api(settings, insecure=insecure))


def start(
    config: ConfigOption = None,
    allow_self: Annotated[
        bool, typer.Option("--allow-self", help="Allow watching the cluster that the Copilot itself runs on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the loops of every configured cluster. Running loops keep running and take over changed settings; with
    versioned workers, all loops move to this release.

    Example: copilot start --config copilot.toml"""
    from copilot.loops.starter import start_loops
    from copilot.settings.load import load_settings

    for loop in asyncio.run(start_loops(load_settings(config), allow_self=allow_self)):
        line = f"{loop.cluster}: {loop.workflow_id} {OUTCOMES[loop.outcome]}"
        typer.echo(json.dumps(asdict(loop)) if as_json else line)
