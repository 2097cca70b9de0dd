"""What a failed HTTP request says: what led to it, in words for a person, and when to ask again."""

import os
import ssl
from collections.abc import Iterator

import httpx
from whenever import Instant

MAX_DIGITS = 9
"""Of the seconds in a Retry-After: nobody means 30 years, and a float cannot hold thousands of digits."""


def retry_after_sec(text: str, now: Instant) -> float | None:
    """The wait that a Retry-After header asks for, in seconds: a number of them, or a date, which is 0 when past
    (RFC 9110 §10.2.3). None if it has neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:MAX_DIGITS])
    try:
        return max(0.0, (Instant.parse_rfc2822(text) - now).total("seconds"))
    except ValueError:
        return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the newest first, also what `raise … from None` hides: HTTP clients hide the
    operating system's error so."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def root_cause(error: httpx.HTTPError) -> str:
    """The root cause, in the operating system's words where it has some, else in the client's own: other errors behind
    it are about the inside of libraries."""
    found = str(error)
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            found = f"TLS: {cause.reason or cause}"
        elif isinstance(cause, OSError) and cause.errno:
            found = os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return found or type(error).__name__
