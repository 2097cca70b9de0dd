"""Which sentences of a model's answer may be shown. A sentence that fails a check is dropped, not the answer.

The checks look at structure, not at English: digits, backticked names, characters, links, secrets, lengths. What they
cannot hold is held by construction: an answer has no field for a state, and actions are looked up by key.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from copilot.explain.explanation import ExplainedEvaluation
from copilot.explain.model.answer import Answer, Explanation, Factor
from copilot.explain.model.evidence import PLACEHOLDER, Evidence
from copilot.redaction.redactor import redacted
from copilot.rules.model import Narrative

LONGEST_SENTENCE = 400
LONGEST_PART = 1_000
PARTS = ("summary", "why", "meaning", "setting", "trigger", "watch_next")
MOST_ITEMS = 8
"""Reactions, factors and actions that are read."""
DENIED = re.compile(
    r"\b(?:happy|all is well|false alarm|nothing to worry|no action is needed|needs to get up|safe to acknowledge"
    r"|safe to ignore|delete the|drop the database|truncate|purge|wipe|disable the alert)\b"
)
"""Defense in depth only: soothing and destructive phrases that no explanation needs."""


class Reason(StrEnum):
    """Why a sentence or a choice is dropped."""

    LENGTH = "length"
    READING = "reading"  # a placeholder without a reading, or a stray brace
    NAME = "name"  # a backticked or underscored name that the evidence does not have, or a stray backtick
    CHARACTERS = "characters"  # control and invisible characters, other scripts than Latin, pictures
    NUMBER = "number"  # a digit
    LINK = "link"
    SECRET = "secret"
    PHRASE = "phrase"
    FINDING = "finding"  # a factor that is none of the findings
    ACTION = "action"  # an action that the rules do not offer


@dataclass(frozen=True, slots=True)
class Checked:
    """What is left of an answer, placeholders unfilled, and how much was dropped, by reason."""

    answer: Answer
    dropped: Counter[Reason]

    @property
    def usable(self) -> bool:
        """Whether enough is left to show: an answer without a summary or a cause explains nothing."""
        return bool(self.answer.summary and self.answer.why)


def checked(answer: Answer, evidence: Evidence) -> Checked:
    """What may be shown of an answer."""
    dropped: Counter[Reason] = Counter()

    def text(part: str) -> str:
        passed: list[str] = []
        room = LONGEST_PART
        for sentence in _sentences(part):
            room -= len(sentence)
            if (reason := Reason.LENGTH if room < 0 else objection(sentence, evidence)) is None:
                passed.append(sentence)
            else:
                dropped[reason] += 1
        return " ".join(passed)

    factors, choices = answer.factors[:MOST_ITEMS], answer.actions[:MOST_ITEMS]
    known = [f for f in factors if f.finding in evidence.findings]
    offered = [choice for choice in choices if choice in evidence.actions]
    dropped[Reason.FINDING], dropped[Reason.ACTION] = len(factors) - len(known), len(choices) - len(offered)
    lists = (answer.reactions, answer.factors, answer.actions)
    dropped[Reason.LENGTH] += sum(max(0, len(items) - MOST_ITEMS) for items in lists)
    rest = Answer(
        **{part: text(getattr(answer, part)) for part in PARTS},
        reactions=tuple(filter(None, map(text, answer.reactions[:MOST_ITEMS]))),
        factors=tuple(Factor(finding=f.finding, sentence=words) for f in known if (words := text(f.sentence))),
        actions=tuple(dict.fromkeys(offered)),
    )
    return Checked(rest, +dropped)


def model_explanation(
    evaluation: ExplainedEvaluation, answer: Answer, evidence: Evidence, note: str = ""
) -> Explanation:
    """A checked answer as it is shown: readings filled in, below the rules' first sentence, and with the rules' text
    where the model left a part empty."""
    rules, fill = evaluation.narrative, evidence.fill
    return Explanation(
        explained_by="model",
        summary=f"{_SENTENCE_END.split(evaluation.summary, maxsplit=1)[0]} {fill(answer.summary)}".strip(),
        narrative=Narrative(
            setting=fill(answer.setting) or rules.setting,
            trigger=fill(answer.trigger) or rules.trigger,
            reactions=tuple(map(fill, answer.reactions)) or rules.reactions,
            why=fill(" ".join((answer.why, *(factor.sentence for factor in answer.factors)))),
            meaning=fill(answer.meaning) or rules.meaning,
            watch_next=fill(answer.watch_next) or rules.watch_next,
        ),
        actions=answer.actions,
        note=note,
    )


_LINE_END = re.compile(r"[\n\r\u2028\u2029]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`{(\"'“])")
_NAME = re.compile(r"`([^`]*)`")
_WORD_EDGES = ".,;:!?()[]\"'“”‘’"
_QUANTILE = re.compile(r"\bp(?:50|75|90|95|99)\b")
_LINK = re.compile(
    r"[a-z][a-z0-9+.-]*:\s?//|\bwww\.|\b(?:javascript|mailto):|\bdata:\w+/|\]\s?[(\[:]|</?[a-z!?]|&#?\w+;|(?<![:\w])//\w"
    r"|[\w-]\.(?:com|net|org|io|dev|sh|ru|cn|xyz|info|app|ly|me|co|ai|cloud)\b|\bdot (?:com|net|org|io)\b|\[\.\]"
)
_TYPOGRAPHIC = frozenset("‹›–—’‘“”…·•°µμ≈≤≥×→−±\u00a0\u202f§")


def objection(sentence: str, evidence: Evidence) -> Reason | None:
    """Why a sentence must not be shown; None if it may."""
    if len(sentence) > LONGEST_SENTENCE:
        return Reason.LENGTH
    cited, named = PLACEHOLDER.findall(sentence), _NAME.findall(PLACEHOLDER.sub("", sentence))
    bare = _NAME.sub("name", PLACEHOLDER.sub("reading", sentence))
    odd = any(map(_odd, bare))
    words = ((word, word.strip(_WORD_EDGES)) for word in bare.split())
    bare = " ".join("name" if w in evidence.names and any(map(str.isalpha, w)) else word for word, w in words)
    plain = bare.casefold()
    checks = (
        (Reason.READING, any(c not in evidence.readings for c in cited) or "{" in bare or "}" in bare),
        (Reason.NAME, any(n not in evidence.names for n in named if n) or "`" in bare or "_" in bare),
        (Reason.CHARACTERS, odd),
        (Reason.NUMBER, any(map(str.isnumeric, _QUANTILE.sub("", bare)))),
        (Reason.LINK, _LINK.search(plain) is not None),
        (Reason.SECRET, redacted(bare, addresses=evidence.addresses) != bare),
        (Reason.PHRASE, DENIED.search(plain) is not None),
    )
    return next((reason for reason, fails in checks if fails), None)


def _sentences(part: str) -> Iterator[str]:
    """The sentences of a text. Of an endless one only the beginning is read."""
    for line in _LINE_END.split(part[: 8 * LONGEST_PART]):
        yield from filter(None, map(str.strip, _SENTENCE_END.split(line)))


def _odd(character: str) -> bool:
    if " " <= character <= "~" or character in _TYPOGRAPHIC or character.isnumeric():  # Numbers: the next check.
        return False
    latin = ord(character) < 0x250 and unicodedata.name(character, "").startswith("LATIN")
    return not (latin and character not in "ıſƽ")
