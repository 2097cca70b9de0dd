"""`copilot db`: the state store's schema, connection, tables and age."""

import asyncio
import json
import re
from typing import TYPE_CHECKING, Annotated

import typer

from copilot.cli.options import ConfigOption, JsonOption
from copilot.cli.up_found import settings_here

if TYPE_CHECKING:
    from whenever import Instant

app = typer.Typer(help="The state store: its tables and its connection.", no_args_is_help=True)

OlderOption = Annotated[
    str | None,
    typer.Option("--older-than", help="An age (7d, 36h, 90m) or a moment; otherwise retention_days of [store]."),
]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, max=3000, help="Rows deleted in one transaction.")]


@app.command()
def setup_schema(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Create the tables, or bring them up to date. Does nothing when they are.

    Example: copilot db setup-schema --config copilot.toml"""
    from copilot.bootstrap import store

    async def set_up() -> int:
        kept = store(settings_here(config))
        try:
            return await kept.setup_schema()
        finally:
            await kept.close()

    version = asyncio.run(set_up())
    typer.echo(json.dumps({"schema_version": version}) if as_json else f"the schema is at version {version}")


@app.command()
def check_connection(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Try the way to the store step by step and say where it ends. Exit 1 when something is wrong with it.

    Name resolution, TCP, TLS, authentication, database, schema version.

    Example: copilot db check-connection"""
    from copilot.bootstrap import store_url
    from copilot.cli.db_view import print_connected
    from copilot.store.connection_check import check_connection as check

    found = asyncio.run(check(store_url(settings_here(config))))
    if as_json:
        typer.echo(json.dumps({"place": found.place, "server": found.server, "schema_version": found.schema_version,
                               "newest_version": found.newest_version,
                               "checks": [c.model_dump(mode="json") for c in found.checks]}))  # fmt: skip
    else:
        print_connected(found)
    if not found.fine:
        raise typer.Exit(1)


@app.command()
def list_tables(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the tables with their number of rows (~: estimated).

    Example: copilot db list-tables --json"""
    from copilot.bootstrap import store_url
    from copilot.cli.db_view import print_tables
    from copilot.store.inspection import inspect

    found = asyncio.run(inspect(store_url(settings_here(config))))
    if as_json:
        typer.echo(json.dumps(found.tables))
    else:
        print_tables(found)


@app.command()
def prune(
    older_than: OlderOption = None,
    dry_run: DryOption = False,
    batch: BatchOption = 200,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete snapshots and assessments older than that, and issues resolved before. Open issues stay.

    May be ended with Ctrl-C and begun again at any time.

    Example: copilot db prune --older-than 30d --dry-run"""
    from copilot.bootstrap import store
    from copilot.cli.db_view import deleting_shown, print_rows

    settings = settings_here(config)
    before = _before(older_than, settings.store.retention_days)

    async def delete() -> tuple[dict[str, int], int]:
        kept = store(settings)
        try:
            rows = await kept.prunable(before)
            if dry_run:
                return rows, 0
            with deleting_shown(rows) as told:
                return rows, await kept.prune(before, batch, told)
        finally:
            await kept.close()

    rows, deleted = asyncio.run(delete())
    moment = before.format_iso()
    if as_json:
        typer.echo(json.dumps({"before": moment, "dry_run": dry_run, "rows": rows, "deleted": deleted}))
    elif dry_run:
        print_rows(rows, f"before {moment} there are {sum(rows.values()):,} rows to delete")
    else:
        print_rows(rows, f"{deleted:,} rows from before {moment} are deleted")


def _before(older_than: str | None, retention_days: float) -> "Instant":
    from whenever import Instant

    from copilot.cli.moments import moment
    from copilot.core.errors import SettingsError

    now = Instant.now()
    text = (older_than or f"{retention_days}d").strip()
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise SettingsError([f"--older-than {text} has no unit: write {text.lstrip('-')}d for days"])
    age = re.fullmatch(r"\d+(\.\d+)?[a-z]+", text) is not None
    return moment("--older-than", f"-{text}" if age else text, now)
