"""`copilot db`: the state store's schema and connection."""

import asyncio
import json
from typing import TYPE_CHECKING

import typer

from copilot.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from copilot.store.inspection import Found

app = typer.Typer(help="The state store: its tables and its connection.", no_args_is_help=True)


@app.command()
def setup_schema(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Create the tables, or bring them up to date. Does nothing when they are.

    Example: copilot db setup-schema --config copilot.toml"""
    from copilot.bootstrap import store
    from copilot.settings import load_settings

    async def set_up() -> int:
        kept = store(load_settings(config))
        try:
            return await kept.setup_schema()
        finally:
            await kept.close()

    version = asyncio.run(set_up())
    typer.echo(json.dumps({"schema_version": version}) if as_json else f"the schema is at version {version}")


@app.command()
def check_connection(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Connect to the store and say what stands there. Exit 1 when its schema is not up to date.

    Example: copilot db check-connection"""
    found = _found(config)
    current = found.schema_version == found.newest_version
    if as_json:
        typer.echo(json.dumps({"place": found.place, "server": found.server, "schema_version": found.schema_version,
                               "newest_version": found.newest_version}))  # fmt: skip
    else:
        state = "up to date" if current else f"this program has {found.newest_version}: run `copilot db setup-schema`"
        typer.echo(f"{found.place} answers: {found.server}, schema version {found.schema_version} ({state})")
    if not current:
        raise typer.Exit(1)


@app.command()
def list_tables(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the tables with their number of rows.

    Example: copilot db list-tables --json"""
    found = _found(config)
    if as_json:
        typer.echo(json.dumps(found.tables))
        return
    if not found.tables:
        typer.echo(f"{found.place} has no tables yet: run `copilot db setup-schema`")
    for name, rows in found.tables.items():
        typer.echo(f"{name:<24}{rows:>12,}")


def _found(config: ConfigOption) -> "Found":
    from copilot.bootstrap import store_url
    from copilot.settings import load_settings
    from copilot.store.inspection import inspect

    return asyncio.run(inspect(store_url(load_settings(config))))
