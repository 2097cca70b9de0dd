"""What one scrape of a Temporal server's page and the evaluation of all signals cost, in CPU time."""

import gzip
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from whenever import Instant

from benchmarks import Row
from copilot.metrics.resolve import read_scrapes
from copilot.metrics.window import TargetScrapes
from copilot.rules.signals.taxonomy import SPECS
from copilot.sources.scrape.pages import PageParser
from copilot.sources.scrape.source import known_to

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
START = Instant.from_utc(2026, 11, 22, 3)
WINDOW_SEC, SCRAPE_SEC, SCRAPES = 60.0, 10.0, 7
SCRAPE_LIMIT_MS = 150.0


def cpu_ms(work: Callable[[], object], repeat: int = 5) -> float:
    """The least CPU time of several runs, in milliseconds."""
    best = float("inf")
    for _ in range(repeat):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1000


def target() -> tuple[TargetScrapes, PageParser]:
    words = known_to("server", None)
    scrapes = TargetScrapes("server", "http://server/metrics", words, window_sec=WINDOW_SEC)
    return scrapes, PageParser(scrapes)


def rows() -> Iterator[Row]:
    """The page's size, a parse cold and warm, the evaluation, both together, memory; a general parser beside them."""
    body = gzip.decompress((DATA / "server.txt.gz").read_bytes())
    yield Row("page: size", len(body) / 1e6, "MB", note=f"{len(body.splitlines()):,} lines")
    yield Row("page: parse, first time", cpu_ms(lambda: target()[1].parse(body)), "ms", SCRAPE_LIMIT_MS)
    scrapes, parser = target()
    tracemalloc.start()
    for n in range(SCRAPES):
        page = parser.parse(body)
        grown = {s: v * (1 + n / 100) if s.metric.cumulative else v for s, v in page.items()}
        scrapes.record(START.add(seconds=SCRAPE_SEC * n), grown)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    warm = cpu_ms(lambda: parser.parse(body))
    yield Row("page: parse, later", warm, "ms", SCRAPE_LIMIT_MS, f"{len(parser.parse(body)):,} series wanted")

    def evaluate() -> object:
        now = START.add(seconds=SCRAPE_SEC * SCRAPES)
        return read_scrapes(SPECS.values(), [scrapes], now, WINDOW_SEC, interval_sec=SCRAPE_SEC)

    first = cpu_ms(evaluate, repeat=1)
    evaluated = cpu_ms(evaluate)
    yield Row("evaluation: all signals, first time", first, "ms", SCRAPE_LIMIT_MS)
    yield Row("evaluation: all signals, later", evaluated, "ms", SCRAPE_LIMIT_MS, f"over {SCRAPES} scrapes")
    yield Row("scrape with its evaluation", warm + evaluated, "ms", SCRAPE_LIMIT_MS)
    yield Row("memory: one server's window", held / 1e6, "MB")
    general = cpu_ms(lambda: list(text_string_to_metric_families(body.decode())), repeat=1)
    yield Row("page: a general parser, for comparison", general, "ms", note=f"{general / warm:.0f} times ours")
