"""`copilot alive`: the health check of a container."""

from enum import StrEnum
from typing import Annotated

import typer

from copilot.cli.options import ConfigOption
from copilot.errors import SettingsError


class Process(StrEnum):
    """Which process is asked about."""

    WORKER = "worker"
    API = "api"


def alive(
    process: Annotated[Process, typer.Argument(help="Which process of this machine or container.")],
    config: ConfigOption = None,
) -> None:
    """Say whether the worker or the API on this machine is alive: a container's health check. Exit 1 when it is not.

    The worker is asked by `alive_file` of [worker], which it touches; the API by its /healthz.

    Example: copilot alive api"""
    from copilot.healthcheck import api_silent, worker_silent
    from copilot.settings.load import load_settings

    settings = load_settings(config)
    if process is Process.WORKER:
        if settings.worker.alive_file is None:
            raise SettingsError(["worker.alive_file is not set: the worker touches no file by which it could be asked"])
        wrong = worker_silent(settings.worker.alive_file)
    else:
        wrong = api_silent(f"{settings.api.host_here}:{settings.api.port}")
    typer.echo(wrong or f"the {process.value} is alive")
    if wrong:
        raise typer.Exit(1)
