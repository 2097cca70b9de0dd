"""The word check: `python -m tools.words` prints each word that user-facing text must not contain, and its replacement.

The words, the files and the exceptions are in words.toml. Markdown, templates, JSON and YAML are checked as text,
Python by its string literals and docstrings. Inline code, addresses and single identifiers are skipped.
"""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".toml")
IDENTIFIERS = re.compile(
    r"`[^`\n]+`|\]\([^)\s]+\)|https?://[^\s\"'<>)]+|\b(?:class|id|href|src|data-[\w-]+)=\"[^\"]*\""
)


class Finding(NamedTuple):
    file: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word} → {self.instead}"


@dataclass(frozen=True)
class Words:
    """The word list: patterns with their replacements, and text that is skipped."""

    paths: tuple[str, ...]
    instead: tuple[tuple[re.Pattern[str], str], ...]
    allow: tuple[re.Pattern[str], ...]

    @classmethod
    def read(cls, file: Path = LIST) -> "Words":
        """The list in a TOML file. Raises TOMLDecodeError, KeyError or re.error when the file is wrong."""
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        return cls(
            paths=tuple(document["paths"]),
            instead=tuple((_whole_words(key), value) for key, value in document["instead"].items()),
            allow=tuple(re.compile(re.escape(text), re.IGNORECASE) for text in document.get("allow", {})),
        )

    def wrong(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Offset, word and replacement of each wrong word in a text."""
        for skipped in (IDENTIFIERS, *self.allow):
            text = skipped.sub(lambda found: re.sub(r"[^\n]", "\0", found[0]), text)
        for pattern, instead in self.instead:
            for found in pattern.finditer(text):
                yield found.start(), " ".join(found[0].split()), instead


def _whole_words(key: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{key})(?![\w-])".replace(" ", r"\s+"), re.IGNORECASE)


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """The texts in a file, each with the number of its first line."""
    source = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield 1, source
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\w\s+\w", node.value):
            yield node.lineno, node.value


def check(files: Iterable[Path], words: Words, root: Path = ROOT) -> list[Finding]:
    """The wrong words in these files, by file and line."""
    found = [
        Finding(
            str(file.relative_to(root) if file.is_relative_to(root) else file),
            first + text.count("\n", 0, offset),
            word,
            instead,
        )
        for file in files
        for first, text in texts(file)
        for offset, word, instead in words.wrong(text)
    ]
    return sorted(set(found))


def main(arguments: list[str]) -> int:
    """Check the files given, or all files of the list. 0: none found; 1: the findings are on stdout."""
    words = Words.read()
    files = [Path(a).resolve() for a in arguments] or sorted({f for p in words.paths for f in ROOT.glob(p)})
    found = check(files, words)
    for finding in found:
        print(finding)
    for folder, count in sorted(Counter(str(Path(f.file).parent) for f in found).items()):
        print(f"{count:5} {folder}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
