"""Which long tokens look drawn at random, and which are made of words, dates and counters, as identifiers are."""

import re
from collections.abc import Iterator
from itertools import pairwise

_RUN = re.compile(r"[A-Za-z0-9+/_-]{20,}+={0,2}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_HEX = re.compile(r"(?:0x|v|sha|h1)?(?:[0-9a-f]+|[0-9A-F]+)")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_POD = re.compile(r"[a-z0-9]{1,12}|[a-z]+")
_PART = re.compile(r"[A-Za-z0-9]+")
# Pairs of letters of which nine tenths of English words (and names in source code) are made.
_USUAL = frozenset(
    "ab ac ad af ag ai al am an ap ar as at au aw ba be bl bo ca ce ch ck cl co cr cs ct da de di do ds ea ec ed ee ef "
    "el em en ep er es et eu ev ew ex fa fi fl fo fr ga ge gn gs ha he hi ho ic id ie ig il im in io ir is it iv ke kf "
    "la ld le lf li ll lo ls lt lu ma me mi mo mp na nc nd ne ng ni nn no ns nt oa oc od og oi ol om on oo op or os ot "
    "ou ow pa pe pi pl po pr pt qu ra rd re ri rk rn ro rr rs rt ru rv ry sa sc se sh si sk so sp ss st su sy ta tc te "
    "th ti to tr ts tt tu ty ua ue ul um un up ur us ut va ve vi wa we wh wi wn wo xt yn".split()
)
LEAST_USUAL = 0.5
"""Share of neighbouring characters that must go together as in words or numbers. Random letters and digits reach 0.17,
words 0.8 and more."""
SHORTEST = 20
_LONGEST_JUDGED = 400


def high_entropy(text: str) -> Iterator[tuple[int, int]]:
    """Spans of tokens of at least 20 characters that look drawn at random. UUIDs, digests in hexadecimal, ULIDs, paths
    and names made of words are not among them."""
    for match in _RUN.finditer(text):
        run = match.group()
        if random_looking(_UUID.sub("", run) if "-" in run else run):
            yield match.span()


def random_looking(token: str) -> bool:
    """Whether a token is more like random letters and digits than like words and numbers."""
    token = token.strip("=_-/+")
    if len(token) < SHORTEST or _HEX.fullmatch(token) or _ULID.fullmatch(token):
        return False
    parts = _PART.findall(token)
    if len(parts) > 1 and all(_POD.fullmatch(p) or _HEX.fullmatch(p) for p in parts):
        return False
    together = pairs = 0
    for whole in parts:
        part = whole[:_LONGEST_JUDGED]
        if _HEX.fullmatch(part) and len(part) >= 7 and part != token:
            continue
        for a, b in pairwise(part):
            pairs += 1
            if (a.isdigit() and b.isdigit()) or (
                a.isalpha() and b.isalpha() and not (a.islower() and b.isupper()) and (a + b).lower() in _USUAL
            ):
                together += 1
    return pairs >= 12 and together < LEAST_USUAL * pairs
