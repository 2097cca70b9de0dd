"""Texts without tricks of characters: what could control a terminal, reorder a line or not be stored is replaced; to
find secrets, invisible characters are removed and confusable ones (Unicode TR39) replaced by ASCII."""

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
REPLACEMENT = "\ufffd"
# A terminal's colors as a whole; C0 and C1 controls but tab and line feed; bidirectional controls (Unicode UAX 9), line
# and paragraph separators; lone surrogates, which no encoding has. PostgreSQL stores neither these nor NUL.
_CONTROL = re.compile(
    "\x1b\\[[0-9;]*[A-Za-z]|[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BREAK = re.compile("[\t\n]")


def without_controls(text: str, *, one_line: bool = False) -> str:
    """The text with U+FFFD for each control character and lone surrogate; tab and line feed stay, but for `one_line`.
    The same object where there are none."""
    if text.isprintable():
        return text
    text = _CONTROL.sub(REPLACEMENT, text)
    return _BREAK.sub(REPLACEMENT, text) if one_line else text


@cache
def plain(character: str) -> str:
    """What one character looks like: ASCII where it resembles some, nothing where it is invisible or was replaced."""
    if character in PLACEHOLDER_MARKS:
        return character
    if character == REPLACEMENT:
        return ""
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
