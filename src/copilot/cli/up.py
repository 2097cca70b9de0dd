"""`copilot up`: everything but a demo cluster, from copilot.toml."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from copilot.cli.options import ConfigOption

if TYPE_CHECKING:
    from copilot.embedded.supervisor import Event
    from copilot.embedded.up import Up


def up(
    config: ConfigOption = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where to keep data and logs; otherwise your data folder.")
    ] = None,
) -> None:
    """Run the Copilot for the clusters of copilot.toml: worker, API and page. Ctrl-C ends it all.

    Without a [temporal] address it brings a Temporal of its own, without a [store] url a PostgreSQL of its own.

    Example: copilot up --config copilot.toml, with as little in it as

    \b
    [[clusters]]
    name = "production"
    metrics = [{ url = "http://127.0.0.1:9090/metrics", role = "server" }]
    [clusters.temporal]
    address = "127.0.0.1:7233"
    """
    # Not at the top: they bring Temporal's SDK along, which other commands need not wait for.
    from copilot.demo.run import until_told_to_end
    from copilot.embedded.up import default_folder, run_up
    from copilot.settings.load import CONFIG_FILE, load_settings

    settings = load_settings(config)
    used = config or (Path(CONFIG_FILE) if Path(CONFIG_FILE).exists() else None)
    folder = (data_dir or settings.data_dir or default_folder()).expanduser().absolute()
    until_told_to_end(run_up(settings, used.absolute() if used else None, folder, _tell, _introduce))


def _tell(event: "Event") -> None:
    typer.echo(event.text)


def _introduce(running: "Up") -> None:
    typer.echo(f"Temporal   {running.temporal}")
    typer.echo(f"store      {running.store}")
    typer.echo(f"logs       {running.data_dir / 'logs'}")
    typer.echo(f"the page   {running.page}")
