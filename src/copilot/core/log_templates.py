"""Templates of log lines no known pattern matches: the same words with the parts that vary left out.

A small Drain (He et al., 2017): lines are split into words, words that hold digits, addresses or values are masked at
once, and a line joins the template of the same length and first word that shares most of its words with it.
"""

import re
from collections.abc import Sequence

VARIES = "<*>"
MAX_WORDS = 30
MAX_WORD = 40
ALIKE = 0.6
_QUOTED = re.compile(r"\"[^\"]{0,300}\"|'[^']{1,300}'|\[[^\]]{30,300}\]|\{[^}]{30,500}\}")
_VALUE = re.compile(r"^([A-Za-z_][\w.-]{0,30}[=:])(?!/)\S+$")
_DIGIT = re.compile(r"\d")


def words_of(text: str) -> tuple[str, ...]:
    """The line's words with what varies by nature masked: numbers, ids, addresses, quotations, values of keys."""
    return tuple(_masked(word) for word in _QUOTED.sub(VARIES, text).split()[:MAX_WORDS])


def _masked(word: str) -> str:
    if value := _VALUE.match(word):
        return value[1] + VARIES
    if VARIES in word or len(word) > MAX_WORD or "@" in word or "/" in word[:-1] or _DIGIT.search(word):
        return VARIES
    return word


class Templates:
    """The templates known so far, at most `most`. A template's words only ever become fewer."""

    def __init__(self, known: Sequence[Sequence[str]] = (), *, most: int = 100) -> None:
        self._most = most
        self._all: list[list[str]] = [list(words) for words in known][:most]

    @property
    def all(self) -> list[list[str]]:
        """All templates, as lists of words."""
        return self._all

    def place_of(self, words: Sequence[str]) -> int | None:
        """The place of the template the line belongs to, which grows more general where it must, or None."""
        best, place = 0.0, None
        for number, template in enumerate(self._all):
            if len(template) == len(words) and _may_be_alike(template[0], words[0]):
                share = sum(a == b for a, b in zip(template, words, strict=True)) / len(words)
                if share > best:
                    best, place = share, number
        if place is None or best < ALIKE:
            return None
        self._all[place] = [a if a == b else VARIES for a, b in zip(self._all[place], words, strict=True)]
        return place

    def added(self, words: Sequence[str]) -> int | None:
        """The place of a new template of these words; None when there are as many as may be."""
        if len(self._all) >= self._most:
            return None
        self._all.append(list(words))
        return len(self._all) - 1


def _may_be_alike(first: str, other: str) -> bool:
    return first == other or VARIES in (first, other)
