"""Targets whose pages are written by hand or taken from a recording, for tests of what is computed over them."""

import gzip
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from whenever import Instant

from copilot.metrics.dialects import Dialect, known_names, raw_name
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of, read_scrapes
from copilot.metrics.window import Page, TargetScrapes
from copilot.rules.signals.expressions import Gauge, Leaf, Role
from copilot.rules.signals.readings import Signals
from copilot.rules.signals.taxonomy import SPECS
from copilot.sources.scrape.pages import MAX_SERIES, PageParser

START = Instant.from_utc(2026, 11, 22, 3)
DATA = Path(__file__).parent / "data"


def recorded(name: str) -> bytes:
    """A page of tests/data."""
    return gzip.decompress((DATA / f"{name}.txt.gz").read_bytes())


class Pages:
    """A target and its parser; times are seconds after START."""

    def __init__(
        self,
        role: Role = "server",
        leaves: Iterable[Leaf] | None = None,
        *,
        window_sec: float = 60.0,
        max_series: int = MAX_SERIES,
    ) -> None:
        wanted = leaves_of(SPECS.values()) if leaves is None else leaves
        words = known_names(role, wanted, [PRESENCE_METRIC[role]])
        self.target = TargetScrapes(role, f"http://{role}/metrics", words, window_sec=window_sec)
        self.parser = PageParser(self.target, max_series=max_series)

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


def grown(body: bytes, dialect: Dialect, n: int) -> bytes:
    """A recorded page, the families the taxonomy reads: counters grown, each series at its own speed; at the seventh
    step a third of the families start anew."""
    counters = {raw_name(leaf, dialect) for leaf in leaves_of(SPECS.values()) if not isinstance(leaf, Gauge)} | {
        PRESENCE_METRIC["server"]
    }
    gauges = {raw_name(leaf, dialect) for leaf in leaves_of(SPECS.values()) if isinstance(leaf, Gauge)}
    anchors = {"service_latency_count", "temporal_request", "temporal_request_total"}
    anchors |= {"temporal_request_latency_count", "temporal_request_latency_seconds_count"}

    def line(text: str) -> Iterator[str]:
        name = text.split("{")[0]
        series, _, value = text.rpartition(" ")
        if name in counters:
            speed = zlib.crc32(series.split('le="')[0].encode()) % 7
            anew = n > 6 and zlib.crc32(name.encode()) % 3 == 0
            yield f"{series} {float(value) * (speed * 0.01 * (n - 6) if anew else 1 + speed * 0.01 * n):.10g}\n"
        elif name in gauges | anchors:
            yield text + "\n"

    return "".join(found for text in body.decode().splitlines() for found in line(text)).encode()


def read(
    *pages: Pages, at: float, window_sec: float = 60.0, interval_sec: float = 10.0, versions: Collection[str] = ()
) -> Signals:
    """The taxonomy's signals at a time, of a server whose API names these versions."""
    now, targets = START.add(seconds=at), [p.target for p in pages]
    return read_scrapes(SPECS.values(), targets, now, window_sec, interval_sec=interval_sec, versions=versions)
