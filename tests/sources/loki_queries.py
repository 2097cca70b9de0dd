"""The part of LogQL that the stand-in understands: equality matchers, line filters, and sums of count_over_time.

What a Loki refuses is refused with its words: a regular expression that RE2 does not have, a metric query's series over
the limit, lines asked for at one moment.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

MATCHER = re.compile(r'(\w+)="([^"]*)"')
TEXT = r'"(?:[^"\\]|\\.)*"|`[^`]*`'
SELECTOR = re.compile(rf"\s*\{{(?:[^}}\"`]|{TEXT})*\}}")
STAGE = re.compile(rf"\s*(?:(\|~|!~|\|=|!=)\s*({TEXT})|\| __error__=``|\| json)")
METRIC = re.compile(r"sum(?: by \(([\w, ]*)\))? \(count_over_time\((.*) \[(\d+)ms\]\)\)$", re.DOTALL)
NOT_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!])|\(\?P=|\\[1-9Z]")
LITERALS = re.compile(r"\(\?i:((?:[^.^$*+?{}\[\]\\()]|\\.)*)\)")
MAX_SERIES = 500
Stored = tuple[int, tuple[tuple[str, str], ...], str]


class Refused(Exception):
    """A 400 with these words."""


@dataclass(frozen=True)
class Query:
    """Labels that a stream must have, and what its lines must pass."""

    wanted: frozenset[tuple[str, str]]
    filters: tuple[Callable[[str], bool], ...]

    def __call__(self, stored: Stored) -> bool:
        """Whether a line is selected."""
        return self.wanted <= set(stored[1]) and all(passes(stored[2]) for passes in self.filters)


def parsed(text: str) -> Query:
    """A log query. Refused where a Loki would."""
    selector = SELECTOR.match(text)
    if text and selector is None:
        raise Refused("parse error at line 1, col 1: syntax error: unexpected IDENTIFIER")
    at = selector.end() if selector else 0
    filters: list[Callable[[str], bool]] = []
    while at < len(text.rstrip()):
        if (stage := STAGE.match(text, at)) is None:
            raise Refused(f"parse error at line 1, col {at + 1}: syntax error: unexpected {text[at : at + 9].strip()}")
        at = stage.end()
        if stage[1]:
            filters.append(_filter(stage[1], stage[2]))
    return Query(frozenset(MATCHER.findall(selector[0] if selector else "")), tuple(filters))


def _filter(kind: str, quoted: str) -> Callable[[str], bool]:
    words = quoted[1:-1] if quoted.startswith("`") else json.loads(quoted)
    if kind in ("|=", "!="):
        return lambda line: (words in line) == (kind == "|=")
    if NOT_RE2.search(words):
        raise Refused(f"parse error : error parsing regexp: invalid or unsupported Perl syntax: `{words[:20]}`")
    found, expected = _search(words), kind == "|~"
    return lambda line: found(line) == expected


@cache
def _search(regex: str) -> Callable[[str], bool]:
    """As RE2 would search; words without regard to case are looked for as such, which is faster. Lines recur."""
    if (literals := LITERALS.fullmatch(regex)) is None:
        search = re.compile(regex).search
        return lru_cache(100_000)(lambda line: search(line) is not None)
    words = [re.sub(r"\\(.)", r"\1", word) for word in re.split(r"(?<!\\)\|", literals[1])]
    return lru_cache(100_000)(lambda line: any(word in low for low in (line.lower(),) for word in words))


def is_metric(text: str) -> bool:
    """Whether numbers are asked for."""
    return METRIC.match(text) is not None


def counted(text: str, lines: set[Stored] | tuple[Stored, ...], at: int) -> list[tuple[dict[str, str], int]]:
    """A metric query at a time: lines after its range began, up to and with `at`."""
    if (metric := METRIC.match(text)) is None:
        said = "log queries are not supported as an instant query type"
        raise Refused(f"{said}, please change your query to a range query type")
    query, since = parsed(metric[2]), at - int(metric[3]) * 1_000_000
    names = (metric[1] or "").replace(" ", "").split(",")
    number = Counter[tuple[tuple[str, str], ...]]()
    passes = cache(lambda labels, line: query((0, labels, line)))
    for stored in lines:
        if since < stored[0] <= at and passes(stored[1], stored[2]):
            number[tuple((k, v) for k, v in stored[1] if k in names)] += 1
    if len(number) > MAX_SERIES:
        raise Refused(f"maximum of series ({MAX_SERIES}) reached for a single query")
    return [(dict(labels), count) for labels, count in number.items()]
