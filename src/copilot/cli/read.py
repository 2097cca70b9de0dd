"""`copilot read`: the signals on saved or live metrics pages, without a configuration."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text
from typer.core import TyperCommand

from copilot.cli.options import JsonOption
from copilot.cli.output import print_result, prose_width, say, wrapped
from copilot.errors import SettingsError
from copilot.explain.numbers import bounded, quantity
from copilot.rules.signals.taxonomy import SPECS

if TYPE_CHECKING:
    from copilot.rules.signals.readings import Signals
    from copilot.sources.scrape.once import PagesRead


class ReadCommand(TyperCommand):
    """A command whose `--after` takes every argument up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat `--after` before each of its pages, as click expects."""
        repeated: list[str] = []
        after = False
        for arg in args:
            after = arg == "--after" if arg.startswith("-") else after
            repeated += [] if arg == "--after" else ["--after", arg] if after else [arg]
        return super().parse_args(ctx, repeated)


COMMAND_CLASS = ReadCommand


def read(
    pages: Annotated[list[str], typer.Argument(metavar="PAGE…", help="A /metrics page: a file (gzip too) or a URL.")],
    after: Annotated[
        list[str] | None,
        typer.Option(metavar="PAGE…", help="Later reads of the same targets, in the same order: two reads give rates."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Time between the two reads. Live pages are read again after it.")
    ] = 15.0,
    role: Annotated[
        Literal["server", "worker"] | None, typer.Option(help="The role of all pages. Default: what each page shows.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the signals on metrics pages. Gauges need one read of a page; rates and latencies need two.

    Exit code 1: the pages have no signals.

    Example: copilot read server-1.txt.gz worker-1.txt.gz --after server-2.txt.gz worker-2.txt.gz --json

    Example: copilot read http://127.0.0.1:9090/metrics --after http://127.0.0.1:9090/metrics --seconds 15"""
    from copilot.pipeline import cleaned
    from copilot.sources.scrape.once import read_pages

    if after and len(after) != len(pages):
        raise SettingsError([f"{len(pages)} pages, {len(after)} after them: give one later read per page, in order"])
    found = asyncio.run(read_pages(pages, after or [], seconds, role))
    signals = cleaned(found.signals)
    for left_out in found.left_out:
        say(f"copilot: note: {left_out}", stderr=True)
    parts = signals.model_dump(mode="json")
    document = {
        "version": found.version,
        "dialect": {role: ", ".join(dialects) for role, dialects in found.dialects.items()},
        **{name: parts[name] for name in ("readings", "no_traffic", "missing", "breakdowns")},
    }
    fine = any(signals.covered(signal_id) for signal_id in signals.readings)
    print_result(document, _lines(found, signals, prose_width()), as_json=as_json, fine=fine)


def _lines(found: "PagesRead", signals: "Signals", width: int) -> Iterator[Text]:
    """Version and dialects, the readings, and each reason why some are missing once."""
    dialects = "; ".join(f"{role} dialect {', '.join(names) or 'unknown'}" for role, names in found.dialects.items())
    yield Text(f"server {found.version or 'version unknown'}; {dialects}", style="bold")
    lacking: dict[str, list[str]] = {}
    for signal_id in signals.readings:
        if why := signals.why_missing(signal_id):
            lacking.setdefault(why.detail or why.code.value, []).append(signal_id)
            continue
        value = signals.value(signal_id)
        number = bounded(quantity(value, SPECS[signal_id].unit), at_least=signal_id in signals.at_least)
        shown = "no traffic" if value is None else number
        yield Text.assemble("  ", (f"{signal_id:<45}", "cyan"), f" {shown}")
        for row in signals.rows(signal_id):
            labels = ", ".join(f"{name}={value}" for name, value in row.labels.items() if value)
            yield Text(f"      {quantity(row.value, SPECS[signal_id].unit):<12} {labels}", style="dim")
    for reason, ids in lacking.items():
        yield from wrapped(f"missing: {', '.join(ids)}", width, "  ", " " * 4, "yellow")
        yield from wrapped(reason, width, " " * 6, " " * 8, "dim")
