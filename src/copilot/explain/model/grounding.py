"""Whether a model's answer may be served (design.md, law 6): everything in it is borne out by the evidence, and nothing
in it could mislead or harm. One check a function, in `CHECKS`; each gives reasons or none. An answer with a reason is
refused whole: its caller serves the rules' own narrative, counts the reasons and keeps the answer for review."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError

from copilot.explain.model.advice import as_meant, broken_guards, dangerous
from copilot.explain.model.answer import ModelExplanation, texts
from copilot.explain.model.cited_names import unknown_names, without_names
from copilot.explain.model.cited_numbers import unsupported
from copilot.explain.model.claims import contrary_claims
from copilot.explain.model.evidence import Evidence
from copilot.explain.model.foreign import in_another_language
from copilot.explain.model.quantities import Said, said
from copilot.redaction.confusables import made_plain
from copilot.redaction.redactor import redacted
from copilot.rules.scaling import broken_rule

LONGEST_TEXT = 1_200
LONGEST_ANSWER = 9_000
MOST_REACTIONS, MOST_FACTORS, MOST_ACTIONS = 12, 12, 8


class Reason(StrEnum):
    """Why an answer is refused: one for each check, so that they can be counted."""

    MALFORMED = "malformed"  # not of the shape asked for
    SIZE = "size"
    CHARACTERS = "characters"  # control, invisible, bidirectional, look-alike, pictures
    LANGUAGE = "language"  # not in English, where claims could not be checked
    LINK = "link"  # links, HTML, images
    SECRET = "secret"
    NUMBER = "number"
    NAME = "name"
    STATE = "state"
    SCALING_RULE = "scaling_rule"
    ADVICE = "advice"
    CONFIDENCE = "confidence"


@dataclass(frozen=True, slots=True)
class Objection:
    """One reason: where in the answer, and what was found (cut, and without secrets)."""

    reason: Reason
    place: str
    found: str


@dataclass(frozen=True, slots=True)
class Grounded:
    """An answer that may be served: its actions marked as the model's, with what the scaling rules add to them."""

    answer: ModelExplanation


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that may not."""

    objections: tuple[Objection, ...]

    def counts(self) -> Counter[Reason]:
        """How many objections there were, by reason."""
        return Counter(objection.reason for objection in self.objections)


def parsed(document: str | bytes) -> ModelExplanation | Refused:
    """A model's answer from JSON."""
    if len(document) > 4 * LONGEST_ANSWER:
        return Refused((_objection(Reason.SIZE, "answer", f"{len(document)} characters"),))
    try:
        return ModelExplanation.model_validate_json(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return Refused((_objection(Reason.MALFORMED, place, first["msg"]),))


def grounded(answer: ModelExplanation, evidence: Evidence) -> Grounded | Refused:
    """The answer if it passes every check, else all objections to it."""
    objections = tuple(_size(answer, evidence))
    if not objections:
        objections = tuple(o for check in CHECKS for o in check(answer, evidence))
    if objections:
        return Refused(objections)
    marked = [a.model_copy(update={"source": "model"}) for a in answer.actions]
    return Grounded(answer.model_copy(update={"actions": tuple(marked)}))


def _objection(reason: Reason, place: str, found: str) -> Objection:
    return Objection(reason, place[:80], redacted(made_plain(found[:300]).text, addresses=True)[:120])


def _size(answer: ModelExplanation, _evidence: Evidence) -> Iterator[Objection]:
    lists = (
        ("narrative.reactions", answer.narrative.reactions, MOST_REACTIONS),
        ("factors", answer.factors, MOST_FACTORS),
        ("actions", answer.actions, MOST_ACTIONS),
    )
    for place, items, most in lists:
        if len(items) > most:
            yield _objection(Reason.SIZE, place, f"{len(items)} of at most {most}")
            return
    whole = 0
    for place, text in _everything(answer):
        whole += len(text)
        if len(text) > LONGEST_TEXT:
            yield _objection(Reason.SIZE, place, f"{len(text)} characters")
    if whole > LONGEST_ANSWER:
        yield _objection(Reason.SIZE, "answer", f"{whole} characters")
    for place, text in texts(answer):
        if place in ("summary", "narrative.why", "narrative.meaning") and not text.strip():
            yield _objection(Reason.SIZE, place, "empty")


def _everything(answer: ModelExplanation) -> Iterator[tuple[str, str]]:
    """All strings of an answer, those no reader sees among them."""
    yield from texts(answer)
    for number, factor in enumerate(answer.factors):
        yield f"factors.{number}.finding", factor.finding
    for number, action in enumerate(answer.actions):
        yield f"actions.{number}.target_service", action.target_service
        yield f"actions.{number}.runbook", action.runbook
        for name, value in action.parameters.items():
            yield f"actions.{number}.parameters", name
            yield f"actions.{number}.parameters.{name}", str(value)


_PLAIN_ENOUGH = frozenset("\n‹›–—’‘“”…·•°µμ≈≤≥×→−±\u00a0\u202f§²³½¼¾")


def _characters(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    for place, text in _everything(answer):
        bare = text
        for name in sorted((n for n in evidence.names if not n.isascii()), key=len, reverse=True):
            bare = bare.replace(name, "")
        odd = [c for c in bare if not ((" " <= c <= "~") or c in _PLAIN_ENOUGH or _latin(c))]
        if odd:
            yield _objection(Reason.CHARACTERS, place, " ".join(f"U+{ord(c):04X}" for c in odd[:5]))
        if _SPACED.search(text):
            yield _objection(Reason.CHARACTERS, place, "letters spaced out")


_SPACED = re.compile(r"(?<!\w)(?:[A-Za-z][ .\-_*|/]{1,2}){4,}[A-Za-z](?!\w)")


def _latin(c: str) -> bool:
    return (
        unicodedata.category(c) in ("Ll", "Lu")
        and "LATIN" in unicodedata.name(c, "")
        and ord(c) < 0x250
        and c not in "ıſƽ"
    )


def _language(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    for place, text in texts(answer):
        if found := in_another_language(without_names(text, evidence)):
            yield _objection(Reason.LANGUAGE, place, found)


_LINK = re.compile(
    r"[a-z][a-z0-9+.-]{1,20}:\s?//|\bwww\.|\bhxxps?\b|\bjavascript:|\bdata:\w+/|\bmailto:|\]\s?\(|!\[|\]\[|^\[[^\]]+\]:|</?[A-Za-z!?]|&(?:#\d+|#x[0-9a-f]+|[a-z]+);"
    r"|\[\.\]|\bdot (?:com|net|org|io|dev|example)\b|(?<![:\w])//\w|(?<![\w§])[\w-]+\.(?:com|net|org|io|dev|sh|ru|cn|xyz|info|app|ly|me|co|ai|cloud)\b",
    re.IGNORECASE | re.MULTILINE,
)


def _links(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    for place, text in _everything(answer):
        if match := _LINK.search(without_names(text, evidence)):
            yield _objection(Reason.LINK, place, match.group())


_SQUEEZED = re.compile(
    r"(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_?[A-Za-z0-9]{36}|eyJ[A-Za-z0-9]{20,}|[sr]k_?live_?[A-Za-z0-9]{16,}|AIza[A-Za-z0-9]{30,}"
)
_SEPARATED = re.compile(r"[\s.,;|*'\"`~:/\\-]+")


def _secrets(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    known = {*evidence.names, *evidence.vocabulary}
    for place, text in _everything(answer):
        bare = text
        for name in known:
            if len(name) >= 20:
                bare = bare.replace(name, "")
        backwards = bare[::-1]
        if (
            redacted(bare, addresses=evidence.addresses) != bare
            or _SQUEEZED.search(_SEPARATED.sub("", bare))
            or _SQUEEZED.search(_SEPARATED.sub("", backwards))
        ):
            yield _objection(Reason.SECRET, place, text[:60])


def _numbers(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    for place, text in texts(answer):
        for found in unsupported(text, evidence):
            yield _objection(Reason.NUMBER, place, found)
    for number, action in enumerate(answer.actions):
        for name, value in action.parameters.items():
            if isinstance(value, str):
                bare = list(said(without_names(value, evidence)))
            else:
                bare = [Said(str(value), value, value, None)]
            if any(not s.borne_out(evidence.numbers) for s in bare):
                yield _objection(Reason.NUMBER, f"actions.{number}.parameters.{name}", str(value))


def _names(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    for place, text in texts(answer):
        for name in unknown_names(text, evidence):
            yield _objection(Reason.NAME, place, name)
    named = set()
    for number, factor in enumerate(answer.factors):
        if factor.finding not in evidence.findings or factor.finding in named:
            yield _objection(Reason.NAME, f"factors.{number}.finding", factor.finding)
        named.add(factor.finding)
    for number, action in enumerate(answer.actions):
        place = f"actions.{number}"
        if action.runbook and action.runbook not in {*evidence.findings, *(p.source for p in evidence.passages)}:
            yield _objection(Reason.NAME, f"{place}.runbook", action.runbook)
        for name, value in action.parameters.items():
            known = name in ("direction", "raise", "rule") and value in _WORDS
            if isinstance(value, str) and not known and value not in evidence.names:
                yield _objection(Reason.NAME, f"{place}.parameters.{name}", value)


_WORDS = frozenset({"up", "down", "pollers", "sticky_queue_warning", "restart_to_redistribute"})


def _states(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    for place, text in texts(answer):
        for claim in contrary_claims(text, evidence):
            yield _objection(Reason.STATE, place, claim)


def _rules(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    for number, action in enumerate(answer.actions):
        if (rule := broken_rule(as_meant(action), evidence.signals)) is not None:
            yield _objection(Reason.SCALING_RULE, f"actions.{number}", rule.value)


def _advice(answer: ModelExplanation, evidence: Evidence) -> Iterator[Objection]:
    for place, text in texts(answer):
        for passage in dangerous(text, evidence):
            yield _objection(Reason.ADVICE, place, passage)
    for number, why in broken_guards(answer.actions, evidence):
        yield _objection(Reason.ADVICE, f"actions.{number}", why)


def _confidence(answer: ModelExplanation, _evidence: Evidence) -> Iterator[Objection]:
    if not 0 <= answer.confidence <= 1:
        yield _objection(Reason.CONFIDENCE, "confidence", f"{answer.confidence:g}")


CHECKS: tuple[Callable[[ModelExplanation, Evidence], Iterator[Objection]], ...] = (
    _characters,
    _language,
    _links,
    _secrets,
    _numbers,
    _names,
    _states,
    _rules,
    _advice,
    _confidence,
)
