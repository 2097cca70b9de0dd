"""A Markdown text cut into the sections that are found and shown one by one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_CHARACTERS = 2000
UNSEARCHED = frozenset({"sources"})
"""Sections that hold only links."""

_HEADING = re.compile(r"(#{1,2})\s+(.+?)\s*#*\s*$")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a text. `title` is the whole text's, `heading` the part's own and empty before the first one;
    `anchor` is its place after `#`."""

    title: str
    heading: str
    anchor: str
    text: str


def anchor(heading: str) -> str:
    """The heading as links write it: lower case, words joined by hyphens."""
    return re.sub(r"[^\w-]", "", heading.strip().lower().replace(" ", "-"))


def title_of(markdown: str, otherwise: str) -> str:
    """The text's first heading."""
    return next((t for level, t, _ in _blocks(markdown) if level == 1), "") or otherwise


def sections(markdown: str, name: str) -> list[Section]:
    """The sections under headings of the second level, and what stands before the first of them. A section longer than
    2,000 characters is cut between paragraphs; those of links alone are left out. `name` replaces a missing title."""
    title = title_of(markdown, name)
    found: list[Section] = []
    for level, heading, text in _blocks(markdown):
        own = heading if level == 2 else ""
        if own.lower() in UNSEARCHED or not text.strip():
            continue
        place = anchor(own or title)
        found.extend(Section(title, own, place, part) for part in _parts(text.strip()))
    return found


def _blocks(markdown: str) -> Iterator[tuple[int, str, str]]:
    """(level, heading, text below it); level 0 is what stands before any heading. `#` in a code block is no heading."""
    level, heading, lines, fenced = 0, "", list[str](), False
    for line in markdown.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if not fenced and (found := _HEADING.match(line)):
            yield level, heading, "\n".join(lines)
            level, heading, lines = len(found[1]), found[2], []
        else:
            lines.append(line)
    yield level, heading, "\n".join(lines)


def _parts(text: str) -> Iterator[str]:
    held = ""
    for paragraph in re.split(r"\n\s*\n", text):
        if held and len(held) + len(paragraph) + 2 > MOST_CHARACTERS:
            yield held
            held = ""
        held = f"{held}\n\n{paragraph}" if held else paragraph
        while len(held) > MOST_CHARACTERS:
            yield held[:MOST_CHARACTERS]
            held = held[MOST_CHARACTERS:]
    if held:
        yield held
