"""BM25 over a few hundred short texts, with scores between 0 and 1 (docs/adr/0010-knowledge-without-numpy.md)."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

K1, B = 1.2, 0.75
"""Robertson's usual saturation of repeated words and weight of a text's length."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_STOP = re.compile(
    r"an|and|are|as|at|be|been|but|by|can|do|does|for|from|had|has|have|how|if|in|into|is|it|its|no|not|of|on|one|or|so"
    r"|than|that|the|their|them|then|there|these|they|this|to|was|were|what|when|where|which|while|who|why|will|with|you"
    r"|your"
)


def words(text: str) -> list[str]:
    """The words a text is found by: lower case, stemmed, without the commonest. A name such as `maxConns` or
    `max_cached_workflows` counts as itself and as its parts; numbers do not count."""
    found: list[str] = []
    for name in _WORD.findall(text):
        parts = _PART.findall(name)
        if len(parts) > 1:
            found.append(name.lower())
        found.extend(stem(p.lower()) for p in parts if len(p) > 1 and _STOP.fullmatch(p.lower()) is None)
    return found


def stem(word: str) -> str:
    """The word without the commonest English endings: pollers, polling and polls become `poll`."""
    for ending in ("ies", "ings", "ing", "ers", "er", "edly", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            kept = word[: -len(ending)]
            return f"{kept}y" if ending == "ies" else kept.removesuffix("e")
    return word.removesuffix("e") if len(word) > 4 else word


class Index:
    """An index over texts, each given as its words."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self._size = len(texts)
        mean = sum(map(len, texts)) / len(texts) if texts else 0.0
        self._held: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, text in enumerate(texts):
            for word, count in Counter(text).items():
                self._held[word].append((number, count / (count + K1 * (1 - B + B * len(text) / mean))))

    def scores(self, question: Sequence[str]) -> list[float]:
        """How well each text fits: its BM25 score over the highest there could be, 0 to 1. A word said twice counts
        twice; one that no text has lowers all scores, so that who asks about something else is not answered."""
        found, highest = [0.0] * self._size, 0.0
        for word, times in Counter(question).items():
            holding = self._held.get(word, ())
            weight = times * math.log(1 + (self._size - len(holding) + 0.5) / (len(holding) + 0.5))
            highest += weight
            for number, saturation in holding:
                found[number] += weight * saturation
        return [score / highest for score in found] if highest else found
