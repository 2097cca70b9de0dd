"""Log lines of a real dev server in trouble, a few of every kind: its database was locked for 25 s, then it was
restarted twice, the second time with small rate limits."""

import gzip
from functools import cache
from pathlib import Path

from copilot.logs.lines import LogLine, parse_line

DATA = Path(__file__).parent / "data" / "logs"


@cache
def raw_lines(form: str) -> tuple[str, ...]:
    """The lines as the server wrote them; `form` is json or text."""
    return tuple(gzip.decompress((DATA / f"server.{form}.log.gz").read_bytes()).decode().splitlines())


def read_lines(form: str) -> list[LogLine]:
    """The lines as we read them."""
    return [line for raw in raw_lines(form) if (line := parse_line(raw)) is not None]
