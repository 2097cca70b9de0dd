"""What many clusters cost: the Copilot's own processes on a real Temporal and a real PostgreSQL, watching metrics pages
of a real server's size. `python -m benchmarks growth` measures 1, 10 and 100 clusters, three minutes each; CLUSTERS=100
and SECONDS=120 change that.

Each cluster has a page of the series that the Copilot reads, some 3,200, whose counters grow evenly; the interval is
the default. CPU is that of the processes over the measured time. The verdicts' ages are read from /clusters, as the
page does, in the last third of it; before, no one looks."""

import asyncio
import gzip
import os
import re
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import quantiles

import asyncpg
import httpx
import psutil

from benchmarks import Row
from benchmarks._scratch import run_in_folder
from benchmarks.scrape import DATA
from copilot.embedded.ports import free_ports
from copilot.embedded.supervisor import Supervisor
from copilot.embedded.up import OWN_SERVER, start_copilot, start_own_postgres, start_own_server
from copilot.sources.scrape.source import known_to

SIZES = tuple(int(n) for n in os.environ.get("CLUSTERS", "1 10 100").split())
MEASURED_SEC = float(os.environ.get("SECONDS", "120"))
WARM_UP_SEC = 75.0
INTERVAL_SEC = 30.0
LOOK_EVERY_SEC = 1.0
STEP_SEC = 5.0
CPU_LIMIT, TEMPORAL_LIMIT, MEMORY_LIMIT_MB = 0.5, 0.25, 300.0
MIB = 1024.0**2
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(.*) (\S+)$")
_CUMULATIVE = ("_bucket", "_count", "_sum")


@dataclass(frozen=True, slots=True)
class Cost:
    """One size: cores used by each process while no one looked and while someone did, their memory in MB, the ages of
    verdicts in seconds, and ticks: those that were due and those that are stored."""

    clusters: int
    quiet: dict[str, float]
    looked_at: dict[str, float]
    resident: dict[str, float]
    ages: Sequence[float]
    due: int
    stored: int
    load: float


@cache
def _samples() -> tuple[tuple[str, float, bool], ...]:
    """The series of a real server's page that are read: all but the value, the value, and whether it only grows."""
    words = known_to("server", None)
    counters: set[str] = set()
    found: list[tuple[str, float, bool]] = []
    for line in gzip.decompress((DATA / "server.txt.gz").read_bytes()).decode().splitlines():
        if line.startswith("# TYPE") and line.endswith(" counter"):
            counters.add(line.split()[2])
        elif (sample := _SAMPLE.match(line)) and sample[1] in words:
            grows = sample[1] in counters or sample[1].endswith(_CUMULATIVE)
            found.append((sample[1] + sample[2], float(sample[3]), grows))
    return tuple(found)


@cache
def _page(step: int) -> bytes:
    grown = (f"{name} {value * (1 + step / 100) if grows else value}" for name, value, grows in _samples())
    return gzip.compress("\n".join((*grown, "")).encode(), 1)


