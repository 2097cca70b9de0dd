"""Text for a terminal or a pipe: colors of states and checks, and prose wrapped at words. Names, addresses and settings
are never broken, so that they can be copied, and no line ends with blanks. No text is markup, and no control character
of it reaches a terminal."""

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Progress, ProgressColumn, TextColumn
from rich.segment import Segment
from rich.text import Text

from copilot.diagnosis import Check
from copilot.redaction.confusables import without_controls

STATE_STYLES = {"happy": "green", "stressed": "yellow", "critical": "bold red", "unknown": "magenta"}
CHECK_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
MAX_WIDTH = 120
"""Longer lines of prose are hard to read."""


class _PlainConsole(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What is printed: only rich's own segments may control the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(without_controls(segment.text), segment.style)


def plain_console(file: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """A console that prints brackets, colons and numbers as they are, and control characters as U+FFFD."""
    return _PlainConsole(file=file, stderr=stderr, highlight=False, markup=False, emoji=False)


def say(line: str, *, stderr: bool = False) -> None:
    """Print one line at once."""
    print_lines(console := plain_console(stderr=stderr), [line])
    console.file.flush()


def prose_width(console: Console | None = None) -> int:
    """The width of prose on the console, by default stdout."""
    return min((console or plain_console()).width, MAX_WIDTH)


def wrapped(text: str, width: int, first: str, rest: str, style: str = "") -> list[Text]:
    """The text in lines of at most `width` columns, never broken inside a word, each after `first` or `rest`."""
    lines = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return [Text(line, style=style) for line in lines]


def print_lines(console: Console, lines: Iterable[Text | str]) -> None:
    """Print lines without wrapping them again."""
    for line in lines:
        console.print(line, soft_wrap=True)


def print_result(document: object, lines: Iterable[Text | str], *, as_json: bool, fine: bool = True) -> None:
    """Print a command's result, as JSON or as lines. typer.Exit(1) unless it is fine."""
    if as_json:
        typer.echo(json.dumps(document))
    else:
        print_lines(plain_console(), lines)
    if not fine:
        raise typer.Exit(1)


def progress(*columns: str | ProgressColumn, hidden: bool = False) -> Progress:
    """Progress bars on stderr; disabled where that is no terminal, or `hidden`."""
    disable = hidden or not sys.stderr.isatty()
    plain = (TextColumn(c, markup=False) if isinstance(c, str) else c for c in columns)
    return Progress(*plain, console=plain_console(stderr=True), transient=True, disable=disable)


def check_lines(title: str, checks: Sequence[Check], width: int) -> Iterator[Text]:
    """Checks below their title, each with its fix."""
    yield Text(title, style="bold")
    for check in checks:
        status = check.status.value
        lines = wrapped(f"{check.name}: {check.found}", width, f"  {status:<7}  ", " " * 11)
        lines[0].stylize(CHECK_STYLES[status], 2, 2 + len(status))
        yield from lines
        if check.fix:
            yield from wrapped(check.fix, width, f"{' ' * 11}→ ", " " * 13, "dim")
