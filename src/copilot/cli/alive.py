"""`copilot alive`: the health check of a container."""

from enum import StrEnum
from typing import Annotated

import typer

from copilot.cli.options import ConfigOption
from copilot.errors import SettingsError


class Process(StrEnum):
    """The process to check."""

    WORKER = "worker"
    API = "api"


def alive(
    process: Annotated[Process, typer.Argument(help="The process to check on this machine or in this container.")],
    config: ConfigOption = None,
) -> None:
    """Check whether the worker or the API on this machine is alive: a container's health check. Exit 1 when it is not.

    The worker touches the `alive_file` of [worker]; the API answers /healthz.

    Example: copilot alive api"""
    from copilot.healthcheck import api_silent, worker_silent
    from copilot.settings.load import load_settings

    settings = load_settings(config)
    if process is Process.WORKER:
        if settings.worker.alive_file is None:
            raise SettingsError(["worker.alive_file is not set: without it the worker cannot be checked"])
        problem = worker_silent(settings.worker.alive_file)
    else:
        problem = api_silent(f"{settings.api.host_here}:{settings.api.port}")
    typer.echo(problem or f"the {process.value} is alive")
    if problem:
        raise typer.Exit(1)
