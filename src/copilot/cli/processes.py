"""`copilot worker`, `api` and `start`: the Copilot's own processes, and its loops."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from copilot.cli.options import ConfigOption, JsonOption

OUTCOMES = {
    "started": "started",
    "running": "runs already",
    "resumed": "started again, with what it knew",
    "redefined": "runs already, and takes up what has changed",
    "moved": "started again on another task queue, with what it knew",
    "freed": "was stuck and is started again, with what it knew",
    "forgotten": "runs, but its cluster is not configured: `temporal workflow cancel` ends it",
}


def worker(config: ConfigOption = None) -> None:
    """Run the loops of all configured clusters, until SIGTERM or Ctrl-C.

    Example: copilot worker --config copilot.toml"""
    # Here and below: Temporal's SDK and FastAPI take a second to import, which --help need not wait for.
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
        bool, typer.Option("--insecure", help="Listen beyond this machine although no token is asked for.")
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
        bool, typer.Option("--allow-self", help="Watch a cluster although the Copilot itself runs on it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start watching: the loops of every configured cluster. Those that run already are left running and told what has
    changed; where workers are versioned, all are handed to this release.

    Example: copilot start --config copilot.toml"""
    from copilot.loops.starter import start_loops
    from copilot.settings.load import load_settings

    for loop in asyncio.run(start_loops(load_settings(config), allow_self=allow_self)):
        line = f"{loop.cluster}: {loop.workflow_id} {OUTCOMES[loop.outcome]}"
        typer.echo(json.dumps(asdict(loop)) if as_json else line)
