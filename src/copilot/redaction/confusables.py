"""Texts without tricks of characters: invisible ones removed, confusable ones (Unicode TR39) replaced by ASCII."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

_CONFUSABLE = str.maketrans(
    "аеорсухіјѕһԁԛԝАВЕКМНОРСТУХІЈЅԌαοινρτυχκΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɡℓ‐‑‒–—−﹣＿‘’‚“”„«»",
    'aeopcyxijshdqwABEKMHOPCTYXIJSGaoivptuxkABEZHIKMNOPTYXigl-------_\'\'\'"""""',
)
# Terminal colors, characters beyond ASCII, control characters.
_ODD = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[^\t\n\r -~]")
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Mn", "Me"})
PLACEHOLDER_MARKS = "‹›"


@cache
def plain(character: str) -> str:
    """What one character looks like: ASCII where it resembles some, nothing where it is invisible."""
    if character in PLACEHOLDER_MARKS:
        return character
    whole = unicodedata.normalize("NFKC", character).translate(_CONFUSABLE)
    return "".join(c for c in whole if unicodedata.category(c) not in _INVISIBLE or c in "\t\n\r")


@dataclass(frozen=True, slots=True)
class Plain:
    """A text without tricks. `places`: of each character, its place in the original."""

    text: str
    places: Sequence[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text for a span of the plain one, which is not empty."""
        return self.places[start], self.places[end - 1] + 1


def made_plain(text: str) -> Plain:
    """The text without tricks; the same object where there are none."""
    parts: list[str] = []
    places: list[int] = []
    done = 0
    for odd in _ODD.finditer(text):
        found = odd.group()
        folded = plain(found) if len(found) == 1 else ""
        if folded != found:
            parts += (text[done : odd.start()], folded)
            places += (*range(done, odd.start()), *[odd.start()] * len(folded))
            done = odd.end()
    if not done:
        return Plain(text, range(len(text)))
    return Plain("".join((*parts, text[done:])), (*places, *range(done, len(text))))