class _Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A page, the same for all clusters."""
        body = _page(int(time.time() % 86_400 // STEP_SEC))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def rows() -> Iterator[Row]:
    """The figures of each size."""
    pages = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    for size in SIZES:
        done: list[Cost] = []

        async def run(folder: Path, clusters: int = size, done: list[Cost] = done) -> None:
            done.append(await _measure(folder, clusters, pages.server_port))

        run_in_folder("growth", run)
        for cost in done:
            yield from _report(cost)
    pages.shutdown()


async def _measure(folder: Path, clusters: int, pages: int) -> Cost:
    async with Supervisor(folder / "logs", lambda event: print(f"  {event.text}", file=sys.stderr)) as supervisor:
        server = await start_own_server(supervisor, folder)
        postgres = await start_own_postgres(supervisor, folder, throwaway=True)
        port = free_ports(1)[0]
        config = folder / "copilot.toml"
        each = '[[clusters]]\nname = "c{n:04}"\nmetrics = [{{ url = "http://127.0.0.1:{p}/{n}", role = "server" }}]\n'
        config.write_text(
            f'api.port = {port}\ntemporal.address = "{server.address}"\nstore.url = "{postgres.url}"\n'
            + "".join(each.format(n=n, p=pages) for n in range(clusters))
        )
        await start_copilot(supervisor, config, f"http://127.0.0.1:{port}")
        pids = {name: supervisor.pids()[name] for name in ("copilot-worker", "copilot-api", OWN_SERVER)}
        processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        await asyncio.sleep(WARM_UP_SEC)
        connection = await asyncpg.connect(postgres.url)
        since = time.time()
        quiet = await _cores(processes, asyncio.sleep(2 * MEASURED_SEC / 3))
        ages: list[float] = []
        looked_at = await _cores(processes, _look(f"http://127.0.0.1:{port}/clusters", ages))
        until = time.time()
        resident = {name: p.memory_info().rss / MIB for name, p in processes.items()}
        await asyncio.sleep(INTERVAL_SEC / 2)
        stored = await connection.fetchval(
            "SELECT count(*) FROM metrics_snapshots WHERE time >= to_timestamp($1) AND time < to_timestamp($2)",
            since,
            until,
        )
        await connection.close()
    due = round(clusters * (until - since) / INTERVAL_SEC)
    return Cost(clusters, quiet, looked_at, resident, ages, due, stored, os.getloadavg()[0])


async def _cores(processes: dict[str, psutil.Process], meanwhile: Coroutine[None, None, None]) -> dict[str, float]:
    """The cores that each process used while something went on."""
    began, before = time.monotonic(), {name: sum(p.cpu_times()[:2]) for name, p in processes.items()}
    await meanwhile
    return {n: (sum(p.cpu_times()[:2]) - before[n]) / (time.monotonic() - began) for n, p in processes.items()}


async def _look(url: str, ages: list[float]) -> None:
    """Read all verdicts' ages each second, as an overview that someone has open."""
    end = time.monotonic() + MEASURED_SEC / 3
    async with httpx.AsyncClient(timeout=30) as client:
        while time.monotonic() < end:
            ages += [line["age_sec"] for line in (await client.get(url)).json()["clusters"]]
            await asyncio.sleep(LOOK_EVERY_SEC)


def _report(cost: Cost) -> Iterator[Row]:
    n, worker, api = cost.clusters, "copilot-worker", "copilot-api"
    limited = n == 100
    ours = cost.quiet[worker] + cost.quiet[api]
    parts = f"worker {cost.quiet[worker]:.3f}, API {cost.quiet[api]:.3f}; load of the machine {cost.load:.1f}"
    yield Row(f"{n} clusters: worker and API, no one looks", ours, "cores", CPU_LIMIT if limited else None, parts)
    yield Row(f"{n} clusters: API while the overview is read each second", cost.looked_at[api], "cores")
    yield Row(f"{n} clusters: own Temporal", cost.quiet[OWN_SERVER], "cores", TEMPORAL_LIMIT if limited else None)
    memory = cost.resident[worker] + cost.resident[api]
    yield Row(f"{n} clusters: memory of worker and API", memory, "MB", MEMORY_LIMIT_MB if limited else None,
              f"worker {cost.resident[worker]:.0f}, API {cost.resident[api]:.0f}")  # fmt: skip
    yield Row(f"{n} clusters: memory of own Temporal", cost.resident[OWN_SERVER], "MB")
    cuts = quantiles(cost.ages, n=100)
    yield Row(f"{n} clusters: age of a verdict, p99", cuts[98], "s", INTERVAL_SEC + 1, f"median {cuts[49]:.1f} s")
    yield Row(
        f"{n} clusters: ticks not stored",
        max(0, cost.due - cost.stored),
        "",
        note=f"{cost.due} due, {cost.stored} stored",
    )
