"""The Terraform files as python-hcl2 reads them, and the few questions our tests ask of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

from tests.deploy.dockerfile import DEPLOY

FOLDER = DEPLOY / "terraform"
BLOCK, COMMENTS = "__is_block__", "__comments__"
Body = dict[str, Any]


@dataclass(frozen=True)
class Thing:
    """A resource, a data source, a variable or an output. `type` is empty for the latter two."""

    kind: str
    type: str
    name: str
    body: Body
    file: str

    @property
    def address(self) -> str:
        """As expressions name it."""
        words = {"resource": [], "data": ["data"], "variable": ["var"]}.get(self.kind, [self.kind])
        return ".".join([*words, *filter(None, [self.type]), self.name])


@cache
def files() -> dict[str, Body]:
    """All files by name."""
    return {p.name: _read(p) for p in sorted(FOLDER.glob("*.tf"))}


def _read(path: Path) -> Body:
    with path.open(encoding="utf-8") as text:
        read: Body = hcl2.load(text)
    return read


@cache
def things() -> tuple[Thing, ...]:
    """Everything that is declared."""
    return tuple(_things())


def _things() -> Iterator[Thing]:
    for file, body in files().items():
        for kind in ("resource", "data"):
            for block in body.get(kind, ()):
                for type_, named in _labelled(block):
                    yield from (Thing(kind, type_, name, inner, file) for name, inner in _labelled(named))
        for kind in ("variable", "output"):
            for block in body.get(kind, ()):
                yield from (Thing(kind, "", name, inner, file) for name, inner in _labelled(block))


def _labelled(block: Body) -> Iterator[tuple[str, Body]]:
    return ((plain(name), inner) for name, inner in block.items() if not name.startswith("__"))


def locals_() -> dict[str, Any]:
    """The local values by name."""
    blocks = [block for body in files().values() for block in body.get("locals", ())]
    return {name: value for block in blocks for name, value in block.items() if not name.startswith("__")}


def all_of(kind: str, type_: str = "") -> list[Thing]:
    """All things of a kind, or of a kind and type."""
    return [t for t in things() if t.kind == kind and type_ in ("", t.type)]


def plain(text: str) -> str:
    """A literal without its quotes."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys left out, comments left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in (COMMENTS, "__inline_comments__"):
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def expressions() -> Iterator[tuple[str, str]]:
    """Every text that is no mere literal, with the file it stands in."""
    for file, body in files().items():
        yield from ((file, text) for text in texts(body) if "${" in text)


def named(pattern: str) -> set[str]:
    """What a pattern's first group finds in expressions."""
    return {found for _, text in expressions() for found in re.findall(pattern, text)}
