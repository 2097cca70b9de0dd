"""Passages of runbooks, and which of them may be shown or given to a model.

At most five passages above a similarity, best first, with their source. None holds PromQL, because a model that reads
queries invents others.
"""

import re
from collections.abc import Iterable

from copilot.rules.model import Issue, Share
from copilot.rules.signals.readings import Frozen

MOST_PASSAGES = 5

_FUNCTIONS = (
    "rate|irate|increase|delta|idelta|deriv|resets|changes|predict_linear|holt_winters|histogram_quantile|label_replace"
    "|label_join|absent|absent_over_time|quantile_over_time|(avg|min|max|sum|count|stddev|stdvar|last)_over_time|clamp_min"
    "|clamp_max|sort_desc"
)
_AGGREGATIONS = "sum|avg|min|max|count|stddev|stdvar|topk|bottomk|quantile|group|count_values"
_SELECTOR = r"""\{\s*[a-zA-Z_]\w*\s*(=~|!~|!=|=)\s*["'][^}]*\}"""
_PROMQL = re.compile(
    rf"\b({_FUNCTIONS})\s*\("
    rf"|\b({_AGGREGATIONS})\s*(by|without)\s*\("
    rf"|\b({_AGGREGATIONS})\(\s*[a-zA-Z_:(]"
    rf"|\b({_AGGREGATIONS})\s*\(\s*[a-zA-Z]\w*[_:]\w+"
    rf"|\[\d+(ms|[smhdwy])(:[^\]]*)?\]"
    rf"|{_SELECTOR}",
    re.IGNORECASE,
)


class Passage(Frozen):
    """A section of a runbook. `source` is `file#section`, which a knowledge base prefixes with the file's location;
    `score` is its similarity to the question, 0 to 1, comparable within one retrieval only."""

    source: str
    title: str
    text: str
    score: Share


class Retrieved(Frozen):
    """The passages for a question, best first. `reason`: why some are missing; empty if none are."""

    passages: tuple[Passage, ...] = ()
    reason: str = ""


def promql_in(text: str) -> str:
    """The first piece of PromQL in a text, empty if there is none. Metric names alone are not PromQL."""
    match = _PROMQL.search(text)
    return match.group(0) if match else ""


def chosen(found: Iterable[Passage], least_score: float, most: int = MOST_PASSAGES) -> tuple[Passage, ...]:
    """At most `most` (and at most five) of the passages with a score of at least `least_score` and without PromQL, best
    first; equal ones in the order of their sources."""
    fit = [p for p in found if p.score >= least_score and not promql_in(f"{p.title}\n{p.text}")]
    fit.sort(key=lambda p: (-p.score, p.source))
    return tuple(fit[: min(most, MOST_PASSAGES)])


def question(issue: Issue) -> str:
    """The query for the passages about an issue: its title and likely cause."""
    return f"{issue.title}. {issue.likely_cause}"
