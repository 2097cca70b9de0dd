"""The state store for people."""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from copilot.cli.doctor import check_lines
from copilot.cli.options import ConfigOption, JsonOption, settings_here
from copilot.cli.output import plain_console, print_lines, width_of

if TYPE_CHECKING:
    from copilot.store.check import Connected, Found


def print_connected(connected: "Connected") -> None:
    """The steps of the way to the store, and what to do about the one that failed."""
    out = plain_console()
    print_lines(out, check_lines(f"The store {connected.place}", connected.checks, width_of(out)))


def print_tables(found: "Found") -> None:
    """The tables with their rows."""
    out = plain_console()
    if not found.tables:
        out.print(f"{found.place} has no tables yet: run `copilot db setup-schema`", soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("table", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for name, rows in found.tables.items():
        table.add_row(name, Text(f"~{rows:,}" if name in found.estimated else f"{rows:,}"))
    out.print(table)


def print_rows(rows: dict[str, int], said: str) -> None:
    """A line, and rows by table."""
    out = plain_console()
    out.print(said, soft_wrap=True)
    for name, count in rows.items():
        out.print(f"  {name:<20}{count:>12,}", soft_wrap=True)


@contextmanager
def deleting_shown(rows: dict[str, int]) -> Iterator[Callable[[str, int], None]]:
    """Show on stderr how far the deletion is: a bar per table on a terminal, else nothing."""
    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks = {table: bars.add_task(table, total=count) for table, count in rows.items()}
        yield lambda table, count: bars.advance(tasks[table], count)


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
    from copilot.store.check import check_connection as check

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
    from copilot.store.check import inspect

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

    from copilot.cli.options import moment
    from copilot.errors import SettingsError

    now = Instant.now()
    text = (older_than or f"{retention_days}d").strip()
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise SettingsError([f"--older-than {text} has no unit: write {text.lstrip('-')}d for days"])
    age = re.fullmatch(r"\d+(\.\d+)?[a-z]+", text) is not None
    return moment("--older-than", f"-{text}" if age else text, now)
