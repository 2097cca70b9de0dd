"""The ways a caller may write an instant."""

import re

from whenever import Date, Instant, PlainDateTime, Time

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
