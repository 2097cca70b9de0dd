"""Targets whose pages are written by hand or taken from a recording, for tests of what is computed over them."""

import gzip
from collections.abc import Iterable
from pathlib import Path

from whenever import Instant

from copilot.metrics.dialects import known_names
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of, read_scrapes
from copilot.metrics.window import Page, TargetScrapes
from copilot.rules.signals.expressions import Leaf, Role
from copilot.rules.signals.readings import Signals
from copilot.rules.signals.taxonomy import SPECS
from copilot.sources.scrape.pages import PageParser

START = Instant.from_utc(2026, 11, 22, 3)
DATA = Path(__file__).parent / "data"


def recorded(name: str) -> bytes:
    """A page of tests/data."""
    return gzip.decompress((DATA / f"{name}.txt.gz").read_bytes())


class Pages:
    """A target and its parser; times are seconds after START."""

    def __init__(
        self, role: Role = "server", leaves: Iterable[Leaf] | None = None, *, window_sec: float = 60.0
    ) -> None:
        wanted = leaves_of(SPECS.values()) if leaves is None else leaves
        words = known_names(role, wanted, [PRESENCE_METRIC[role]])
        self.target = TargetScrapes(role, f"http://{role}/metrics", words, window_sec=window_sec)
        self.parser = PageParser(self.target)

    def add(self, at: float, *lines: str) -> "Pages":
        """Record a page of these lines."""
        return self.add_bytes(at, "".join(line + "\n" for line in lines).encode())

    def add_bytes(self, at: float, body: bytes, *, grown: float = 1.0) -> "Pages":
        """Record a page; its counters multiplied by `grown`."""
        page: Page = {
            s: v * grown if s.metric.cumulative or s.metric.name == "service_requests" else v
            for s, v in self.parser.parse(body).items()
        }
        self.target.record(START.add(seconds=at), page)
        return self


def read(*pages: Pages, at: float, window_sec: float = 60.0, interval_sec: float = 10.0) -> Signals:
    """The taxonomy's signals at a time."""
    now = START.add(seconds=at)
    return read_scrapes(SPECS.values(), [p.target for p in pages], now, window_sec, interval_sec=interval_sec)
