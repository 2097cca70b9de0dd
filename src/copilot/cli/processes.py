"""`copilot up`, `worker`, `api`, `start` and `alive`: the Copilot's processes and loops."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from copilot.cli.options import ConfigOption, JsonOption, configuration, current_settings
from copilot.cli.output import say
from copilot.errors import SettingsError

OUTCOMES = {
    "started": "started",
    "running": "already runs",
    "resumed": "resumed with its memory",
    "redefined": "already runs, and takes over the changed settings",
    "moved": "resumed with its memory on another task queue",
    "freed": "was stuck; resumed with its memory",
    "forgotten": "runs although its cluster is not configured: stop it with `temporal workflow cancel`",
}


def up(
    config: ConfigOption = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Folder for data and logs; by default your data folder.")
    ] = None,
) -> None:
    """Run the Copilot for the clusters of copilot.toml: worker, API and page. Ctrl-C stops everything.

    Without a [temporal] address it starts an embedded Temporal, without a [store] url an embedded PostgreSQL.

    Example: copilot up --config copilot.toml, with as little in it as

    \b
    [[clusters]]
    name = "production"
    metrics = [{ url = "http://127.0.0.1:9090/metrics", role = "server" }]
    [clusters.temporal]
    address = "127.0.0.1:7233"
    """
    # Here, and in other commands: Temporal's SDK takes a second to import, which --help need not wait for.
    from copilot.embedded.services import default_folder
    from copilot.embedded.signals import run_until_signal
    from copilot.embedded.up import Up, run_up
    from copilot.settings.load import CONFIG_FILE

    def introduce(running: Up) -> None:
        say(f"Temporal   {running.temporal}\nstore      {running.store}")
        say(f"logs       {running.data_dir / 'logs'}\nthe page   {running.page}")

    settings = configuration(config)
    file = config or (Path(CONFIG_FILE) if Path(CONFIG_FILE).exists() else None)
    folder = (data_dir or settings.data_dir or default_folder()).expanduser().absolute()
    file = file.absolute() if file else None
    run_until_signal(run_up(settings, file, folder, lambda event: say(event.text), introduce))


def worker(config: ConfigOption = None) -> None:
    """Run the loops of all configured clusters, until SIGTERM or Ctrl-C. Exit 1 when it makes no progress although
    Temporal answers: it is starved or stuck.

    Example: copilot worker --config copilot.toml"""
    from copilot.embedded.signals import run_until_signal
    from copilot.loops.watchdog import StarvedError
    from copilot.loops.worker import run_worker, worker_facts
    from copilot.telemetry.process_log import log_to_stderr

    settings = configuration(config)
    facts = worker_facts(c.name for c in settings.clusters)
    log_to_stderr("worker", settings.log_level, settings.logging.format, facts)
    try:
        run_until_signal(run_worker(settings))
    except StarvedError as error:
        typer.echo(f"copilot: {error}", err=True)
        raise typer.Exit(1) from error


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
    from copilot.embedded.signals import run_until_signal
    from copilot.telemetry.process_log import log_to_stderr

    settings = configuration(config)
    log_to_stderr("api", settings.log_level, settings.logging.format, request_facts)
    run_until_signal(run_api(settings, insecure=insecure))


def start(
    config: ConfigOption = None,
    allow_self: Annotated[
        bool, typer.Option("--allow-self", help="Allow watching the cluster that the Copilot itself runs on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the loops of every configured cluster. Running loops keep running and take over changed settings; with
    versioned workers, all loops move to this release. Without a [temporal] address it starts those of the `copilot up`
    that runs in the data folder.

    Example: copilot start --config copilot.toml"""
    from copilot.embedded.services import default_folder
    from copilot.loops.starter import start_loops

    settings = current_settings(config)
    if settings.clusters and not settings.temporal.given:
        folder = settings.data_dir or default_folder()
        raise SettingsError(
            [f"temporal.address is not set, and no `copilot up` runs in {folder}: set it, or COPILOT_DATA_DIR"]
        )
    for loop in asyncio.run(start_loops(settings, allow_self=allow_self)):
        line = f"{loop.cluster}: {loop.workflow_id} {OUTCOMES[loop.outcome]}"
        say(json.dumps(asdict(loop)) if as_json else line)


def alive(
    process: Annotated[
        Literal["worker", "api"], typer.Argument(help="The process to check on this machine or in this container.")
    ],
    config: ConfigOption = None,
) -> None:
    """Check whether the worker or the API on this machine is alive: a container's health check. Exit 1 when it is not.

    The worker touches the `alive_file` of [worker]; the API answers /healthz.

    Example: copilot alive api"""
    from copilot.healthcheck import api_silent, worker_silent

    settings = configuration(config)
    if process == "worker":
        if settings.worker.alive_file is None:
            raise SettingsError(["worker.alive_file is not set: without it the worker cannot be checked"])
        problem = worker_silent(settings.worker.alive_file)
    else:
        problem = api_silent(f"{settings.api.host_here}:{settings.api.port}")
    say(problem or f"the {process} is alive")
    if problem:
        raise typer.Exit(1)
