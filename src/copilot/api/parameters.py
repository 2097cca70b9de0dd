"""Query parameters that several routes share: instants, ranges, the cluster."""

import re
from collections.abc import Callable
from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator, WithJsonSchema
from whenever import Date, Instant, PlainDateTime, Time

from copilot.api.caller import allowed
from copilot.api.errors import Problem

MILLISECONDS_FROM = 100_000_000_000


def parse_time(text: str) -> Instant:
    """ISO 8601 (UTC without an offset), a date (its first instant in UTC), or epoch seconds or milliseconds. ValueError
    with a sentence for the caller."""
    text = text.strip()
    try:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and not re.fullmatch(r"[0-9]{8}", text):
            number = float(text)
            milliseconds = number >= MILLISECONDS_FROM
            return Instant.from_timestamp(number / 1000 if milliseconds else number, unit="second")
        if "T" not in text and " " not in text:
            return Date.parse_iso(text).at(Time()).assume_utc()
        # A plus sign that is not escaped in the URL becomes a space.
        text = re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", text) if "T" in text else text.replace(" ", "T", 1)
        if re.search(r"(Z|[+-]\d\d(:?\d\d)?)$", text.partition("T")[2]):
            return Instant.parse_iso(text)
        return PlainDateTime.parse_iso(text).assume_utc()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:60]!r} is not a valid time: use 2026-11-22T12:00:00Z, a date, or epoch seconds or milliseconds"
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
            "description": "ISO 8601 (UTC without an offset), a date, epoch seconds or epoch milliseconds",
        }
    ),
]
ClusterQuery = Annotated[str | None, Query(description="The cluster; optional when there is only one")]
StartQuery = Annotated[TimeParameter | None, Query(description="Start of the range, not after `end`")]
AtQuery = Annotated[TimeParameter | None, Query(description="A time in the past; now by default")]
EndQuery = Annotated[TimeParameter | None, Query(description="End of the range, not before `start`; now by default")]


def chosen_cluster(clusters: tuple[str, ...]) -> Callable[[ClusterQuery], str]:
    """A dependency that returns the requested cluster. 404 for one that is unknown or not the caller's, 422 when it is
    required and missing."""

    def choose(cluster: ClusterQuery = None) -> str:
        if cluster is None and len(own := allowed(clusters)) != 1:
            raise Problem(422, "bad_parameter", f"cluster is required: {', '.join(own)}", "cluster")
        return known(own[0] if cluster is None else cluster, clusters)

    return choose


def known(cluster: str, clusters: tuple[str, ...]) -> str:
    """The cluster; Problem 404 if it is unknown, or not one of the caller's."""
    if cluster not in allowed(clusters):
        raise Problem(404, "unknown_cluster", f"there is no cluster {cluster[:60]!r}", "cluster")
    return cluster


def time_range(start: Instant | None, end: Instant | None, now: Instant, default_hours: int) -> tuple[Instant, Instant]:
    """The requested range, by default the last hours. A `start` by a clock ahead of ours is its own end. Problem 422 if
    it ends before it starts."""
    end = end or max(now, start or now)
    start = start or (end.subtract(hours=default_hours) if end > FIRST_END else Instant.MIN)
    if start > end:
        raise Problem(422, "bad_parameter", "the range ends before it starts", "start")
    return start, end
