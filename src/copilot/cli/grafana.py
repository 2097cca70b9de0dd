"""`copilot grafana`: dashboards, provisioning and alert rules as files."""

from pathlib import Path
from typing import Annotated

import typer


def grafana(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go; those there are replaced.")],
    dialect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="How your metrics are spelled, once for the server and once for the workers' SDK."
        ),
    ] = None,
) -> None:
    """Write Grafana's dashboards, provisioning and alert rules, and the alert rules for Prometheus. `copilot doctor`
    says which dialect your metrics speak.

    Example: copilot grafana ./grafana --dialect "server opentelemetry" --dialect "sdk opentelemetry" """
    from copilot.errors import SettingsError
    from copilot.grafana.files import files, write

    try:
        written = write(folder, files(tuple(dialect or ())))
    except OSError as error:
        raise SettingsError([f"{folder} cannot be written: {error.strerror or error}"]) from error
    typer.echo("\n".join(map(str, written)))
