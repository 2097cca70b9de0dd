"""What a full fetch from a real Prometheus costs: as it is, with 5 ms added to each request, and where half the queries
hang. Needs `prometheus` on the path; without it there is nothing to measure.

`python -m benchmarks.prometheus SERVER WORKER …` measures at running /metrics pages (`host:port`) instead of recorded
ones, a demo's say."""

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import httpx
from whenever import Instant

from benchmarks import Row
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.instant import PrometheusSource
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import prometheus

FETCHES = 15
FETCH_LIMIT_MS, ADDED_LIMIT_MS = 150.0, 60.0
DEADLINE_SEC = 1.0
LATE_LIMIT_MS = DEADLINE_SEC * 1000 + FETCH_LIMIT_MS


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


class HalfHangs(httpx.AsyncHTTPTransport):
    """Never answers every second question about values; those about targets and births come first and are answered."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        query = parse_qs((await request.aread()).decode())["query"][0]
        if '"names"' in query or query.startswith("count by (copilot_name)"):
            return await super().handle_async_request(request)
        self.asked += 1
        if self.asked % 2:
            await asyncio.Event().wait()
        return await super().handle_async_request(request)


async def half_hanging(url: str) -> Row:
    """How long a fetch takes, and what it gives, where half the queries hang."""
    settings = PrometheusSettings(url=url)
    cluster = ClusterSettings(interval_sec=5, window_sec=30, prometheus=settings)
    source = PrometheusSource(cluster, settings, deadline_sec=DEADLINE_SEC, transport=HalfHangs())
    began = time.perf_counter()
    signals = await source.read(Instant.now())
    took = (time.perf_counter() - began) * 1000
    await source.aclose()
    late = [m.detail for m in signals.missing.values() if m.code is MissingCode.TIMEOUT]
    read = sum(signals.covered(i) for i in signals.readings)
    note = f"{read} of {len(signals.readings)} read, {len(late)} {' / '.join(sorted(set(late)))}"
    return Row(f"fetch: half the queries hang, deadline {DEADLINE_SEC:g} s", took, "ms", LATE_LIMIT_MS, note)


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


async def measure_recorded() -> list[Row]:
    """At the pages of tests/data."""
    async with (
        MetricsServer.start(recorded("server")) as server,
        MetricsServer.start(recorded("worker")) as worker,
        MetricsServer.start(recorded("worker_suffixed")) as other,
    ):
        return await measure(
            {
                job: [s.url.split("/")[2] for s in served]
                for job, served in (("temporal", [server]), ("workers", [worker, other]))
            }
        )


async def measure(jobs: Mapping[str, Sequence[str]]) -> list[Row]:
    """At a Prometheus that scrapes these addresses every two seconds."""
    with tempfile.TemporaryDirectory() as folder:
        async with prometheus(Path(folder), jobs, interval_sec=2) as there:
            await there.until("min(count_over_time(up[60s])) > 4")
            first, median, worst, cpu, requests = await fetches(there.url, 0.0)
            _, slowed, _, _, _ = await fetches(there.url, 0.005)
            hanging = await half_hanging(there.url)
    return [
        Row("fetch: first, spelling unknown", first, "ms", FETCH_LIMIT_MS),
        Row("fetch: median", median, "ms", FETCH_LIMIT_MS, f"{requests} requests"),
        Row("fetch: worst of fifteen", worst, "ms", FETCH_LIMIT_MS),
        Row("fetch: more with 5 ms added to each request", slowed - median, "ms", ADDED_LIMIT_MS),
        Row("fetch: CPU time here", cpu, "ms"),
        hanging,
    ]


def rows() -> Iterator[Row]:
    """A full fetch: the first, the usual, the worst, what latency adds, and what is left of it where half hangs."""
    if shutil.which("prometheus") is None:
        return
    yield from asyncio.run(measure_recorded())


if __name__ == "__main__":
    server, *workers = sys.argv[1:]
    for row in asyncio.run(measure({"temporal": [server], "workers": workers})):
        print(f"{row.name:52} {row.measured:8.1f} {row.unit} {row.note}".rstrip())
