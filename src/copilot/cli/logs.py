"""`copilot logs`: what the patterns and templates find in saved logs."""

import codecs
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from whenever import Instant

from copilot.cli.options import JsonOption
from copilot.cli.output import print_result, prose_width, wrapped
from copilot.errors import SourceError
from copilot.redaction.redactor import redacted
from copilot.rules.signals.readings import MissingCode

if TYPE_CHECKING:
    from copilot.logs.counting import TrackedPattern
    from copilot.logs.lines import LogLine

app = typer.Typer(help="A Temporal server's logs.", no_args_is_help=True, callback=lambda: None)


@app.command()
def scan(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Log files (gzip too), or saved answers of a Loki's query_range."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Count the known patterns in log files, and the templates of other lines, as the Copilot does in live logs.

    Exit code 1: the files have no log lines.

    Example: copilot logs scan temporal.log temporal.log.1.gz --json"""
    from copilot.logs.counting import LogMemory, count_lines
    from copilot.logs.patterns import PatternBook

    counter = itertools.count()
    read = (line for file in files for line in _log_lines(file) if next(counter) >= 0)
    memory, _ = count_lines(
        LogMemory(), read, Instant.now(), span_sec=1.0, window_sec=1.0, book=PatternBook(), redact=redacted
    )
    lines = next(counter)
    found = sorted(memory.tracked, key=lambda tracked: -tracked.count)
    patterns, templates = ([t for t in found if t.mined is mined] for mined in (False, True))
    document = {"lines": lines, "patterns": _rows(patterns), "templates": _rows(templates)}
    titles = {"Known patterns": patterns, "Templates of other lines": templates}
    print_result(document, _table(lines, titles, prose_width()), as_json=as_json, fine=lines > 0)


def _rows(found: list["TrackedPattern"]) -> list[dict[str, str | int]]:
    from copilot.logs.lines import LEVELS

    return [
        {"pattern": t.pattern, "service": t.service, "count": t.count, "level": LEVELS[t.level], "sample": t.sample}
        for t in found
    ]


def _table(lines: int, titles: dict[str, list["TrackedPattern"]], width: int) -> Iterator[Text]:
    yield Text(f"{lines} log lines", style="bold")
    for title, found in titles.items():
        if any(t.shown for t in found):
            yield Text(title, style="bold")
        for tracked in (t for t in found if t.shown):
            yield from wrapped(f"{tracked.count:>7}  {tracked.pattern} ({tracked.service})", width, "", " " * 9)
            if not tracked.mined:
                yield from wrapped(tracked.sample, width, " " * 9, " " * 9, "dim")


def _log_lines(file: Path) -> Iterator["LogLine"]:
    """The log lines of a file, or of a saved answer of a Loki. SourceError where it cannot be read."""
    from copilot.logs.events import parse_entries, parse_lines
    from copilot.sources.logs.loki import read_streams

    try:
        with file.open("rb") as raw, gzip.open(raw) if raw.peek()[:2] == b"\x1f\x8b" else raw as opened:
            start = opened.read(300)
            opened.seek(0)
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell's > writes
                text = io.TextIOWrapper(opened, "utf-16", "replace")
                yield from parse_lines((line.encode() for line in text), file.name)
            elif start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{") and b'"resultType"' in start:
                entries = sorted(read_streams(opened.read()), key=lambda e: e.at)
                yield from parse_entries((e.at, e.line, e.labels) for e in entries)
            else:
                yield from parse_lines(opened, file.name)
    except SourceError as error:
        raise SourceError(error.code, error.detail, asked=str(file)) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SourceError(MissingCode.PARSE, f"cannot be read: {reason}", asked=str(file)) from error
