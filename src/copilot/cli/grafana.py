"""`copilot grafana`: dashboards, provisioning and alert rules as files."""

from pathlib import Path
from typing import Annotated

import typer

from copilot.errors import SettingsError


def grafana(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Target folder; existing files are replaced.")],
    dialect: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Dialect of your metrics, one for the server and one for the SDK."),
    ] = None,
    page: Annotated[
        str, typer.Option(metavar="URL", help="Where people open the Copilot's page; links go there.")
    ] = "http://localhost:8765",
) -> None:
    """Write Grafana's dashboards, provisioning and alert rules, and the alert rules for Prometheus. `copilot doctor`
    prints the dialects of your metrics.

    Example: copilot grafana ./grafana --dialect "server opentelemetry" --dialect "sdk opentelemetry" --page https://copilot.example.com"""
    from copilot.grafana.files import files, write

    try:
        written = write(folder, files(tuple(dialect or ()), page))
    except OSError as error:
        raise SettingsError([f"{folder} cannot be written: {error.strerror or error}"]) from error
    typer.echo("\n".join(map(str, written)))
