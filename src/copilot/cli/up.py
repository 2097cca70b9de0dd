"""`copilot up`: everything except a demo cluster, from copilot.toml."""

from pathlib import Path
from typing import Annotated

import typer

from copilot.cli.options import ConfigOption


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
    from copilot.embedded.processes import run_until_signal
    from copilot.embedded.up import Up, default_folder, run_up
    from copilot.settings.load import CONFIG_FILE, load_settings

    def introduce(running: Up) -> None:
        typer.echo(f"Temporal   {running.temporal}")
        typer.echo(f"store      {running.store}")
        typer.echo(f"logs       {running.data_dir / 'logs'}")
        typer.echo(f"the page   {running.page}")

    settings = load_settings(config)
    file = config or (Path(CONFIG_FILE) if Path(CONFIG_FILE).exists() else None)
    folder = (data_dir or settings.data_dir or default_folder()).expanduser().absolute()
    file = file.absolute() if file else None
    run_until_signal(run_up(settings, file, folder, lambda event: typer.echo(event.text), introduce))
