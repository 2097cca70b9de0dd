"""What must never leave: credentials, keys, tokens, personal data; replaced by stable placeholders (requirements §4.4).

A placeholder says the kind and a number, ‹aws-1›: the same secret has the same one within a text (or a bundle of texts
that one `Redactor` saw), and nothing leads back from it. Identifiers that are no secrets stay: UUIDs, hexadecimal
digests, workflow ids, names of metrics. Takes linear time.
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from copilot.redaction.confusables import made_plain
from copilot.redaction.forms import FORMS, PLACEHOLDER, high_entropy

PLACEHOLDER_PATTERN = re.compile(PLACEHOLDER)
_NUMBERED = re.compile(r"‹([a-z-]+)-(\d{1,6})›")
_CARD = re.compile(
    r"(?<!\d)(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}|\d{4}([ -])\d{4}\3\d{5})(?!\d)"
)
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])")
_GROUPS = ("secret", "secret1", "secret2", "secret3")
_MOST_ROUNDS = 12
_UNSAFE = re.compile(r"\W", re.ASCII)
_NAME_NUMBERS = 1_000_000
Span = tuple[int, int, str]


@lru_cache(maxsize=4096)
def redacted(text: str, *, addresses: bool = False) -> str:
    """The text without secrets: what everything that is shown, sent or kept has been through. `addresses`: IP addresses
    are replaced as well."""
    return Redactor(addresses=addresses).redact(text)


@lru_cache(maxsize=4096)
def redacted_name(text: str, *, addresses: bool = False) -> str:
    """A name (a task queue, a workflow type) without secrets, told apart from others: two names stay two, and each is
    called the same in every tick and process. So its placeholder's number is a short digest of the secret: too short
    to lead back to one that was drawn at random."""
    return Redactor(addresses=addresses, by_digest=True).redact(text)


class Redactor:
    """Redacts a bundle of texts: the same secret has the same placeholder in all of them. `found`: how many different
    secrets there were, by kind. `by_digest`: numbers are made of the secrets, not counted."""

    def __init__(self, *, addresses: bool = False, by_digest: bool = False) -> None:
        self.found: dict[str, int] = {}
        self._addresses = addresses
        self._by_digest = by_digest
        self._placeholders: dict[str, str] = {}
        self._taken: dict[str, int] = {}

    def redact(self, text: str) -> str:
        """The text without secrets; redacting it again changes nothing."""
        for kind, number in _NUMBERED.findall(text) if "‹" in text else ():
            self._taken[kind] = max(self._taken.get(kind, 0), int(number))
        for _ in range(_MOST_ROUNDS):
            whole = made_plain(text)
            spans = joined(sorted(spans_of(whole.text, addresses=self._addresses)))
            if not spans:
                break
            pieces: list[str] = []
            done = 0
            for start, end, kind in spans:
                first, last = whole.original(start, end)
                pieces += (text[done:first], self._placeholder(whole.text[start:end], kind))
                done = last
            text = "".join((*pieces, text[done:]))
        return text

    def _placeholder(self, secret: str, kind: str) -> str:
        known = self._placeholders.get(secret)
        if known is None:
            self.found[kind] = self.found.get(kind, 0) + 1
            number = self._taken[kind] = self._taken.get(kind, 0) + 1
            if self._by_digest:
                number = _digest(secret)
            known = self._placeholders[secret] = f"‹{kind}-{number}›"
        return known


def _digest(secret: str) -> int:
    """A number of at most six digits; the same however metrics spell the secret."""
    spelled = _UNSAFE.sub("_", secret).encode()
    return int.from_bytes(hashlib.sha256(spelled).digest()[:8]) % _NAME_NUMBERS


def joined(spans: list[Span]) -> list[Span]:
    """Spans in order, those that overlap made one, of the kind of the longest."""
    whole: list[Span] = []
    for start, end, kind in spans:
        if whole and start < whole[-1][1]:
            first, last, was = whole[-1]
            whole[-1] = (first, max(last, end), was if last - first >= end - start else kind)
        else:
            whole.append((start, end, kind))
    return whole


def spans_of(text: str, *, addresses: bool) -> Iterator[Span]:
    """Where secrets stand in a plain text."""
    lower = text.lower()
    for form in FORMS:
        if not any(hint in lower for hint in form.hints):
            continue
        for match in form.pattern.finditer(text):
            start, end = _secret(match)
            if start < end and not PLACEHOLDER_PATTERN.fullmatch(text, start, end):
                yield start, end, form.kind
    for match in _CARD.finditer(text):
        if _card(re.sub(r"\D", "", match.group())):
            yield *match.span(), "card"
    for start, end in high_entropy(text):
        yield start, end, "token"
    if addresses:
        for match in (*_IPV4.finditer(text), *_IPV6.finditer(text)):
            if _address(match.group()):
                yield *match.span(), "address"


def _secret(match: re.Match[str]) -> tuple[int, int]:
    for group in _GROUPS:
        if group in match.re.groupindex and match.start(group) >= 0:
            return match.span(group)
    return match.span()


def _card(digits: str) -> bool:
    """A number of the length and beginning of payment cards, with the right check digit."""
    issued = digits[0] in "3456" or "2221" <= digits[:4] <= "2720"
    doubled = [
        int(d) if number % 2 == 0 else (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)[int(d)]
        for number, d in enumerate(reversed(digits))
    ]
    return issued and 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def _address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


Clean = Annotated[str, AfterValidator(redacted)]
"""Text of a model that comes from outside: it is without secrets however it got there."""
