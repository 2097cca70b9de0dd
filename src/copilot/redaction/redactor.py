"""The door for text from outside: credentials, keys, tokens and personal data are replaced by placeholders, control
characters and lone surrogates by U+FFFD.

A placeholder has a kind and a number, ‹aws-1›: the same secret has the same placeholder in a text (or in all texts of
one `Redactor`), and the secret cannot be derived from it. Identifiers that are not secrets stay: UUIDs, hexadecimal
digests, workflow ids, metric names. Takes linear time.
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from copilot.redaction.confusables import made_plain, without_controls
from copilot.redaction.forms import FORMS, PLACEHOLDER, high_entropy

PLACEHOLDER_PATTERN = re.compile(PLACEHOLDER)
_NUMBERED = re.compile(r"‹([a-z-]+)-(\d{1,6})›")
_CARD = re.compile(
    r"(?<!\d)(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5}|\d{4}([ -])\d{4}\3\d{5})(?!\d)"
)
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])")
_GROUPS = ("secret", "secret1", "secret2", "secret3")
_MAX_ROUNDS = 12
_UNSAFE = re.compile(r"\W", re.ASCII)
_NAME_NUMBERS = 1_000_000
LONGEST_NAME = 1_000
"""Characters of a name: Temporal's limit.maxIDLength."""
Span = tuple[int, int, str]


@lru_cache(maxsize=4096)
def redacted(text: str, *, addresses: bool = False) -> str:
    """The text without secrets and control characters. Everything that is shown, sent or stored passes here.
    `addresses`: IP addresses are replaced too."""
    return Redactor(addresses=addresses).redact(text)


@lru_cache(maxsize=4096)
def redacted_name(text: str, *, addresses: bool = False) -> str:
    """A name (of a task queue, a workflow type) without secrets, in one line: different names stay different, and each
    is the same in every tick and process. For that, the placeholder's number is a digest of the secret, too short to
    derive a random secret from. Longer names than Temporal allows are cut."""
    clean = Redactor(addresses=addresses, by_digest=True).redact(text[: 4 * LONGEST_NAME])
    return without_controls(clean[:LONGEST_NAME], one_line=True)


class Redactor:
    """Redacts several texts: the same secret has the same placeholder in all of them. `found`: how many different
    secrets there were, by kind. `by_digest`: numbers are digests of the secrets instead of counts."""

    def __init__(self, *, addresses: bool = False, by_digest: bool = False) -> None:
        self.found: dict[str, int] = {}
        self._addresses = addresses
        self._by_digest = by_digest
        self._placeholders: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def redact(self, text: str) -> str:
        """The text without secrets and control characters. Idempotent."""
        for kind, number in _NUMBERED.findall(text) if "‹" in text else ():
            self._numbers[kind] = max(self._numbers.get(kind, 0), int(number))
        for _ in range(_MAX_ROUNDS):
            plain = made_plain(text)
            spans = joined(sorted(spans_of(plain.text, addresses=self._addresses)))
            if not spans:
                break
            pieces: list[str] = []
            done = 0
            for start, end, kind in spans:
                first, last = plain.original(start, end)
                pieces += (text[done:first], self._placeholder(plain.text[start:end], kind))
                done = last
            text = "".join((*pieces, text[done:]))
        return without_controls(text)

    def _placeholder(self, secret: str, kind: str) -> str:
        known = self._placeholders.get(secret)
        if known is None:
            self.found[kind] = self.found.get(kind, 0) + 1
            number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
            if self._by_digest:
                number = _digest(secret)
            known = self._placeholders[secret] = f"‹{kind}-{number}›"
        return known


def _digest(secret: str) -> int:
    """A number of at most six digits, the same for the secret as metrics write it."""
    as_metric = _UNSAFE.sub("_", secret).encode()
    return int.from_bytes(hashlib.sha256(as_metric).digest()[:8]) % _NAME_NUMBERS


def joined(spans: list[Span]) -> list[Span]:
    """Spans in order, with overlapping ones merged into one of the longest one's kind."""
    merged: list[Span] = []
    for start, end, kind in spans:
        if merged and start < merged[-1][1]:
            first, last, longest = merged[-1]
            merged[-1] = (first, max(last, end), longest if last - first >= end - start else kind)
        else:
            merged.append((start, end, kind))
    return merged


def spans_of(text: str, *, addresses: bool) -> Iterator[Span]:
    """The secrets in a plain text, in any order; they may overlap."""
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
    """Whether a number has the length, prefix and check digit of a payment card."""
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
"""Text in a model, redacted when the model is created."""
