"""Whether a text is in another language than English, where its claims could not be checked."""

import re

from copilot.explain.model.cited_names import NAMED
from copilot.explain.model.english import is_english

_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_SENTENCE = re.compile(r"(?<=[.!?;:,\n])\s+|\s[–—]\s")
LEAST_KNOWN = 0.5


def in_another_language(text: str) -> str:
    """A clause of which less than half of the words are known to be English; empty where there is none. Clauses of
    one word are not judged, unless the word is written with letters English does not have."""
    for clause in _SENTENCE.split(text.replace("’", "'")):
        words = [w.lower().partition("'")[0] for w in _WORD.findall(clause) if not w.isupper() or len(w) < 2]
        words = [w for w in words if len(w) > 1 or w in "ai"]
        named = clause.count(NAMED)
        known = named + sum(is_english(w) for w in words)
        if (len(words) > 1 and known < LEAST_KNOWN * (len(words) + named)) or any(not w.isascii() for w in words):
            return clause[:80]
    return ""
