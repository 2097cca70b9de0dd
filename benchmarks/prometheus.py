"""What a full fetch from a real Prometheus costs, with and without 5 ms added to each request. Needs `prometheus` on
the path; without it there is nothing to measure."""

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from whenever import Instant

from benchmarks import Row
from copilot.settings import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus import PrometheusSource
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import prometheus

FETCHES = 15
FETCH_LIMIT_MS, ADDED_LIMIT_MS = 150.0, 60.0


class Slow(httpx.AsyncHTTPTransport):
    """Adds a delay to each request, and counts them."""

    def __init__(self, delay_sec: float) -> None:
        super().__init__()
        self._delay = delay_sec
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        await asyncio.sleep(self._delay)
        return await super().handle_async_request(request)


async def fetches(url: str, delay_sec: float) -> tuple[float, float, float, float, int]:
    """The first fetch, the median and the worst of later ones in ms; the median CPU time here; requests a fetch."""
    settings = PrometheusSettings(url=url)
    slow = Slow(delay_sec)
    source = PrometheusSource(
        ClusterSettings(interval_sec=5, window_sec=30, prometheus=settings), settings, transport=slow
    )
    took, cpu = [], []
    for _ in range(FETCHES + 1):
        began, busy = time.perf_counter(), time.process_time()
        await source.read(Instant.now())
        took.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - busy) * 1000)
    await source.aclose()
    first, *later = took
    return first, statistics.median(later), max(later), statistics.median(cpu), slow.requests // len(took)


async def measure() -> list[Row]:
    async with (
        MetricsServer.start(recorded("server")) as server,
        MetricsServer.start(recorded("worker")) as worker,
        MetricsServer.start(recorded("worker_suffixed")) as other,
    ):
        jobs = {
            job: [s.url.split("/")[2] for s in served]
            for job, served in (("temporal", [server]), ("workers", [worker, other]))
        }
        with tempfile.TemporaryDirectory() as folder:
            async with prometheus(Path(folder), jobs, interval_sec=2) as there:
                await there.until("min(count_over_time(up[60s])) > 4")
                first, median, worst, cpu, requests = await fetches(there.url, 0.0)
                _, slowed, _, _, _ = await fetches(there.url, 0.005)
    return [
        Row("fetch: first, spelling unknown", first, "ms", FETCH_LIMIT_MS),
        Row("fetch: median", median, "ms", FETCH_LIMIT_MS, f"{requests} requests"),
        Row("fetch: worst of fifteen", worst, "ms", FETCH_LIMIT_MS),
        Row("fetch: more with 5 ms added to each request", slowed - median, "ms", ADDED_LIMIT_MS),
        Row("fetch: CPU time here", cpu, "ms"),
    ]


def rows() -> Iterator[Row]:
    """A full fetch: the first, the usual, the worst, and what latency adds."""
    if shutil.which("prometheus") is None:
        return
    yield from asyncio.run(measure())
