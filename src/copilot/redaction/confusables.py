"""Texts without tricks of characters: invisible ones removed, confusable ones (Unicode TR39) replaced by ASCII."""

import re
import unicodedata
from bisect import bisect_right
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
    """A text without tricks. `cuts` and `shifts` map back to the original: positions, and what to add to those from
    there on."""

    text: str
    cuts: tuple[int, ...]
    shifts: tuple[int, ...]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text for a span of the plain one."""
        if not self.cuts:
            return start, end
        return self._at(start), self._at(end - 1) + 1

    def _at(self, position: int) -> int:
        number = bisect_right(self.cuts, position) - 1
        return position if number < 0 else position + self.shifts[number]


def made_plain(text: str) -> Plain:
    """The text without tricks; the same object where there are none."""
    parts: list[str] = []
    cuts: list[int] = []
    shifts: list[int] = []
    done, length = 0, 0
    for odd in _ODD.finditer(text):
        found = odd.group()
        folded = plain(found) if len(found) == 1 else ""
        if folded == found:
            continue
        before = text[done : odd.start()]
        parts += (before, folded)
        length += len(before)
        if len(folded) > 1:  # all of them map to the one
            for number in range(len(folded)):
                cuts.append(length + number)
                shifts.append(odd.start() - length - number)
        length += len(folded)
        done = odd.end()
        cuts.append(length)
        shifts.append(done - length)
    if not cuts:
        return Plain(text, (), ())
    parts.append(text[done:])
    return Plain("".join(parts), tuple(cuts), tuple(shifts))
