"""Which names a text cites that nobody measured: signals, metrics, task queues, namespaces, services, types."""

import re
from collections.abc import Iterator

from copilot.explain.model.english import is_english
from copilot.explain.model.evidence import IDENTIFIER, Evidence
from copilot.redaction.redactor import PLACEHOLDER_PATTERN

NAMED = "§"
"""Stands where a known name stood."""

# Written together, known to everyone who runs a cluster, and no name of anything in it.
_GENERAL = frozenset(
    "PostgreSQL MySQL SQLite OpenTelemetry TaskQueue WorkerVersion gRPC DynamoDB CloudWatch OpenMetrics PromQL "
    "e.g i.e copilot.toml vs.the k8s http2 4xx 5xx 2xx".split()
)
_QUOTED = re.compile(r"[`\"“'‘]([^\s`\"“”'‘’]{2,200})[`\"”'’](?!\w)")
_MIXED = re.compile(r"(?<![\w§‹])(?=[\w-]*[A-Za-z])(?=[\w-]*\d)[A-Za-z0-9][\w-]*")
_NOT_A_NAME = re.compile(
    r"p\d{2,4}|\d+(?:st|nd|rd|th|x|k|K|M|ms|s|m|h|min|d|MB|kB|GB|us)|[A-Z][a-z]+-\d+|\d+-fold|\d+-\w+|[vV]\d+|T\d+|\d+T\d+\w*"
)
_SPECIAL = r"(?:task queues?|queues?|namespaces?|workflow types?|activity types?|worker versions?)"
_AFTER = re.compile(rf"\b{_SPECIAL}(?: named| called|:)? ([A-Za-z][\w-]*)")
_BEFORE = re.compile(r"(?<![\w'’-])([A-Za-z][\w-]*) (?:task queues?|queues?|namespaces?|services?)\b")
_ORDINARY = frozenset(
    """a about above add added after again age all alone already also an and any apart appears are arrive arrives as ask at
    away back backlog be because become becomes been before behind below beside besides between both busy but by call
    called can cannot carries carry clear clears close closed code come comes complete completes completed config could count
    customers default's depth did dispatched do does done down drain drains each either empties empty end ended ends every
    fail failed fails fall falling falls fell fill filled fills first for free from full gets goes grew grow growing
    grows had half has hardly have he held help hold holds how however i if in into is it itself its join just keep keeps kept
    last late later leave leaves left length less limit limits likely like list load lose made many may means meanwhile metrics might more most move moves
    much must named nearly need needs neither never new no nobody none nor not nothing now of off often old on once one
    only open or other others over own partition partitions per piles pile polled poller pollers polls processed
    rate rates reached reads receive received remain remains resume rise rises run running runs same saw see seen serve served serves shall she
    should show shows since size slow slower slowly so some stall stalled stalls stand stands start started starts stay stays still
    stop stopped stops stored such suffer suffers take taken takes task tasks than that the their them then there these they this those three
    through time times to together too two type types under until up use used uses very wait waited waiting waits
    want was were what when where which while who whose why will with within without worker workers works would yet you zero
    are's affected another associated busiest certain corresponding current few four largest longest main monitored oldest our respective several single
    smallest sticky sub-queue temporal that's unpolled watched workflow activity your internal transfer timer visibility outbound history matching frontend
    persistence server background worst external upstream downstream dependent dependency web healthy first-class external's
    sharing share shared system platform cloud activities look looks seem seems""".split()
)


_BESIDE = re.compile(rf"{NAMED}(?:,? {NAMED})*,? (?:and|or) ([a-z][\w-]*)")
_PROPER = re.compile(r"(?<=[a-z,] )([A-Z][a-z]{2,})\b")


def without_names(text: str, evidence: Evidence, *, numbered: bool = False) -> str:
    """The text with a mark where a known name or a whole quoted log pattern stood, and placeholders for secrets
    left out. `numbered`: only names with figures in them."""
    for log in evidence.logs:
        for left, right in ('""', "``", "''", "“”", "‘’"):
            text = text.replace(f"{left}{log}{right}", NAMED)
    return PLACEHOLDER_PATTERN.sub(NAMED, known_names(evidence, numbered=numbered).sub(NAMED, text))


def known_names(evidence: Evidence, *, numbered: bool = False) -> re.Pattern[str]:
    """A pattern of all names the evidence knows, except plain numbers; `numbered`: those with figures in them."""
    known = sorted(
        (
            n
            for n in evidence.names | evidence.vocabulary
            if any(c.isalpha() for c in n) and (not numbered or any(c.isdigit() for c in n))
        ),
        key=len,
        reverse=True,
    )
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, known)) or '(?!)'})(?![\w-]|\.\w)")


def unknown_names(text: str, evidence: Evidence) -> Iterator[str]:
    """Names in the text that the evidence does not hold."""
    bare = without_names(text, evidence)
    for match in _QUOTED.finditer(bare):
        if NAMED not in match[1] and match[1].strip(".,;:").lower() not in _ORDINARY and not match[1].isdigit():
            yield match[1]
    for match in IDENTIFIER.finditer(bare):
        word = match.group()
        hyphenated = "-" in word and not re.search(r"[_.]|[a-z][A-Z]|\d", word)
        if not hyphenated and word not in _GENERAL and word not in evidence.vocabulary:
            yield word
    for match in _MIXED.finditer(bare):
        if not _NOT_A_NAME.fullmatch(match.group()) and match.group() not in _GENERAL:
            yield match.group()
    for match in (*_BESIDE.finditer(bare), *_PROPER.finditer(bare)):
        if not is_english(match[1]) and match[1] not in evidence.vocabulary | _GENERAL:
            yield match[1]
    for match in (*_AFTER.finditer(bare), *_BEFORE.finditer(bare)):
        if match[1].lower() not in _ORDINARY and not match[1].lower().endswith("ly"):
            yield match[1]
