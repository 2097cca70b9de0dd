"""The runbooks on disk, and the sections their Markdown is cut into."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import copilot

MAX_BYTES = 1_000_000
MAX_CHARACTERS = 2000
UNSEARCHED = frozenset({"sources"})
"""Sections that contain only links."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_FRONT_MATTER = re.compile(r"---\n(.*?\n)---\n+", re.DOTALL)
_HEADING = re.compile(r"(#{1,2})\s+(.+?)\s*#*\s*$")


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook. `markdown` is the whole text, with its title."""

    name: str
    title: str
    markdown: str


def shipped_folder() -> Path:
    """The folder of the shipped runbooks: in the package, or in the repository the program runs from."""
    package = Path(copilot.__file__).resolve().parent
    inside = package / "rag"
    return inside if inside.is_dir() else package.parents[1] / "docs" / "rag"


def files(folder: Path | None = None) -> dict[str, Path]:
    """All runbooks by file name; those in `folder` replace shipped ones of the same name. OSError where a folder cannot
    be read."""
    found: dict[str, Path] = {}
    for place in (shipped_folder(), folder):
        if place is not None:
            found |= {p.name: p for p in sorted(place.iterdir()) if p.suffix == ".md" and p.is_file()}
    return dict(sorted(found.items()))


def other_words(markdown: str) -> list[str]:
    """How people describe the problem in other words: the list under `also:` in the front matter. Empty without one."""
    front = _FRONT_MATTER.match(markdown)
    return re.findall(r"^ +- +(.+?) *$", front[1], re.MULTILINE) if front else []


def without_front_matter(markdown: str) -> str:
    """The text that people read."""
    return _FRONT_MATTER.sub("", markdown, count=1)


def runbook(name: str, folder: Path | None = None) -> Runbook | None:
    """The runbook of a name (a finding's or a guide's, without `.md`); None if there is none. A name with anything but
    letters, digits, `_` and `-` is none, so that a name from outside cannot reach another file."""
    if _NAME.fullmatch(name) is None:
        return None
    for place in (folder, shipped_folder()):
        if place is not None and (text := read_text(place / f"{name}.md")) is not None:
            text = without_front_matter(text)
            return Runbook(name, title_of(text, name), text)
    return None


def read_text(path: Path) -> str | None:
    """The text of a runbook; None where it does not exist, is not text, or is too long."""
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError):
        return None


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a runbook: the runbook's `title`, the part's own `heading` (empty before the first one), and its
    `anchor` in links."""

    title: str
    heading: str
    anchor: str
    text: str


def anchor(heading: str) -> str:
    """The heading as in links: lower case, words joined by hyphens."""
    return re.sub(r"[^\w-]", "", heading.strip().lower().replace(" ", "-"))


def title_of(markdown: str, otherwise: str) -> str:
    """The first heading of the first level; `otherwise` where there is none."""
    return next((t for level, t, _ in _blocks(markdown) if level == 1), "") or otherwise


def sections(markdown: str, name: str) -> list[Section]:
    """The sections under headings of the second level, and the text before the first of them. A section longer than
    2,000 characters is cut between paragraphs; sections of links are left out. `name` replaces a missing title."""
    markdown = without_front_matter(markdown)
    title = title_of(markdown, name)
    blocks = ((heading if level == 2 else "", text.strip()) for level, heading, text in _blocks(markdown))
    return [
        Section(title, own, anchor(own or title), part)
        for own, text in blocks
        if own.lower() not in UNSEARCHED
        for part in _parts(text)
    ]


def _blocks(markdown: str) -> Iterator[tuple[int, str, str]]:
    """(level, heading, text below it); level 0 is the text before any heading. `#` in a code block is not a heading."""
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
        if held and len(held) + len(paragraph) + 2 > MAX_CHARACTERS:
            yield held
            held = ""
        held = f"{held}\n\n{paragraph}" if held else paragraph
        while len(held) > MAX_CHARACTERS:
            yield held[:MAX_CHARACTERS]
            held = held[MAX_CHARACTERS:]
    if held:
        yield held
