"""Prose for a terminal or a pipe: wrapped at words, so that names, addresses and settings can be copied, and without
blanks at the end of a line."""

import textwrap
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

MAX_WIDTH = 120
"""Longer lines of prose are hard to read."""


def wrapped(text: str, width: int, first: str, rest: str, style: str = "") -> list[Text]:
    """The text in lines of at most `width` columns where its words allow it, each after `first` or `rest`."""
    found = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return [Text(line, style=style) for line in found]


def plain_console() -> Console:
    """Standard output, where brackets and numbers mean nothing."""
    return Console(highlight=False, markup=False)


def width_of(console: Console) -> int:
    """How wide prose may be."""
    return min(console.width, MAX_WIDTH)


def print_lines(console: Console, lines: Iterable[Text]) -> None:
    """Print lines as they are."""
    for line in lines:
        console.print(line, soft_wrap=True)
