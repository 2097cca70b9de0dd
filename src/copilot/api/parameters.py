"""The ways a caller may write an instant."""

import re
from collections.abc import Callable
from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator, WithJsonSchema
from whenever import Date, Instant, PlainDateTime, Time

from copilot.api.errors import Problem

MILLISECONDS_FROM = 100_000_000_000


def parse_time(text: str) -> Instant:
    """ISO 8601 (UTC where no offset is given), a date (its first moment in UTC), or epoch seconds or milliseconds.

    Raises ValueError with a sentence for the caller."""
    text = text.strip()
    try:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and not re.fullmatch(r"[0-9]{8}", text):
            number = float(text)
            milliseconds = number >= MILLISECONDS_FROM
            return Instant.from_timestamp(number / 1000 if milliseconds else number, unit="second")
        if "T" not in text and " " not in text:
            return Date.parse_iso(text).at(Time()).assume_utc()
        # A plus sign that was not escaped in the URL arrives as a space.
        text = re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", text) if "T" in text else text.replace(" ", "T", 1)
        if re.search(r"(Z|[+-]\d\d(:?\d\d)?)$", text.partition("T")[2]):
            return Instant.parse_iso(text)
        return PlainDateTime.parse_iso(text).assume_utc()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:60]!r} is no time: write 2026-11-22T12:00:00Z, a date, or epoch seconds or milliseconds"
        ) from None


FIRST_END = Instant.MIN.add(hours=24)
TimeParameter = Annotated[
    Instant,
    BeforeValidator(parse_time),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "date"},
                {"type": "string", "pattern": r"^([0-9]{1,7}|[0-9]{9,14})(\.[0-9]{1,6})?$"},
            ],
            "description": "ISO 8601 (UTC where no offset is given), a date, epoch seconds or epoch milliseconds",
        }
    ),
]
ClusterQuery = Annotated[str | None, Query(description="Which cluster; may be left out when there is only one")]
StartQuery = Annotated[TimeParameter | None, Query(description="Begin of the range")]
AtQuery = Annotated[TimeParameter | None, Query(description="A moment of the past; now when left out")]
EndQuery = Annotated[TimeParameter | None, Query(description="End of the range; now when left out")]


def chosen_cluster(clusters: tuple[str, ...]) -> Callable[[ClusterQuery], str]:
    """A dependency that gives the cluster a caller means. 404 for one we do not know, 422 if several could be meant."""

    def choose(cluster: ClusterQuery = None) -> str:
        if cluster is None:
            if len(clusters) > 1:
                raise Problem(422, "bad_parameter", f"say which cluster: {', '.join(clusters)}", "cluster")
            return clusters[0]
        return known(cluster, clusters)

    return choose


def known(cluster: str, clusters: tuple[str, ...]) -> str:
    """The cluster; 404 if it is not one of ours."""
    if cluster not in clusters:
        raise Problem(404, "unknown_cluster", f"there is no cluster {cluster[:60]!r} here", "cluster")
    return cluster


def time_range(start: Instant | None, end: Instant | None, now: Instant, default_hours: int) -> tuple[Instant, Instant]:
    """The range a caller means; the last hours when nothing is said, up to now or to a `start` that a clock ahead of
    ours gives. 422 if it runs backwards."""
    end = end or max(now, start or now)
    start = start or (end.subtract(hours=default_hours) if end > FIRST_END else Instant.MIN)
    if start > end:
        raise Problem(422, "bad_parameter", "the range begins after its end", "start")
    return start, end
