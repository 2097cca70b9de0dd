"""The state store for people."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from copilot.cli.doctor_view import check_lines
from copilot.cli.lines import plain_console, print_lines, width_of

if TYPE_CHECKING:
    from copilot.store.connection_check import Connected
    from copilot.store.inspection import Found


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
