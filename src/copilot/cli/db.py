"""`copilot db`: the state store's tables and connection."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from whenever import Instant, TimeDelta

from copilot.cli.options import ConfigOption, JsonOption, current_settings, duration, moment
from copilot.cli.output import check_lines, print_result, progress, prose_width
from copilot.errors import SettingsError

if TYPE_CHECKING:
    from copilot.store.base import Store

T = TypeVar("T")

app = typer.Typer(help="The state store: its tables and its connection.", no_args_is_help=True)


@app.command()
def setup_schema(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Create the tables, or update them to the newest schema version.

    Example: copilot db setup-schema --config copilot.toml"""
    version = _with_store(config, lambda store: store.setup_schema())
    print_result({"schema_version": version}, [f"the schema is at version {version}"], as_json=as_json)


@app.command()
def check_connection(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the connection to the store step by step: name resolution, TCP, TLS, authentication, database, schema
    version. Exit 1 when a step fails.

    Example: copilot db check-connection"""
    from copilot.bootstrap import store_url
    from copilot.store.check import check_connection as check

    found = asyncio.run(check(store_url(current_settings(config))))
    names = ("place", "server", "schema_version", "newest_version")
    document = {name: getattr(found, name) for name in names}
    document["checks"] = [check.model_dump(mode="json") for check in found.checks]
    lines = check_lines(f"The store {found.place}", found.checks, prose_width())
    print_result(document, lines, as_json=as_json, fine=found.fine)


@app.command()
def list_tables(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the tables with their number of rows (~: estimated).

    Example: copilot db list-tables --json"""
    from copilot.bootstrap import store_url
    from copilot.store.check import inspect

    found = asyncio.run(inspect(store_url(current_settings(config))))
    rows = {name: f"{'~' if name in found.estimated else ''}{count:,}" for name, count in found.tables.items()}
    lines = [f"{name:<20}{text:>12}" for name, text in {"table": "rows", **rows}.items()]
    none = f"{found.place} has no tables yet: run `copilot db setup-schema`"
    print_result(found.tables, lines if rows else [none], as_json=as_json)


@app.command()
def prune(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", help="An age (7d, 36h, 90m) or a time; by default retention_days of [store]."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, max=3000, help="Rows deleted in one transaction.")] = 200,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete old snapshots and assessments, and issues resolved before that time. Open issues stay. You can interrupt
    it with Ctrl-C and run it again.

    Example: copilot db prune --older-than 30d --dry-run"""
    before = _before(older_than, current_settings(config).store.retention_days)

    async def delete(store: "Store") -> tuple[dict[str, int], int]:
        rows = await store.prunable(before)
        if dry_run:
            return rows, 0
        with progress("{task.description:<20}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bars:
            tasks = {table: bars.add_task(table, total=count) for table, count in rows.items()}
            return rows, await store.prune(before, batch, lambda table, count: bars.advance(tasks[table], count))

    rows, deleted = _with_store(config, delete)
    time, total = before.format_iso(), sum(rows.values())
    number, verb = (total, "would be") if dry_run else (deleted, "are")
    first = f"{number:,} rows before {time} {verb} deleted"
    document = {"before": time, "dry_run": dry_run, "rows": rows, "deleted": deleted}
    lines = [first, *(f"  {name:<20}{count:>12,}" for name, count in rows.items())]
    print_result(document, lines, as_json=as_json)


def _before(older_than: str | None, retention_days: float) -> Instant:
    now, option = Instant.now(), "--older-than"
    text = (older_than or f"{retention_days}d").strip()
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise SettingsError([f"{option} {text} has no unit: write {text.lstrip('-')}d for days"])
    if re.fullmatch(r"\d+(\.\d+)?[a-z]+", text):
        return now - TimeDelta(seconds=duration(option, text))
    return moment(option, text, now)


def _with_store(config: Path | None, use: "Callable[[Store], Awaitable[T]]") -> T:
    from copilot.bootstrap import store

    async def run() -> T:
        opened = store(current_settings(config))
        try:
            return await use(opened)
        finally:
            await opened.close()

    return asyncio.run(run())
